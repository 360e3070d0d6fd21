"""A run or a job is cancelled: what has not started ends at once, what runs is told to stop."""

from jobstore.states import ASLEEP, JobEvent
from jobstore.store.admit import give_up_place
from jobstore.store.reads import find_job, no_such_run
from jobstore.store.row import ROW, Ended, JobRow, job_row
from jobstore.store.settle import settle
from jobstore.store.stop import end_unstarted, has_place, tell_to_stop
from jobstore.store.unfold import UNFOLDED
from jobstore.store.work import Work
from shared.errors import Conflict
from shared.protocol.jobs import Reason
from shared.protocol.states import JobStatus, RunStatus

ENDS_AT_ONCE = (
    JobStatus.BLOCKED,
    JobStatus.HELD,
    JobStatus.QUEUED,
    JobStatus.CLAIMED,
    JobStatus.RETRYING,
    *ASLEEP,
)
_STATES = ", ".join(f"'{s}'" for s in (*ENDS_AT_ONCE, JobStatus.RUNNING))


def cancel_run(work: Work, run_id: int, why: str) -> None:
    """No job of it starts any more. A run that has ended is left as it is."""
    row = work.conn.execute("SELECT status FROM run WHERE id = ?", (run_id,)).fetchone()
    if row is None:
        raise no_such_run(run_id)
    if RunStatus(row[0]).is_ended:
        return
    flagged = work.conn.execute(
        "UPDATE run SET is_cancelled = 1 WHERE id = ? AND NOT is_cancelled", (run_id,)
    ).rowcount
    if flagged:
        work.record("run.cancel_requested", run_id, reason=why)
    _cancel(work, run_id, "run_id = ?", (run_id,), why)


def cancel_job(work: Work, run_id: int, job_id: str, why: str) -> None:
    """The job has ended, or is told to, if it runs. Conflict: it has ended otherwise.

    A mapped job is cancelled in its instances, and ends when the last of them has.
    """
    seq = find_job(work.conn, run_id, job_id)
    raw, mapping = work.conn.execute(
        "SELECT status, mapping FROM job WHERE seq = ?", (seq,)
    ).fetchone()
    status = JobStatus(raw)
    if status.is_ended and status is not JobStatus.CANCELLED:
        raise Conflict(f"job {job_id!r} has ended: {status.value}", state=status.value)
    _cancel(work, run_id, "mapped_by = ?" if mapping == UNFOLDED else "seq = ?", (seq,), why)


def _cancel(work: Work, run_id: int, where: str, parameters: tuple[int, ...], why: str) -> None:
    reason = Reason(who="operator", what="cancelled", message=why).model_dump_json()
    ended: list[tuple[JobRow, Ended]] = []
    for job in map(
        job_row,
        work.conn.execute(
            f"SELECT {ROW} FROM job WHERE {where} AND status IN ({_STATES}) ORDER BY seq",
            parameters,
        ).fetchall(),
    ):
        if job.status is JobStatus.RUNNING:
            tell_to_stop(work, job, reason, why)
        else:
            ended.append((job, end_as_cancelled(work, job, reason, why)))
    settle(work, run_id, [end for _, end in ended])
    for job, _ in ended:
        give_up_place(work, job, was_admitted=has_place(job.status))


def end_as_cancelled(work: Work, job: JobRow, reason: str, why: str) -> Ended:
    """A job that does not run has ended; a claim on it is void."""
    return job.after(end_unstarted(work, job, JobEvent.CANCEL, reason, why))
