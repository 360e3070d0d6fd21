"""The append-only event log: one event per state change, in the transaction that made it.

The same events feed the API, the service's leases and timers (after the commit), and checkers.
"""

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from jobstore.store.chain import Chain, EventRow
from shared.ids import AttemptId, JobId, RunId
from shared.protocol.jobs import Event
from shared.protocol.states import JobStatus
from shared.sqlite import Tx

# What happens to a job at its end: it has no further tries.
ENDS: Final = {"job.marked", *(f"job.{status}" for status in JobStatus if status.is_ended)}


@dataclass(frozen=True, slots=True)
class Change:
    """A committed event, and the queue place of the job that it happened to."""

    event: Event
    job_seq: int | None


@dataclass(slots=True)
class Journal:
    """What has happened in the open transaction. Lives on the database's thread."""

    chain: Chain
    changes: list[Change] = field(default_factory=list)

    def record(
        self,
        tx: Tx,
        kind: str,
        run_id: int,
        job_id: str | None = None,
        attempt_id: str | None = None,
        job_seq: int | None = None,
        **facts: Any,
    ) -> None:
        """The event is in the log, numbered, and a link of its run's chain."""
        seq = self.chain.next_seq(tx.conn)
        row = EventRow(seq, tx.now_us, kind, run_id, job_id, attempt_id, json.dumps(facts))
        tx.conn.execute(
            "INSERT INTO event (seq, at, kind, run_id, job_id, attempt_id, facts, digest)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (*row, self.chain.extend(tx.conn, row)),
        )
        event = Event.model_construct(
            seq=seq,
            at=from_us(tx.now_us),
            kind=kind,
            run_id=RunId(run_id),
            job_id=None if job_id is None else JobId(job_id),
            attempt_id=None if attempt_id is None else AttemptId(attempt_id),
            facts=facts,
        )
        self.changes.append(Change(event, job_seq))

    def undo(self, kept: int) -> None:
        """All but the first `kept` changes were rolled back."""
        for change in self.changes[kept:]:
            self.chain.forget(change.event.run_id)
        del self.changes[kept:]


def from_us(us: int) -> datetime:
    """Stored microseconds as an aware UTC datetime."""
    return datetime.fromtimestamp(us / 1_000_000, UTC)
