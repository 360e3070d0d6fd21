"""What has been decided of a new run's jobs before it starts: successes carried over, skips."""

from collections.abc import Mapping
from typing import NamedTuple

from jobstore.states import JobEvent
from jobstore.store.row import ROW, Ended, JobRow, job_row
from jobstore.store.work import Work
from shared.protocol.jobs import Reason


class Carried(NamedTuple):
    """A success of an earlier run."""

    attempt_id: str | None  # None: it was marked, and never ran
    exit_code: int | None
    marked_by: str | None


class Origin(NamedTuple):
    """Where a run comes from, and what of it has been decided already."""

    retry_of: int | None = None
    carried: Mapping[str, Carried] = {}
    skipped: Mapping[str, str] = {}  # job → what decided it; dependents run as after a success
    digest: str = ""  # what else makes the submission what it is


PLAIN = Origin()


def end_what_is_decided(work: Work, run_id: int, origin: Origin) -> list[Ended]:
    """Jobs that succeeded in the earlier run have succeeded in this one, with their artifacts;
    those that are not to run are skipped.

    All of them move before any is settled, so that none is queued by another's success.
    """
    ended = []
    now = work.tx.now_us
    for job_id, past in origin.carried.items():
        job = _row_of(work, run_id, job_id)
        to = work.move_job(
            job.seq,
            job.status,
            JobEvent.CARRY,
            attempt_id=past.attempt_id,
            exit_code=past.exit_code,
            marked_by=past.marked_by,
            started_at=now,
            ended_at=now,
        )
        work.record(
            "job.carried_over", run_id, job_id, job_seq=job.seq, from_attempt=past.attempt_id
        )
        ended.append(job.after(to))
    for job_id, what in origin.skipped.items():
        job = _row_of(work, run_id, job_id)
        reason = Reason(who="operator", what=what, message=_SKIPPED[what])
        to = work.move_job(
            job.seq,
            job.status,
            JobEvent.SKIP,
            ended_at=now,
            reason=reason.model_dump_json(),
        )
        work.record("job.skipped", run_id, job_id, job_seq=job.seq, reason=what)
        ended.append(job.after(to, by_choice=True))
    return ended


_SKIPPED = {
    "operator": "left out when the run was submitted",
    "resume": "it had not failed in the run that this one goes on from",
}


def _row_of(work: Work, run_id: int, job_id: str) -> JobRow:
    row = work.conn.execute(
        f"SELECT {ROW} FROM job WHERE run_id = ? AND id = ?", (run_id, job_id)
    ).fetchone()
    return job_row(row)
