"""The program that runs the checks of one phase of an attempt.

It is a process group that the worker starts, watches and ends as it does a job's, with the job's
environment, directory and log. Stdin holds a plan (`worker/checking.py` writes it). Each check
runs in a fork, which is killed when its time is over: a regular expression that never ends, a
plugin that calls exit(), a crash in a C library end that check alone. The first failure ends the
phase. It starts without site-packages, and imports little: a phase costs 25 ms of CPU time.
"""

import json
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from worker.checks.contract import Check, Context, Failed, Passed
from worker.checks.own import NoSuchCheck, OwnChecks
from worker.checks.params import BadParams, read_params, take_timeout
from worker.checks.shipped import SHIPPED

PASSED, FAILED = 0, 1
MARK: Final = "[drawbar] "
MOST_WHY: Final = 1_500  # characters
PHASES: Final = {"pre_checks": "pre-check", "post_checks": "post-check"}


def main() -> int:
    """The exit status: whether all passed."""
    plan = json.load(sys.stdin.buffer)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    program = Program(plan, time.monotonic)
    for spec in plan["later"]:
        if not program.prepare(spec):
            return FAILED
    return PASSED if all(program.run(spec) for spec in plan["checks"]) else FAILED


class Program:
    """Runs checks and writes a line about each into the log."""

    def __init__(self, plan: Mapping[str, Any], mono: Callable[[], float]) -> None:
        self._plan = plan
        self._mono = mono
        self._own = OwnChecks(plan["plugins"], plan["plugin_dirs"], os.getcwd())

    def prepare(self, spec: Mapping[str, Any]) -> bool:
        """Whether a check of a later phase could be run: better to know now than in an hour."""
        result, _ = self._within_time(spec, "post_checks", is_rehearsal=True)
        if isinstance(result, Failed):
            self._say(f"{PHASES['post_checks']} {spec['name']} would fail: {result.why}")
        return isinstance(result, Passed)

    def run(self, spec: Mapping[str, Any]) -> bool:
        """Whether the check passed."""
        phase = self._plan["phase"]
        result, took_s = self._within_time(spec, phase, is_rehearsal=False)
        what = f"{PHASES[phase]} {spec['name']}"
        if isinstance(result, Passed):
            note = f": {result.note}" if result.note else ""
            self._say(f"{what} passed{note} ({took_s:.3f} s)")
            return True
        self._say(f"{what} failed: {result.why} ({took_s:.3f} s)")
        return False

    def _within_time(
        self, spec: Mapping[str, Any], phase: str, *, is_rehearsal: bool
    ) -> tuple[Passed | Failed, float]:
        """The result, and how long it took. The fork is gone."""
        began = self._mono()
        try:
            timeout_s, params = take_timeout(spec["params"])
        except BadParams as error:
            return Failed(str(error)), 0.0
        ours, theirs = os.pipe()
        context = Context(
            run_id=self._plan["run_id"],
            job_id=self._plan["job_id"],
            attempt_id=self._plan["attempt_id"],
            phase=phase,
            cwd=os.getcwd(),
            env=dict(os.environ),
            log=self._plan["log"],
            deadline=began + timeout_s,
            mono=self._mono,
        )
        child = os.fork()
        if child == 0:
            os.close(ours)
            self._live_in_fork(spec["name"], params, context, theirs, is_rehearsal)
        os.close(theirs)
        answer = _read_line(ours, context)
        os.close(ours)
        os.kill(child, signal.SIGKILL)  # a thread may keep it alive after its answer
        _, status = os.waitpid(child, 0)
        took_s = self._mono() - began
        if answer is None:
            return Failed(f"it took longer than {timeout_s:g} s and was killed"), took_s
        if not answer:
            return Failed(f"it ended without a result, {_ended(status)}"), took_s
        has_passed, text = json.loads(answer)
        return (Passed(text) if has_passed else Failed(text)), took_s

    def _live_in_fork(
        self, name: str, params: dict[str, Any], context: Context, pipe: int, is_rehearsal: bool
    ) -> None:
        """Never returns."""
        try:
            result = self._result_of(name, params, context, is_rehearsal)
            text = result.note if isinstance(result, Passed) else result.why
            sys.stdout.flush()
            answer = json.dumps([isinstance(result, Passed), _one_line(text)])
            os.write(pipe, answer.encode() + b"\n")
        finally:
            os._exit(0)

    def _result_of(
        self, name: str, params: dict[str, Any], context: Context, is_rehearsal: bool
    ) -> Passed | Failed:
        try:
            check: Check
            if name in SHIPPED:
                check, declared = SHIPPED[name]
                params = read_params(declared, params)
            else:
                check = self._own.find(name)
            if is_rehearsal:
                return Passed()
            result = check(params, context)
            if hasattr(result, "__await__"):
                import asyncio  # 25 ms that most checks need not pay

                result = asyncio.run(_awaited(result))
        except (BadParams, NoSuchCheck) as error:
            return Failed(str(error))
        except BaseException as error:  # SystemExit as well: foreign code may call exit()
            import traceback

            sys.stdout.flush()
            traceback.print_exc()
            said = f": {error}" if str(error) else ""
            return Failed(f"it crashed with {type(error).__name__}{said} (traceback above)")
        if isinstance(result, bool):
            return Passed() if result else Failed("it returned False")
        if isinstance(result, Passed | Failed):
            return result
        return Failed(f"it returned {type(result).__name__} instead of Passed or Failed")

    def _say(self, line: str) -> None:
        """A line of its own, whatever was written before."""
        os.write(1, (_line_break(self._plan["log"]) + MARK + _one_line(line) + "\n").encode())


async def _awaited(result: Any) -> Any:
    return await result


def _read_line(pipe: int, context: Context) -> bytes | None:
    """What the fork said; empty when it ended without a word, None when it took too long."""
    said = b""
    while not said.endswith(b"\n"):
        left_s = context.left_s
        if left_s <= 0 or not select.select([pipe], [], [], left_s)[0]:
            return None
        piece = os.read(pipe, 65_536)
        if not piece:
            return b""
        said += piece
    return said


def _line_break(log: str) -> str:
    """A line break, where the log's last line has none."""
    try:
        with open(log, "rb") as file:
            if file.seek(0, os.SEEK_END) == 0:
                return ""
            file.seek(-1, os.SEEK_END)
            return "" if file.read(1) == b"\n" else "\n"
    except OSError:
        return ""


def _one_line(text: str) -> str:
    text = " ".join(str(text).split()).encode("utf-8", "replace").decode()
    return text if len(text) <= MOST_WHY else f"{text[: MOST_WHY - 3]}..."


def _ended(status: int) -> str:
    code = os.waitstatus_to_exitcode(status)
    return f"exit code {code}" if code >= 0 else f"signal {-code}"
