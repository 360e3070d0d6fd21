"""What a verdict on an attempt depends on, and what it does to the job."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from jobstore.retry import Verdict
from jobstore.states import ASLEEP, JobEvent
from jobstore.store.admit import give_up_place
from jobstore.store.claim import Held
from jobstore.store.row import find_row
from jobstore.store.settle import settle
from jobstore.store.stop import FAIL_FAST, has_place, skip_stopped
from jobstore.store.stopwatch import Stopwatch
from jobstore.store.unblock import leave_out
from jobstore.store.work import Work
from shared.protocol.jobs import Reason
from shared.protocol.pipeline import JobSpec, When
from shared.protocol.states import JobStatus


class Tried(NamedTuple):
    """What a verdict depends on, beside how the attempt ended."""

    spec: JobSpec
    tries: int
    elapsed_s: float  # since the first try started
    cancelled: Reason | None
    is_stopped: bool  # nothing more of the run starts, this job included


def tried_of(work: Work, held: Held, watch: Stopwatch) -> Tried:
    spec, tries, elapsed_s, cancelled, is_stopped = work.conn.execute(
        "SELECT job.spec, job.tries, job.elapsed_s, iif(job.is_cancelled, job.reason, NULL),"
        f" run.is_stopped AND job.condition = '{When.ON_SUCCESS}'"
        " FROM job JOIN run ON run.id = job.run_id WHERE job.seq = ?",
        (held.seq,),
    ).fetchone()
    return Tried(
        JobSpec.model_validate_json(spec),
        tries,
        watch.elapsed_s(held.seq, work.tx.mono, elapsed_s),
        None if cancelled is None else Reason.model_validate_json(cancelled),
        bool(is_stopped),
    )


def judge_branch(work: Work, held: Held, chosen: Sequence[str]) -> Verdict | None:
    """A branch to where there is nothing is a failure."""
    dependents = {
        job_id
        for (job_id,) in work.conn.execute(
            "SELECT job.id FROM edge JOIN job ON job.seq = edge.downstream WHERE edge.upstream = ?",
            (held.seq,),
        ).fetchall()
    }
    unknown = [job_id for job_id in chosen if job_id not in dependents]
    if not unknown:
        return None
    message = f"it chose {unknown[0]!r}, which does not wait for it"
    return Verdict(JobEvent.FAIL, Reason(who="job", what="branch", message=message))


def follow(
    work: Work,
    held: Held,
    attempt_id: str,
    verdict: Verdict,
    tried: Tried,
    *,
    exit_code: int | None,
    chosen: Sequence[str] | None = None,
    was: JobStatus = JobStatus.RUNNING,
    more: Mapping[str, object] | None = None,
) -> JobStatus:
    """The verdict has happened to a job that `was` running, or deferred; the status it led to.

    `chosen`: of its dependents, those that go on after its success; None: all. `more`: facts.
    """
    columns: dict[str, object] = {
        "exit_code": exit_code,
        "reason": verdict.reason and verdict.reason.model_dump_json(),
        "elapsed_s": tried.elapsed_s,
        "tries": tried.tries - (not verdict.spends_try),
    }
    if verdict.event is JobEvent.RETRY:
        columns["delay_s"] = verdict.delay_s
    elif verdict.event not in (JobEvent.REQUEUE, JobEvent.DEFER, JobEvent.RESCHEDULE):
        columns["ended_at"] = work.tx.now_us
    if verdict.event is not JobEvent.REQUEUE:  # the next try begins at the beginning
        columns["resume"] = None
    status = work.move_job(held.seq, was, verdict.event, **columns)
    facts: dict[str, object] = {"fence": held.fence, "exit_code": exit_code, **(more or {})}
    if verdict.reason is not None:
        facts["reason"] = verdict.reason.what
    if verdict.event is JobEvent.RETRY:
        facts["delay_s"] = verdict.delay_s
    kind = "job.requeued" if verdict.event is JobEvent.REQUEUE else f"job.{status.value}"
    work.record(kind, held.run_id, held.job_id, attempt_id, held.seq, **facts)
    job = find_row(work, held.seq)
    if verdict.event is JobEvent.REQUEUE and not tried.is_stopped:
        (selector_id,) = work.conn.execute(
            "SELECT selector_id FROM job WHERE seq = ?", (held.seq,)
        ).fetchone()
        work.batch.ready[selector_id] += 1
        return status
    if verdict.event is JobEvent.REQUEUE:  # it had to leave its worker, and may not start again
        why = Reason(who="job", what=FAIL_FAST, message="another job failed").model_dump_json()
        settle(work, held.run_id, [skip_stopped(work, job, why)])
        status = JobStatus.SKIPPED
    elif status.is_ended:
        # Told to stop for a failure that was marked since, it is merely cancelled.
        told = verdict.reason is not None and verdict.reason.what == FAIL_FAST
        by_failure = told and tried.is_stopped
        ended = [job.after(status, by_failure=by_failure)]
        if chosen is not None and status is JobStatus.SUCCESS:
            ended += leave_out(work, held.run_id, held.seq, chosen)
        settle(work, held.run_id, ended)
    # After settling, so that the highest priority gets the room.
    if was not in ASLEEP:
        give_up_place(work, job, was_admitted=has_place(was))
    return status
