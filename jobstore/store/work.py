"""One call's hands on the store: the open transaction, the journal, and what became claimable."""

import sqlite3
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from jobstore.notifications.outbox import note_run_end
from jobstore.states import (
    JOB,
    RUN,
    STAGE,
    JobEvent,
    RunEvent,
    StageEvent,
    after,
)
from jobstore.store.journal import Journal
from shared.errors import StaleFence
from shared.protocol.states import JobStatus, RunStatus, StageStatus
from shared.sqlite import Tx


@dataclass(slots=True)
class Batch:
    """What the calls that share one transaction have done so far."""

    journal: Journal
    ready: Counter[int] = field(default_factory=Counter)  # selector id → jobs newly queued


@dataclass(slots=True)
class Work:
    """Moves things along the tables of `states.py`.

    A job's move is a compare-and-set. Stages and runs are moved from the state that was read a
    moment before, in the same transaction.
    """

    tx: Tx
    batch: Batch

    @property
    def conn(self) -> sqlite3.Connection:
        return self.tx.conn

    def record(
        self,
        kind: str,
        run_id: int,
        job_id: str | None = None,
        attempt_id: str | None = None,
        job_seq: int | None = None,
        **facts: Any,
    ) -> None:
        self.batch.journal.record(self.tx, kind, run_id, job_id, attempt_id, job_seq, **facts)

    def move_job(
        self, seq: int, status: JobStatus, event: JobEvent, **columns: object
    ) -> JobStatus:
        """The job is in the state that `event` leads to. StaleFence: it was not in `status`."""
        to = after(JOB, status, event)
        names = "".join(f", {name} = ?" for name in columns)
        moved = self.conn.execute(
            f"UPDATE job SET status = ?{names} WHERE seq = ? AND status = ?",
            (to, *columns.values(), seq, status),
        ).rowcount
        if moved != 1:
            raise StaleFence(f"the job is not {status.value} any more", state=status.value)
        return to

    def move_stage(
        self, run_id: int, position: int, status: StageStatus, event: StageEvent
    ) -> StageStatus:
        to = after(STAGE, status, event)
        (name,) = self.conn.execute(
            "UPDATE stage SET status = ? WHERE run_id = ? AND position = ? RETURNING name",
            (to, run_id, position),
        ).fetchone()
        self.record(f"stage.{to.value}", run_id, stage=name)
        return to

    def move_run(self, run_id: int, status: RunStatus, event: RunEvent) -> RunStatus:
        to = after(RUN, status, event)
        moment = "started_at" if to is RunStatus.RUNNING else "ended_at"
        self.conn.execute(
            f"UPDATE run SET status = ?, {moment} = ? WHERE id = ?", (to, self.tx.now_us, run_id)
        )
        self.record(f"run.{to.value}", run_id)
        if to.is_ended:
            note_run_end(self, run_id, to)
        return to
