"""The checks of an attempt, as the worker sees them: a process with a plan, and how it ended."""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from shared.protocol.gateway import RunContext
from shared.protocol.pipeline import CheckSpec
from worker.checks.shipped import is_sound
from worker.ports import AttemptFiles, Exit, Launch

PRE: Final = "pre_checks"
POST: Final = "post_checks"
MARK: Final = b"[drawbar] "
ROOT: Final = str(Path(__file__).parents[1])
# Not a file's name: a file that is run by its name is compiled anew each time.
PROGRAM: Final = (
    f"import sys; sys.path.append({ROOT!r}); from worker.checks.main import main; sys.exit(main())"
)
PASSED, FAILED = 0, 1
TAIL_BYTES: Final = 8_192  # of the log: the line that says what failed is its last


def needs_look(context: RunContext) -> bool:
    """Whether anything is to be checked before the command starts.

    That is the case as well when a post-check may not be known here: better to find out now than
    after hours of work.
    """
    return bool(context.pre_checks) or not all(
        is_sound(check.name, check.params) for check in context.post_checks
    )


def checks_launch(
    phase: str,
    context: RunContext,
    env: Mapping[str, str],
    files: AttemptFiles,
    plugin_dirs: Sequence[str],
) -> Launch:
    """The process that runs the checks of a phase. Its plan is on stdin, where nobody sees it.

    It ends with PASSED, or with FAILED and a last line in the log that says why. -P and -E: the
    job's directory and environment cannot put other modules in the place of its own. -S: own
    checks alone need what is installed.
    """
    plan = {
        "phase": phase,
        "checks": _plain(context.pre_checks if phase == PRE else context.post_checks),
        "later": _plain(context.post_checks) if phase == PRE else [],
        "plugins": context.plugins,
        "plugin_dirs": plugin_dirs,
        "run_id": context.run_id,
        "job_id": context.job_id,
        "attempt_id": context.attempt_id,
        "log": str(files.log),
    }
    return Launch(
        argv=(sys.executable, "-P", "-E", "-S", "-c", PROGRAM),
        env=env,
        cwd=files.cwd,
        log=files.log,
        stdin=json.dumps(plan).encode(),
    )


async def flaw_of(ended: Exit, files: AttemptFiles) -> str | None:
    """Why the checks did not pass; None: they did."""
    if ended.exit_code == PASSED:
        return None
    if ended.exit_code == FAILED:
        size = await files.log_size()
        offset = max(0, size - TAIL_BYTES)
        tail = await files.read_log(offset, size - offset)
        for line in reversed(tail.splitlines()):
            if line.startswith(MARK):
                return line.removeprefix(MARK).decode("utf-8", "replace")[:2_000]
    how = f"signal {ended.signal}" if ended.exit_code is None else f"exit code {ended.exit_code}"
    return f"the checks ended with {how}"


def _plain(checks: Sequence[CheckSpec]) -> list[dict[str, object]]:
    return [{"name": check.name, "params": check.params} for check in checks]
