"""What the end of a job means for its dependents, its stage and its run.

The cost is that of the job's own dependents: counters stand for everything else, so it does not
grow with the run.
"""

from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

from jobstore.states import JobEvent, RunEvent, StageEvent
from jobstore.store.admit import COLUMNS, Ready, admit, ready
from jobstore.store.work import Work
from shared.protocol.jobs import Reason
from shared.protocol.states import JobStatus, RunStatus, StageStatus

FAILURES = (JobStatus.FAILED, JobStatus.TIMEOUT)


class Ended(NamedTuple):
    """A job that has just reached its end."""

    seq: int
    stage: int
    status: JobStatus
    allow_failure: bool

    @property
    def counts_as_failure(self) -> bool:
        return self.status in FAILURES and not self.allow_failure

    @property
    def lets_dependents_run(self) -> bool:
        return self.status is JobStatus.SUCCESS or (self.status in FAILURES and self.allow_failure)


def settle(work: Work, run_id: int, jobs: Iterable[Ended]) -> None:
    """Dependents are queued or skipped, stages opened or closed, the run ended if all is done."""
    ended = deque(jobs)
    unblocked: list[Ready] = []
    while ended:
        job = ended.popleft()
        if job.lets_dependents_run:
            unblocked += _unblock_dependents(work, job)
        else:
            ended += _skip(
                work,
                run_id,
                "job.seq IN (SELECT downstream FROM edge WHERE upstream = ?)",
                (job.seq,),
                "dependency",
            )
        opened, skipped = _count_in_stage(work, run_id, job)
        unblocked += opened
        ended += skipped
        _count_in_run(work, run_id, job)
    if unblocked:
        admit(work, run_id, unblocked)


def _unblock_dependents(work: Work, job: Ended) -> list[Ready]:
    rows = work.conn.execute(
        "UPDATE job SET waits = waits - 1"
        " WHERE seq IN (SELECT downstream FROM edge WHERE upstream = ?)"
        f" AND status = '{JobStatus.BLOCKED}' RETURNING waits, {COLUMNS}",
        (job.seq,),
    ).fetchall()
    return [ready(row[1:]) for row in rows if row[0] == 0]


def _skip(
    work: Work, run_id: int, where: str, parameters: tuple[int, ...], why: str
) -> list[Ended]:
    """Blocked jobs that match `where` are skipped, in queue order."""
    rows = work.conn.execute(
        "SELECT seq, id, stage, allow_failure FROM job"
        f" WHERE {where} AND status = '{JobStatus.BLOCKED}' ORDER BY seq",
        parameters,
    ).fetchall()
    reason = Reason(who="job", what=why, message=f"{_A_WHAT[why]} did not succeed")
    for seq, job_id, _, _ in rows:
        work.move_job(
            seq,
            JobStatus.BLOCKED,
            JobEvent.SKIP,
            ended_at=work.tx.now_us,
            reason=reason.model_dump_json(),
        )
        work.record("job.skipped", run_id, job_id, job_seq=seq, reason=why)
    return [Ended(seq, stage, JobStatus.SKIPPED, bool(ok)) for seq, _, stage, ok in rows]


_A_WHAT = {"dependency": "a dependency", "stage": "an earlier stage"}


