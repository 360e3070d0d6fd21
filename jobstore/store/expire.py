"""What the clock does to jobs: leases run out, waits for a worker or for the next try are over."""

import random
from typing import Final, NamedTuple

from jobstore.states import AttemptEvent, JobEvent
from jobstore.store.admit import COLUMNS, admit, give_up_place, ready
from jobstore.store.claim import find_attempt, lapse_claim, move_attempt
from jobstore.store.loss import count_loss
from jobstore.store.row import find_row
from jobstore.store.settle import settle
from jobstore.store.stopwatch import Stopwatch
from jobstore.store.verdict import follow, tried_of
from jobstore.store.work import Work
from shared.protocol.jobs import Reason
from shared.protocol.states import AttemptStatus, JobStatus

SILENT: Final = "the worker went silent; its lease ran out"


class Expired(NamedTuple):
    """An attempt that was not started in time, or whose worker was silent for too long."""

    attempt_id: str
    was_running: bool


def expire_lease(
    work: Work, expired: Expired, *, max_lost: int, watch: Stopwatch, rng: random.Random
) -> None:
    """The attempt lapsed or is lost, unless it was settled a moment ago: then nothing happens.

    Nor when it was started a moment ago, while it was found to lapse: it has a new lease.
    """
    attempt_id = expired.attempt_id
    held = find_attempt(work, attempt_id)
    if held.status is AttemptStatus.CLAIMED:
        lapse_claim(work, attempt_id, held)
    elif held.status is AttemptStatus.RUNNING and expired.was_running:
        tried = tried_of(work, held, watch)
        verdict = count_loss(work, held, tried, max_lost=max_lost, message=SILENT, rng=rng)
        work.record(
            "attempt.lost",
            held.run_id,
            held.job_id,
            attempt_id,
            held.seq,
            worker_id=held.worker_id,
            fence=held.fence,
        )
        follow(work, held, attempt_id, verdict, tried, exit_code=None)
        move_attempt(
            work,
            attempt_id,
            AttemptStatus.RUNNING,
            AttemptEvent.LOSE,
            ended_at=work.tx.now_us,
            outcome=AttemptStatus.LOST,
            reason=verdict.reason and verdict.reason.model_dump_json(),
        )


def time_out_queued(work: Work, seq: int) -> bool:
    """False: claimed just now, ask again. True: the job timed out, or is past queueing."""
    job = find_row(work, seq)
    if job.status is JobStatus.CLAIMED:
        return False
    if job.status is JobStatus.QUEUED:
        (limit_s,) = work.conn.execute(
            "SELECT queue_timeout_s FROM job WHERE seq = ?", (seq,)
        ).fetchone()
        message = f"no worker took the job within {limit_s:g} s"
        reason = Reason(who="platform", what="queue_timeout", message=message)
        to = work.move_job(
            seq,
            JobStatus.QUEUED,
            JobEvent.TIME_OUT,
            ended_at=work.tx.now_us,
            reason=reason.model_dump_json(),
        )
        work.record("job.timeout", job.run_id, job.job_id, job_seq=seq, reason=reason.what)
        settle(work, job.run_id, [job.after(to)])
        give_up_place(work, job, was_admitted=True)
    return True


def wake_jobs(work: Work, seqs: list[int]) -> None:
    """The delay of these jobs is over: those that still wait for their next try are queued."""
    for seq in seqs:
        row = work.conn.execute(
            f"SELECT run_id, {COLUMNS} FROM job WHERE seq = ? AND status = '{JobStatus.RETRYING}'",
            (seq,),
        ).fetchone()
        if row is not None:
            admit(work, row[0], [ready(row[1:])])
