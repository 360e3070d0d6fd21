"""The task that runs in this process: what it knows, and its line to the supervisor.

Nothing of it exists while a graph is drawn, nor in a test that simply calls the function.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Ask = Callable[..., dict[str, Any]]


class AskFailed(Exception):
    """The supervisor's answer is an error; `code` is one of docs/protocol.md."""

    def __init__(self, code: str, message: str, facts: Mapping[str, object]) -> None:
        self.code = code
        self.facts = facts
        super().__init__(message)


class NotThere(AskFailed, LookupError):
    """There is no such variable, connection or job."""


class NotRunning(RuntimeError):
    """It exists only inside a task that runs."""


class _Running:
    """Set once, by the task runner."""

    start: dict[str, Any] | None = None
    ask: Ask | None = None
    was_missed = False  # something has looked for a task while there was none


def begin(start: dict[str, Any], ask: Ask) -> None:
    """From now on this process runs that task."""
    _Running.start = start
    _Running.ask = ask


def was_missed() -> bool:
    """Whether something has looked for the task in this process before there was one."""
    return _Running.was_missed


def ask(what: str, **fields: object) -> dict[str, Any]:
    """The answer to one request. AskFailed, NotThere."""
    if _Running.ask is None:
        _Running.was_missed = True
        raise NotRunning("only a task that runs can ask; no task runs in this process")
    return _Running.ask(what, **fields)


class Context:
    """What the running task knows of itself and its run: `from drawbar import context`."""

    __slots__ = ()

    @property
    def run_id(self) -> int:
        return int(_start()["run_id"])

    @property
    def pipeline(self) -> str:
        return str(_start()["pipeline"])

    @property
    def job_id(self) -> str:
        return str(_start()["job_id"])

    @property
    def attempt_id(self) -> str:
        return str(_start()["attempt_id"])

    @property
    def map_index(self) -> int | None:
        """Which instance of a mapped task this is; None when it is not mapped."""
        index: int | None = _start()["map_index"]
        return index

    @property
    def tries(self) -> int:
        """This one included."""
        return int(_start()["tries"])

    @property
    def tries_left(self) -> int:
        return int(_start()["tries_left"])

    @property
    def should_retry(self) -> bool:
        """Whether a plain failure would be tried again."""
        return bool(_start()["should_retry"])

    @property
    def params(self) -> dict[str, Any]:
        """With which the run was started."""
        return dict(_start()["params"])

    @property
    def started_at(self) -> datetime:
        return _moment(_start()["started_at"])

    @property
    def logical_date(self) -> datetime | None:
        """The time for which a schedule started the run; None when a person did."""
        at = _start()["logical_date"]
        return None if at is None else _moment(at)

    @property
    def timeout_s(self) -> float:
        return float(_start()["timeout_s"])

    @property
    def dependencies(self) -> dict[str, str]:
        """The status of each job that this one needed."""
        return {d["job_id"]: d["status"] for d in _start()["dependencies"]}

    @property
    def folder(self) -> Path | None:
        """Where the files that travelled with the flow are. Read only."""
        folder = _start()["folder"]
        return None if folder is None else Path(folder)

    @property
    def is_running(self) -> bool:
        """Whether a task runs in this process at all."""
        _Running.was_missed |= _Running.start is None
        return _Running.start is not None


context = Context()


def _start() -> dict[str, Any]:
    if _Running.start is None:
        _Running.was_missed = True
        raise NotRunning("the context exists only inside a task that runs")
    return _Running.start


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)
