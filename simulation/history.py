"""What was seen from outside, in order: calls and their answers, processes of jobs, faults."""

import json
from typing import Any

from faults.judging.entry import EVENT, FAILED, INVOKED, OK, UNKNOWN, Entry
from shared.errors import ServiceError
from simulation.loop import SimulatedLoop


class History:
    """Append-only; every entry is part of the digest."""

    def __init__(self, loop: SimulatedLoop) -> None:
        self.entries: list[Entry] = []
        self._loop = loop

    def event(self, op: str, **facts: Any) -> None:
        """Something happened."""
        self._add(op, EVENT, len(self.entries), facts)

    def event_of(self, who: str, op: str, **facts: Any) -> None:
        """Something happened that is to be counted as this process's doing."""
        self._add(op, EVENT, len(self.entries), facts, who)

    def invoke(self, op: str, **facts: Any) -> Entry:
        """A call is about to be made."""
        return self._add(op, INVOKED, len(self.entries), facts)

    def answer(self, invoked: Entry, **facts: Any) -> None:
        """The call succeeded, and its caller knows."""
        self._add(invoked.op, OK, invoked.n, invoked.facts | facts)

    def fail(self, invoked: Entry, error: BaseException) -> None:
        """The caller got an error; one that is retryable leaves the effect unknown."""
        is_certain = isinstance(error, ServiceError) and not error.retryable
        facts = invoked.facts | {"error": type(error).__name__, "message": str(error)}
        self._add(invoked.op, FAILED if is_certain else UNKNOWN, invoked.n, facts)

    def _add(
        self, op: str, phase: str, call: int, facts: dict[str, Any], who: str | None = None
    ) -> Entry:
        loop = self._loop
        who = who or loop.current.label
        entry = Entry(len(self.entries), round(loop.now, 6), who, op, phase, call, facts)
        self.entries.append(entry)
        loop.record(f"history {entry.who} {op} {phase} {call} {json.dumps(facts, default=str)}")
        return entry
