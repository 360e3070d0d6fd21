"""What of a new run is decided before it starts: by an earlier run, or by whoever submits it."""

from collections.abc import Iterator

from jobstore.store.decided import Carried, Origin
from jobstore.store.past import PastRun
from shared.errors import Conflict
from shared.pipeline_rules import Mistake, nearest
from shared.protocol.jobs import RetryRequest, SubmitRequest
from shared.protocol.states import FAILURES, JobStatus


def unknown_skips(ask: SubmitRequest) -> Iterator[Mistake]:
    """Jobs that are to be left out, and that there are not."""
    if ask.skip:
        known = {job.id for job in ask.pipeline.jobs}
        for n, job_id in enumerate(ask.skip):
            if job_id not in known:
                hint = nearest(job_id, list(known)[:1_000])
                yield Mistake(("skip", n), f"there is no job {job_id!r} to skip{hint}")


def origin_of(ask: SubmitRequest, past: PastRun | None) -> Origin:
    """Conflict: the run to go on from still goes on, or leaves nothing to do."""
    skipped: dict[str, str] = dict.fromkeys(ask.skip, "operator")
    digest = f"skip:{sorted(skipped)}:" if skipped else ""
    if ask.resume is None or past is None:
        return Origin(skipped=skipped, digest=digest)
    _must_have_ended(ask.resume.run_id, past)
    ids: set[str] = {job.id for job in ask.pipeline.jobs}
    carried = {
        job_id: success
        for job_id, success in _successes(past).items()
        if job_id in ids and job_id not in skipped
    }
    if ask.resume.failed_only:
        left_out = {
            job_id
            for job_id in ids - carried.keys() - skipped.keys()
            if job_id not in past.jobs or past.jobs[job_id].status not in FAILURES
        }
        skipped |= dict.fromkeys(
            (job.id for job in ask.pipeline.jobs if job.id in left_out), "resume"
        )
    if len(carried) + len(skipped) == len(ids):
        raise Conflict(
            f"nothing of run {ask.resume.run_id} is left to run", state=past.status.value
        )
    return Origin(
        retry_of=ask.resume.run_id,
        carried=carried,
        skipped=skipped,
        digest=f"{digest}resume:{ask.resume.failed_only}:",
    )


def origin_of_retry(ask: RetryRequest, past: PastRun) -> Origin:
    """Conflict: the run still goes on, or every job of it succeeded."""
    _must_have_ended(ask.run_id, past)
    if not ask.failed_only:
        return Origin(retry_of=ask.run_id)
    carried = _successes(past)
    if len(carried) == len(past.jobs):
        raise Conflict(f"every job of run {ask.run_id} succeeded", state=past.status.value)
    return Origin(retry_of=ask.run_id, carried=carried, digest="failed:")


def _must_have_ended(run_id: int, past: PastRun) -> None:
    if not past.status.is_ended:
        raise Conflict(
            f"run {run_id} is {past.status.value}: cancel it first", state=past.status.value
        )


def _successes(past: PastRun) -> dict[str, Carried]:
    return {
        job_id: Carried(job.attempt_id, job.exit_code, job.marked_by)
        for job_id, job in past.jobs.items()
        if job.status is JobStatus.SUCCESS
    }
