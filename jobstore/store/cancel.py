"""A run or a job is cancelled: what has not started ends at once, what runs is told to stop."""

from jobstore.states import AttemptEvent, JobEvent
from jobstore.store.admit import release
from jobstore.store.claim import move_attempt
from jobstore.store.reads import find_job, no_such_run
from jobstore.store.settle import Ended, settle
from jobstore.store.work import Work
from shared.errors import Conflict
from shared.protocol.jobs import Reason
from shared.protocol.states import AttemptStatus, JobStatus, RunStatus

ENDS_AT_ONCE = (
    JobStatus.BLOCKED,
    JobStatus.HELD,
    JobStatus.QUEUED,
    JobStatus.CLAIMED,
    JobStatus.RETRYING,
)
_STATES = ", ".join(f"'{s}'" for s in (*ENDS_AT_ONCE, JobStatus.RUNNING))


def cancel_run(work: Work, run_id: int, why: str) -> list[str]:
    """The attempts that have to be stopped. A run that has ended is left as it is."""
    row = work.conn.execute("SELECT status FROM run WHERE id = ?", (run_id,)).fetchone()
    if row is None:
        raise no_such_run(run_id)
    if RunStatus(row[0]).is_ended:
        return []
    flagged = work.conn.execute(
        "UPDATE run SET is_cancelled = 1 WHERE id = ? AND NOT is_cancelled", (run_id,)
    ).rowcount
    if flagged:
        work.record("run.cancel_requested", run_id, reason=why)
    return _cancel(work, run_id, "run_id = ?", (run_id,), why)


def cancel_job(work: Work, run_id: int, job_id: str, why: str) -> list[str]:
    """The attempt that has to be stopped, if it runs. Conflict: the job has ended otherwise."""
    seq = find_job(work.conn, run_id, job_id)
    (raw,) = work.conn.execute("SELECT status FROM job WHERE seq = ?", (seq,)).fetchone()
    status = JobStatus(raw)
    if status.is_ended and status is not JobStatus.CANCELLED:
        raise Conflict(f"job {job_id!r} has ended: {status.value}", state=status.value)
    return _cancel(work, run_id, "seq = ?", (seq,), why)


def _cancel(
    work: Work, run_id: int, where: str, parameters: tuple[int, ...], why: str
) -> list[str]:
    reason = Reason(who="operator", what="cancelled", message=why).model_dump_json()
    stop: list[str] = []
    ended: list[Ended] = []
    admitted = 0
    for seq, job_id, raw, stage, allow_failure, attempt_id in work.conn.execute(
        "SELECT seq, id, status, stage, allow_failure, attempt_id FROM job"
        f" WHERE {where} AND status IN ({_STATES}) ORDER BY seq",
        parameters,
    ).fetchall():
        status = JobStatus(raw)
        if status is JobStatus.RUNNING:
            work.conn.execute(
                "UPDATE job SET is_cancelled = 1, reason = ? WHERE seq = ?", (reason, seq)
            )
            stop.append(attempt_id)
            continue
        if status is JobStatus.CLAIMED:
            move_attempt(
                work,
                attempt_id,
                AttemptStatus.CLAIMED,
                AttemptEvent.CANCEL,
                ended_at=work.tx.now_us,
            )
        admitted += status in (JobStatus.QUEUED, JobStatus.CLAIMED)
        to = work.move_job(seq, status, JobEvent.CANCEL, ended_at=work.tx.now_us, reason=reason)
        of_attempt = attempt_id if status is JobStatus.CLAIMED else None
        work.record("job.cancelled", run_id, job_id, of_attempt, seq, reason=why)
        ended.append(Ended(seq, stage, to, bool(allow_failure)))
    settle(work, run_id, ended)
    if admitted:
        release(work, run_id, admitted)
    return stop


def time_out_queued(work: Work, seq: int) -> bool:
    """False: claimed just now, ask again. True: the job timed out, or is past queueing."""
    run_id, job_id, raw, stage, allow_failure, limit_s = work.conn.execute(
        "SELECT run_id, id, status, stage, allow_failure, queue_timeout_s FROM job WHERE seq = ?",
        (seq,),
    ).fetchone()
    if raw == JobStatus.CLAIMED:
        return False
    if raw == JobStatus.QUEUED:
        message = f"no worker took the job within {limit_s:g} s"
        reason = Reason(who="platform", what="queue_timeout", message=message)
        status = work.move_job(
            seq,
            JobStatus.QUEUED,
            JobEvent.TIME_OUT,
            ended_at=work.tx.now_us,
            reason=reason.model_dump_json(),
        )
        work.record("job.timeout", run_id, job_id, job_seq=seq, reason=reason.what)
        settle(work, run_id, [Ended(seq, stage, status, bool(allow_failure))])
        release(work, run_id)
    return True
