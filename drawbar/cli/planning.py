"""`--dry-run`: the plan of a run, with what its past tells. Nothing is stored, nothing is needed.

Without a data directory or a service there is no past, and the plan says so.
"""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from drawbar.cli.connect import job_service
from drawbar.cli.estimate import estimate, typical
from drawbar.cli.pipelines import Start
from drawbar.cli.places import data_dir
from drawbar.cli.plan import Plan, plan_lines, plan_object
from drawbar.cli.render.objects import write_json
from shared.errors import ServiceError, UnknownRun
from shared.ids import JobId
from shared.protocol.jobs import RunView
from shared.protocol.states import FAILURES, JobStatus
from worker.machine import default_slots

RUNS: Final = 20  # of the past, that tell how long a job takes


def show_plan(
    start: Start,
    *,
    here: Mapping[str, str] | None,
    workers: int | None,
    server: str | None,
    data: Path | None,
    as_json: bool,
) -> None:
    """The plan is on stdout. `here`: the labels of the worker that would run it in this process.

    UnknownRun: there is no such run to resume.
    """
    took, why, resumed = asyncio.run(_past(start, here is not None, server, data))
    fates = _fates(start, resumed)
    at_once = (workers or default_slots()) if here is not None else None
    plan = Plan(
        spec=start.pipeline,
        fates=fates,
        estimate=estimate(start.pipeline, took, left_out=fates.keys(), at_once=at_once),
        why_no_estimate=why,
        here=here,
        at_once=at_once,
        resumed=None if start.resume is None else start.resume.run_id,
    )
    if as_json:
        write_json(plan_object(plan))
    else:
        print("\n".join(plan_lines(plan)))  # noqa: T201  # this is the output


async def _past(
    start: Start, is_here: bool, server: str | None, data: Path | None
) -> tuple[dict[str, float], str, RunView | None]:
    """What jobs took; why that is not known; and the run that would be resumed."""
    spec, resume = start.pipeline, start.resume
    if server is None and not (data_dir(data) / "jobstore" / "jobs.db").exists():
        if resume is not None and is_here:
            raise UnknownRun(f"there is no run {resume.run_id}", run_id=resume.run_id)
        if is_here:
            return {}, "nothing has run here yet", None
    try:
        async with job_service(server, data, only_looks=True) as jobs:
            resumed = None if resume is None else await jobs.show_run(resume.run_id)
            past = await jobs.job_history(spec.name, None, runs=RUNS)
    except ServiceError as error:
        if resume is not None:
            raise
        return {}, error.message.partition(": ")[0], None
    return typical(past.jobs), f"{spec.name} has not run yet", resumed


def _fates(start: Start, resumed: RunView | None) -> dict[str, str]:
    """Why jobs of the pipeline would not be run, by job."""
    fates: dict[str, str] = {job_id: "skipped, as if it had succeeded" for job_id in start.skip}
    if resumed is None or start.resume is None:
        return fates
    before = {job.id: job.status for job in resumed.jobs}
    for job in start.pipeline.jobs:
        status = before.get(JobId(job.id))
        if status is JobStatus.SUCCESS:
            fates.setdefault(job.id, f"carried over from run {resumed.run_id}")
        elif start.resume.failed_only and status not in FAILURES:
            fates.setdefault(job.id, f"skipped: it did not fail in run {resumed.run_id}")
    return fates
