"""Runs in one process, followed to their ends."""

from drawbar.embedded import Embedded
from shared.ids import JobId, RunId
from shared.protocol.jobs import RunView
from shared.protocol.pipeline import JobSpec, PipelineSpec


def a_job(id: str, command: str = "true", **more: object) -> JobSpec:
    return JobSpec.model_validate({"id": id, "command": command, **more})


def a_pipeline(*jobs: JobSpec, **more: object) -> PipelineSpec:
    return PipelineSpec.model_validate({"name": "p", "jobs": jobs, **more})


async def ended(drawbar: Embedded, run_id: RunId) -> RunView:
    async for _ in drawbar.jobs.follow_events(run_id, after=0):
        pass
    return await drawbar.jobs.show_run(run_id)


async def log_of(drawbar: Embedded, run_id: RunId, job: str) -> str:
    """Of its last attempt, as far as it has come."""
    pieces = drawbar.jobs.read_log(run_id, JobId(job), attempt=None, offset=0, follow=False)
    return b"".join([piece async for piece in pieces]).decode()


async def until_it_wrote(drawbar: Embedded, run_id: RunId, job: str) -> None:
    pieces = drawbar.jobs.read_log(run_id, JobId(job), attempt=None, offset=0, follow=True)
    async for piece in pieces:
        if piece:
            return


async def until_event(drawbar: Embedded, run_id: RunId, kind: str) -> None:
    async for event in drawbar.jobs.follow_events(run_id, after=0):
        if event.kind == kind:
            return
