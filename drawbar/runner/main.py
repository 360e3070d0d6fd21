"""One task, from the start frame to its outcome.

Whatever the function does, the last thing said is how it ended, in one frame. Where even that is
impossible (it ended the interpreter, or crashed it), the supervisor tells.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from types import CoroutineType, FrameType, ModuleType

from drawbar.runner.binding import CannotBind, bind
from drawbar.runner.channel import Channel, SupervisorGone
from drawbar.sdk import current
from drawbar.sdk.current import AskFailed
from drawbar.sdk.graph import draw_no_more
from drawbar.sdk.outcomes import MAX_REASON, Outcome
from drawbar.sdk.values import BadValue, encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn

    Load = Callable[[dict[str, Any]], ModuleType]

PROTOCOL = 1
ENDED_BADLY = 1
HERE = str(Path(__file__).parents[1])


class Stopped(BaseException):
    """The supervisor wants the task to end: cancelled, out of time, or its lease is lost."""


class Unusable(Exception):
    """The task cannot even be called; the message says why."""


def load(start: dict[str, Any]) -> ModuleType:
    """The module that has the function. Unusable: it cannot be loaded, whatever it raised."""
    from importlib import import_module

    draw_no_more()
    task = start["task"]
    folder, file, name = start["folder"], task["file"], task["module"]
    given = os.environ.get("PYTHONPATH", "")
    sys.path[:0] = [*([folder] if folder else []), *(p for p in given.split(os.pathsep) if p)]
    sys.argv = [file or name]
    try:
        if file is None:
            return import_module(name)
        from drawbar.sdk.flow import load_module

        return load_module(Path(folder, file), name, Path(folder))
    except (Stopped, SupervisorGone):
        raise
    except BaseException as error:
        _print_traceback(error)
        said = f"exit code {error.code}" if isinstance(error, SystemExit) else _in_words(error)
        raise Unusable(f"{file or name} cannot be imported: {said}") from None


def main(load: Load = load) -> int:
    """The exit code: 0, unless the task failed. `load` may have its module at hand."""
    channel = Channel()
    open_log()
    try:
        start = channel.read_start()
    except SupervisorGone:
        _say("a task runner is started by a supervisor: see docs/task-protocol.md")
        return ENDED_BADLY
    signal.signal(signal.SIGTERM, _stop)
    try:
        try:
            what, fields = _run(start, channel, load)
        except Stopped:
            _die_of(signal.SIGTERM)
        if channel.is_copy():
            os._exit(ENDED_BADLY)
        channel.ask_encoded(what, fields)
    except (SupervisorGone, AskFailed) as error:
        _say(f"the outcome could not be told: {error}")
        return ENDED_BADLY
    return ENDED_BADLY if what == "fail" else 0


def _run(start: dict[str, Any], channel: Channel, load: Load) -> tuple[str, str]:
    """How it ended: a request of the protocol, and its fields as JSON."""
    if start["protocol"] != PROTOCOL:
        return _failed(f"this runner speaks protocol {PROTOCOL}, not {start['protocol']}", False)
    current.begin(start, channel.ask)
    try:
        module = load(start)
        call = _Call(module, start)
        value = call.run()
        if channel.is_copy():
            os._exit(0)  # a child that the task forked, and that came back from its function
        return "succeed", _keep(value, start, channel)
    except Outcome as outcome:
        _say(f"{type(outcome).__name__}: {outcome}")
        return _told(outcome, start["value_bytes"])
    except (Unusable, CannotBind) as error:
        _say(str(error))
        return _failed(str(error), False)
    except BadValue as error:
        reason = f"the task's result cannot be kept: {error}"
        _say(reason)
        return _failed(reason, False)
    except (Stopped, SupervisorGone):
        raise
    except BaseException as error:
        if isinstance(error, SystemExit) and not error.code:
            return "succeed", "{}"  # as a command that ends with `sys.exit()`
        _print_traceback(error)
        return _failed(_in_words(error), True)


class _Call:
    """The function to be called, and with what."""

    def __init__(self, module: ModuleType, start: dict[str, Any]) -> None:
        resume = start["resume"]
        if resume is None:
            self._function = _find(module, start["task"]["function"])
            self._args, self._kwargs = bind(start)
        else:
            self._function = _find(module, resume["next_method"])
            self._args, self._kwargs = [resume["event"]], resume["arguments"]

    def run(self) -> Any:
        value = self._function(*self._args, **self._kwargs)
        if isinstance(value, CoroutineType):
            import asyncio

            return asyncio.run(value)
        return value


def _find(module: ModuleType, name: str) -> Any:
    found: Any = module
    for part in name.split("."):
        found = getattr(found, part, None)
    found = getattr(found, "function", found)  # of a Task
    if not callable(found):
        raise Unusable(f"module {module.__name__!r} has no function {name!r}")
    return found


def _keep(value: Any, start: dict[str, Any], channel: Channel) -> str:
    """The result is kept for others; the fields of `succeed`. BadValue: it cannot be."""
    task, limit = start["task"], start["value_bytes"]
    follow = "null"
    if task["decides"] == "short_circuit":
        follow = "null" if value else "[]"
    elif task["decides"] == "branch":
        follow = encode(_chosen(value))
    if value is None:
        return f'{{"follow":{follow}}}'
    # All is encoded before anything is kept: half of a result is none.
    kept = {"return_value": encode(_chosen(value) if task["decides"] == "branch" else value, limit)}
    if task["multiple_outputs"]:
        if not isinstance(value, dict):
            said = type(value).__qualname__
            raise BadValue(f"multiple_outputs wants a dictionary, and this is of type {said}")
        kept |= {key: encode(item, limit) for key, item in value.items()}
    for key, text in kept.items():
        channel.ask_encoded("set_xcom", f'{{"key":{encode(key)},"value":{text}}}')
    return f'{{"follow":{follow}}}'


def _chosen(value: Any) -> list[str]:
    """The ids that a branch goes on with."""
    chosen = [] if value is None else list(value) if isinstance(value, list | tuple) else [value]
    ids = [getattr(one, "__name__", one) for one in chosen]
    if not all(isinstance(one, str) for one in ids):
        raise BadValue(f"a branch returns ids of jobs, not {str(value)[:100]}")
    return ids


def _told(outcome: Outcome, limit: int) -> tuple[str, str]:
    try:
        return outcome.ask, encode(outcome.fields, limit)
    except BadValue as error:
        return _failed(f"{type(outcome).__name__} cannot be told: {error}", False)


def _failed(reason: str, may_retry: bool) -> tuple[str, str]:
    said = reason[:MAX_REASON].encode("utf-8", "backslashreplace").decode()[:MAX_REASON]
    return "fail", encode({"reason": said, "may_retry": may_retry})


def _in_words(error: BaseException) -> str:
    """The error's type and message, though the message itself may raise."""
    if isinstance(error, SystemExit):
        return f"the task called sys.exit({error.code!r})"
    try:
        return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    except BaseException:
        return type(error).__name__