def _count_in_stage(work: Work, run_id: int, job: Ended) -> tuple[list[Ready], list[Ended]]:
    """Jobs of the next stage that may run now, and jobs of later stages that never will."""
    row = work.conn.execute(
        "UPDATE stage SET open_jobs = open_jobs - 1, failed_jobs = failed_jobs + ?"
        " WHERE run_id = ? AND position = ? RETURNING open_jobs, failed_jobs, status",
        (job.counts_as_failure, run_id, job.stage),
    ).fetchone()
    if row is None or row[0] > 0:
        return [], []
    _, failed, status = row
    if status == StageStatus.PENDING and job.status is JobStatus.SUCCESS:
        return [], []  # all carried over: the stage succeeds when its turn comes
    if status == StageStatus.PENDING:  # never opened: its jobs were skipped or cancelled
        event = StageEvent.CANCEL if job.status is JobStatus.CANCELLED else StageEvent.SKIP
        work.move_stage(run_id, job.stage, StageStatus.PENDING, event)
        return [], []
    if failed:
        work.move_stage(run_id, job.stage, StageStatus.RUNNING, StageEvent.FAIL)
    elif _is_cancelled(work, run_id) or _has_cancelled_jobs(work, run_id, job.stage):
        work.move_stage(run_id, job.stage, StageStatus.RUNNING, StageEvent.CANCEL)
    else:
        work.move_stage(run_id, job.stage, StageStatus.RUNNING, StageEvent.SUCCEED)
        return _open_next_stage(work, run_id, job.stage)
    return [], _skip_later_stages(work, run_id, job.stage)


def _skip_later_stages(work: Work, run_id: int, position: int) -> list[Ended]:
    _skip_empty_stages(work, run_id, position)
    return _skip(work, run_id, "run_id = ? AND stage > ?", (run_id, position), "stage")


def _skip_empty_stages(work: Work, run_id: int, position: int) -> None:
    for (later,) in work.conn.execute(
        "SELECT position FROM stage WHERE run_id = ? AND position > ? AND open_jobs = 0"
        " AND status = ? ORDER BY position",
        (run_id, position, StageStatus.PENDING),
    ).fetchall():
        work.move_stage(run_id, later, StageStatus.PENDING, StageEvent.SKIP)


def _open_next_stage(work: Work, run_id: int, position: int) -> tuple[list[Ready], list[Ended]]:
    """The first later stage that still has open jobs is open; those before it are done. Or one
    of those did not succeed, all of its jobs being cancelled or skipped: the rest is skipped."""
    for later, open_jobs, status in work.conn.execute(
        "SELECT position, open_jobs, status FROM stage WHERE run_id = ? AND position > ?"
        " ORDER BY position",
        (run_id, position),
    ).fetchall():
        if status != StageStatus.PENDING:
            return [], _skip_later_stages(work, run_id, later)
        work.move_stage(run_id, later, StageStatus.PENDING, StageEvent.OPEN)
        if open_jobs == 0:
            work.move_stage(run_id, later, StageStatus.RUNNING, StageEvent.SUCCEED)
            continue
        rows = work.conn.execute(
            "UPDATE job SET waits = waits - 1 WHERE run_id = ? AND stage = ?"
            f" AND status = '{JobStatus.BLOCKED}' RETURNING waits, {COLUMNS}",
            (run_id, later),
        ).fetchall()
        return [ready(row[1:]) for row in rows if row[0] == 0], []
    return [], []


def _count_in_run(work: Work, run_id: int, job: Ended) -> None:
    open_jobs, failed, is_cancelled, status = work.conn.execute(
        "UPDATE run SET open_jobs = open_jobs - 1, failed_jobs = failed_jobs + ?"
        " WHERE id = ? RETURNING open_jobs, failed_jobs, is_cancelled, status",
        (job.counts_as_failure, run_id),
    ).fetchone()
    if open_jobs > 0:
        return
    if is_cancelled or _has_cancelled_jobs(work, run_id):
        event = RunEvent.CANCEL
    else:
        event = RunEvent.FAIL if failed else RunEvent.SUCCEED
    work.move_run(run_id, RunStatus(status), event)


def _is_cancelled(work: Work, run_id: int) -> bool:
    (flag,) = work.conn.execute("SELECT is_cancelled FROM run WHERE id = ?", (run_id,)).fetchone()
    return bool(flag)


def _has_cancelled_jobs(work: Work, run_id: int, stage: int | None = None) -> bool:
    """One look at the run's jobs, once, when it or that stage of it ends."""
    row = work.conn.execute(
        f"SELECT 1 FROM job WHERE run_id = ?1 AND status = '{JobStatus.CANCELLED}'"
        " AND stage = coalesce(?2, stage) LIMIT 1",
        (run_id, stage),
    ).fetchone()
    return row is not None
