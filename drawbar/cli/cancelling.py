"""Cancelling, without claiming it of what had ended before. For `drawbar cancel`."""

import asyncio
from pathlib import Path

from drawbar.cli.connect import asking_jobs
from drawbar.cli.deciding import told_a_run_here
from shared.errors import Conflict
from shared.protocol.jobs import CancelRequest
from shared.runtime import Runtime
from shared.services import JobService


def cancel(ask: CancelRequest, server: str | None, data: Path | None) -> str | None:
    """The run or job was told to end; or the status in which it had ended already."""

    async def look_and_cancel(jobs: JobService, _: Runtime) -> str | None:
        found = await _ended(jobs, ask)
        try:
            await jobs.cancel(ask)  # also then: whether we may is the service's to say
        except Conflict as error:
            if "state" not in error.facts:
                raise
            return str(error.facts["state"])
        return found

    if asyncio.run(told_a_run_here(ask, server, data)):
        return None
    return asking_jobs(look_and_cancel, server, data)


async def _ended(jobs: JobService, ask: CancelRequest) -> str | None:
    run = await jobs.show_run(ask.run_id)
    if ask.job_id is None:
        return run.status.value if run.status.is_ended else None
    for job in run.jobs:
        if job.id == ask.job_id and job.status.is_ended:
            return job.status.value
    return None
