"""A job as the store moves it, and what its end means for others."""

from typing import NamedTuple

from jobstore.store.work import Work
from shared.protocol.states import FAILURES, JobStatus


class Ended(NamedTuple):
    """A job that has just reached its end."""

    seq: int
    job_id: str
    stage: int
    is_main: bool
    lets_go: bool  # what needs its success may run
    has_failed: bool  # itself, or it was ended because something failed
    counts: bool  # as a failure of its stage and run
    is_cancelled: bool  # by a person


class JobRow(NamedTuple):
    """What the store needs to know of a job to end it."""

    seq: int
    run_id: int
    job_id: str
    status: JobStatus
    stage: int
    is_main: bool
    allow_failure: bool
    lock: str | None
    attempt_id: str | None

    def after(
        self, status: JobStatus, *, by_failure: bool = False, by_choice: bool = False
    ) -> Ended:
        """What it means that the job ended with `status`.

        `by_failure`: a skip or cancellation that a failure brought about. `by_choice`: a skip
        that a person asked for, so that others go on as if it had succeeded.
        """
        is_failure = status in FAILURES
        return Ended(
            self.seq,
            self.job_id,
            self.stage,
            self.is_main,
            lets_go=status is JobStatus.SUCCESS or by_choice or (is_failure and self.allow_failure),
            has_failed=is_failure or by_failure,
            counts=is_failure and not self.allow_failure,
            is_cancelled=status is JobStatus.CANCELLED and not by_failure,
        )


ROW = "seq, run_id, id, status, stage, is_main, allow_failure, lock, attempt_id"


def job_row(row: tuple[int, int, str, str, int, int, int, str | None, str | None]) -> JobRow:
    seq, run_id, job_id, status, stage, is_main, allow_failure, lock, attempt_id = row
    return JobRow(
        seq,
        run_id,
        job_id,
        JobStatus(status),
        stage,
        bool(is_main),
        bool(allow_failure),
        lock,
        attempt_id,
    )


def find_row(work: Work, seq: int) -> JobRow:
    return job_row(work.conn.execute(f"SELECT {ROW} FROM job WHERE seq = ?", (seq,)).fetchone())