def _print_traceback(error: BaseException) -> None:
    """To the log, from the first line that is not ours; of an error that we raise, to the last."""
    import traceback

    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename.startswith((HERE, "<frozen")):
        trace = trace.tb_next
    try:
        told = traceback.TracebackException(type(error), error, trace)
        while type(error).__module__.startswith("drawbar.") and len(told.stack) > 1:
            if not told.stack[-1].filename.startswith(HERE):
                break
            told.stack.pop()
        sys.stderr.write("".join(told.format()))
    except BaseException as worse:
        _say(f"(its traceback cannot be printed: {type(worse).__name__})")


def _say(text: str) -> None:
    """A line in the log."""
    sys.stderr.write(text + "\n")


def open_log() -> None:
    """Lines are seen when they are written, and no character is too much for the log."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.reconfigure(encoding="utf-8", errors="backslashreplace", line_buffering=True)  # type: ignore[union-attr]  # they are text streams
    import faulthandler

    faulthandler.enable(2)


def _stop(number: int, frame: FrameType | None) -> NoReturn:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # the second one ends it
    raise Stopped


def _die_of(number: int) -> NoReturn:
    """As a process ends that does not catch the signal, after the task has cleaned up."""
    sys.stdout.flush()
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    raise AssertionError("a signal that is not caught ends the process")
