"""A failure stops its run, where the pipeline's on_error says so: one look at the run, once."""

from jobstore.states import ASLEEP, AttemptEvent, JobEvent
from jobstore.store.claim import move_attempt
from jobstore.store.row import ROW, Ended, JobRow, job_row
from jobstore.store.work import Work
from shared.protocol.jobs import Reason
from shared.protocol.pipeline import OnError, When
from shared.protocol.states import AttemptStatus, JobStatus

FAIL_FAST = "fail_fast"
_ADMITTED = (JobStatus.QUEUED, JobStatus.CLAIMED)
_OPEN = ", ".join(
    f"'{s}'"
    for s in (
        JobStatus.BLOCKED,
        JobStatus.HELD,
        JobStatus.QUEUED,
        JobStatus.CLAIMED,
        JobStatus.RUNNING,
        JobStatus.RETRYING,
        *ASLEEP,
    )
)


def stop_run(work: Work, run_id: int, failed: str, on_error: OnError) -> list[tuple[JobRow, Ended]]:
    """Nothing new starts, but for jobs that run in spite of failures; who has ended.

    With OnError.CANCEL what runs is told to stop as well.
    """
    work.conn.execute("UPDATE run SET is_stopped = 1 WHERE id = ?", (run_id,))
    work.record("run.stopped", run_id, failed_job=failed, on_error=on_error.value)
    why = Reason(who="job", what=FAIL_FAST, message=f"job {failed!r} failed").model_dump_json()
    ended = []
    for job in map(
        job_row,
        work.conn.execute(
            f"SELECT {ROW} FROM job WHERE run_id = ? AND condition = '{When.ON_SUCCESS}'"
            f" AND status IN ({_OPEN}) ORDER BY seq",
            (run_id,),
        ).fetchall(),
    ):
        if job.status is JobStatus.RETRYING:
            ended.append((job, _end_by_last_try(work, job)))
        elif job.status is not JobStatus.RUNNING:
            ended.append((job, skip_stopped(work, job, why)))
        elif on_error is OnError.CANCEL:
            tell_to_stop(work, job, why, FAIL_FAST)
    return ended


def skip_stopped(work: Work, job: JobRow, why: str) -> Ended:
    """The job is skipped, wherever it waits; a claim on it is void."""
    to = end_unstarted(work, job, JobEvent.SKIP, why, FAIL_FAST)
    return job.after(to, by_failure=True)


def _end_by_last_try(work: Work, job: JobRow) -> Ended:
    """A job that waits for its next try ends as the last one did, for the same reason."""
    what, exit_code = work.conn.execute(
        "SELECT reason ->> 'what', exit_code FROM job WHERE seq = ?", (job.seq,)
    ).fetchone()
    event = _OF_LAST_TRY.get(what, JobEvent.FAIL)
    to = work.move_job(job.seq, job.status, event, ended_at=work.tx.now_us)
    work.record(
        f"job.{to.value}",
        job.run_id,
        job.job_id,
        job_seq=job.seq,
        exit_code=exit_code,
        reason=what,
    )
    return job.after(to)


# By the reason of the try. Every other one is a plain failure.
_OF_LAST_TRY = {
    "timeout": JobEvent.TIME_OUT,
    "precheck": JobEvent.FAIL_PRECHECK,
    "postcheck": JobEvent.FAIL_POSTCHECK,
}


def end_unstarted(work: Work, job: JobRow, event: JobEvent, reason: str, what: str) -> JobStatus:
    """The end to which `event` leads a job that does not run; a claim on it is void."""
    claim = job.attempt_id if job.status is JobStatus.CLAIMED else None
    if claim is not None:
        now_us = work.tx.now_us
        move_attempt(work, claim, AttemptStatus.CLAIMED, AttemptEvent.CANCEL, ended_at=now_us)
    to = work.move_job(
        job.seq, job.status, event, ended_at=work.tx.now_us, reason=reason, held_for=None
    )
    work.record(f"job.{to.value}", job.run_id, job.job_id, claim, job.seq, reason=what)
    return to


def tell_to_stop(work: Work, job: JobRow, reason: str, what: str) -> None:
    """The running attempt's worker hears at its next heartbeat that it is to stop the job."""
    work.conn.execute(
        "UPDATE job SET is_cancelled = 1, reason = ? WHERE seq = ?", (reason, job.seq)
    )
    work.record(
        "job.cancel_requested", job.run_id, job.job_id, job.attempt_id, job.seq, reason=what
    )


def has_place(status: JobStatus) -> bool:
    """Whether a job of that status counts against its run's max_workers."""
    return status in _ADMITTED or status is JobStatus.RUNNING
