"""Writes down what is seen of a real cluster from outside, as faults/judging/entry.py has it."""

import json
from collections.abc import Iterable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

from faults.judging.entry import EVENT, FAILED, INVOKED, OK, UNKNOWN, Entry
from shared.errors import ServiceError
from shared.runtime import Runtime

FLUSH_EVERY: Final = 100


class Recorder:
    """Append-only, in memory and as JSON lines in a file."""

    def __init__(self, path: Path, runtime: Runtime) -> None:
        self.entries: list[Entry] = []
        self._runtime = runtime
        self._began = runtime.mono()
        self._began_at = runtime.now().timestamp()
        self._file = path.open("w")

    @property
    def now(self) -> float:
        return self._runtime.mono() - self._began

    def at(self, wall_s: float) -> float:
        """When that was: for who can only read the wall clock of this machine."""
        return wall_s - self._began_at

    def event(self, who: str, op: str, at: float | None = None, **facts: Any) -> Entry:
        """Something happened."""
        return self._add(who, op, EVENT, len(self.entries), facts, at)

    def invoke(self, who: str, op: str, **facts: Any) -> Entry:
        """A call is about to be made."""
        return self._add(who, op, INVOKED, len(self.entries), facts)

    def answer(self, invoked: Entry, **facts: Any) -> None:
        """The call succeeded, and its caller knows."""
        self._add(invoked.who, invoked.op, OK, invoked.n, invoked.facts | facts)

    def fail(self, invoked: Entry, *, is_certain: bool, **facts: Any) -> None:
        """The caller got an error. Not certain: it may have had its effect."""
        phase = FAILED if is_certain else UNKNOWN
        self._add(invoked.who, invoked.op, phase, invoked.n, invoked.facts | facts)

    def failed(self, invoked: Entry, error: Exception) -> None:
        """The call raised; an error that is retryable leaves the effect unknown."""
        is_certain = isinstance(error, ServiceError) and not error.retryable
        said = {"error": type(error).__name__, "message": str(error)}
        self.fail(invoked, is_certain=is_certain, **said)

    def close(self) -> None:
        self._file.close()

    def _add(
        self,
        who: str,
        op: str,
        phase: str,
        call: int,
        facts: dict[str, Any],
        at: float | None = None,
    ) -> Entry:
        n = len(self.entries)
        entry = Entry(n, round(self.now if at is None else at, 6), who, op, phase, call, facts)
        self.entries.append(entry)
        self._file.write(json.dumps(asdict(entry), default=str) + "\n")
        if n % FLUSH_EVERY == 0:
            self._file.flush()
        return entry


def in_order(entries: Iterable[Entry]) -> list[Entry]:
    """By time, and numbered anew: what jobs wrote down themselves is read later than it was."""
    sorted_ones = sorted(entries, key=lambda entry: (entry.at, entry.n))
    place = {entry.n: n for n, entry in enumerate(sorted_ones)}
    return [replace(e, n=n, call=place[e.call]) for n, e in enumerate(sorted_ones)]
