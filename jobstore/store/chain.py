"""The chain of a run's events: the digest of each covers the event itself and the one before it.

Whoever changes, removes or moves an event has to write every later digest of its run anew, and
that shows against a digest that was noted elsewhere (docs/audit.md).
"""

import hashlib
import sqlite3
from dataclasses import dataclass, field
from typing import Final, NamedTuple

FIRST: Final = bytes(32)  # what stands for the event before the first
KNOWN_RUNS: Final = 10_000  # whose chains need not be looked up


class EventRow(NamedTuple):
    """An event as it is stored."""

    seq: int
    at: int  # microseconds
    kind: str
    run_id: int
    job_id: str | None
    attempt_id: str | None
    facts: str  # JSON, to the letter


def link(before: bytes, row: EventRow) -> bytes:
    """The digest of an event that follows `before` in its run. Of its fields only the last, which
    is JSON, could hold a line end, and does not."""
    seq, at, kind, run_id, job_id, attempt_id, facts = row
    text = f"{seq}\n{at}\n{kind}\n{run_id}\n{job_id or ''}\n{attempt_id or ''}\n{facts}"
    return hashlib.sha256(before + text.encode("utf-8", "surrogatepass")).digest()


@dataclass(slots=True)
class Chain:
    """Where the chains end. Outlives transactions; belongs to the database's thread.

    Holds nothing that the open transaction does not see: what is undone has to be forgotten.
    """

    _last_seq: int | None = None
    _heads: dict[int, bytes] = field(default_factory=dict)

    def next_seq(self, conn: sqlite3.Connection) -> int:
        """The number of the next event: one more than any event ever had."""
        if self._last_seq is None:
            row = conn.execute("SELECT seq FROM sqlite_sequence WHERE name = 'event'").fetchone()
            self._last_seq = 0 if row is None else int(row[0])
        return self._last_seq + 1

    def extend(self, conn: sqlite3.Connection, row: EventRow) -> bytes:
        """The digest of `row`, which is from now on the last event of its run."""
        before = self._heads.pop(row.run_id, None) or _head_of(conn, row.run_id)
        if len(self._heads) >= KNOWN_RUNS:
            del self._heads[next(iter(self._heads))]  # silent for longer than any other
        digest = self._heads[row.run_id] = link(before, row)
        self._last_seq = row.seq
        return digest

    def forget(self, run_id: int) -> None:
        """The last events of the run, and so the last of all, are not what they were."""
        self._heads.pop(run_id, None)
        self._last_seq = None


def _head_of(conn: sqlite3.Connection, run_id: int) -> bytes:
    row = conn.execute(
        "SELECT digest FROM event WHERE run_id = ? ORDER BY seq DESC LIMIT 1", (run_id,)
    ).fetchone()
    return FIRST if row is None or row[0] is None else bytes(row[0])
