"""P1: nothing that was acknowledged is lost, and every job ends once."""

from collections import Counter
from collections.abc import Iterator

from faults.judging.entry import INVOKED
from faults.judging.evidence import Evidence
from shared.protocol.jobs import JobView
from shared.protocol.states import FAILURES, JobStatus, RunStatus


def submits(e: Evidence) -> Iterator[str]:
    """I1. A submit that was replied to before it was durable; one that was stored twice."""
    names = Counter(run.name for run in e.final.runs.values())
    for entry in e.events("submitted"):
        run = e.final.runs.get(entry.facts["run"])
        if run is None or run.name != entry.facts["name"]:
            yield f"acknowledged submit of {entry.facts['name']} is lost"
    asked = {entry.facts["name"] for entry in e.by_op["submit", INVOKED]}
    for name, count in names.items():
        if name not in asked:
            yield f"{name} was never submitted"
        if count > 1:
            yield f"{name} was stored {count} times under one key"
    for run in e.final.runs.values():
        if [job.id for job in run.jobs] != [job.id for job in e.pipelines[run.name].jobs]:
            yield f"run {run.run_id} does not have the jobs that were submitted"
    for entry in e.events("spawn"):
        if entry.facts["attempt"] not in e.of:
            yield f"{entry.facts['attempt']} was run and is unknown"


def ends(e: Evidence) -> Iterator[str]:
    """I2. A job that is stuck; a run whose end does not follow from its jobs."""
    for run in e.final.runs.values():
        allowed = {job.id for job in e.pipelines[run.name].jobs if job.allow_failure}
        for job in run.jobs:
            if not job.status.is_ended:
                yield f"job {run.run_id}/{job.id} never ended: it is {job.status}"
        statuses = {job.status for job in run.jobs if job.id not in allowed}
        if any(job.status is JobStatus.CANCELLED and not _by_failure(job) for job in run.jobs):
            expected = RunStatus.CANCELLED
        elif statuses & set(FAILURES):
            expected = RunStatus.FAILED
        else:
            expected = RunStatus.SUCCESS
        was_cancelled = any(c.facts["run"] == run.run_id for c in e.by_op["cancel", INVOKED])
        if run.status is not expected and not (was_cancelled and run.status.is_ended):
            yield f"run {run.run_id} is {run.status}, its jobs say {expected}"


def _by_failure(job: JobView) -> bool:
    """Whether it ended because another job of its run failed."""
    return job.reason is not None and job.reason.what == "fail_fast"


def seen_ends(e: Evidence) -> Iterator[str]:
    """I11. An end that somebody saw and that was taken back, for good or only for a while."""
    known: dict[tuple[int, str | None], str] = {}
    for entry in e.events("seen"):
        run = e.final.runs.get(entry.facts["run"])
        if run is None:
            yield f"run {entry.facts['run']} was seen and is gone"
            continue
        now = {job.id: job.status.value for job in run.jobs}
        for job, status in entry.facts["ended"].items():
            known[run.run_id, job] = status
            if now.get(job) != status:
                yield f"job {run.run_id}/{job} was seen {status}, is {now.get(job)}"
        if entry.facts["status"] is not None:
            known[run.run_id, None] = entry.facts["status"]
            if entry.facts["status"] != run.status.value:
                yield f"run {run.run_id} was seen {entry.facts['status']}, is {run.status}"
        said = {**entry.facts["ended"], None: entry.facts["status"]}
        for (run_id, job), status in known.items():
            if run_id == run.run_id and said.get(job) != status:
                yield f"{job or 'all'} of run {run_id} was seen {status}, then {said.get(job)}"
