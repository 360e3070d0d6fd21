"""The job service's own account in the end: only of runs that this chaos has submitted."""

import asyncio
from collections.abc import Iterable
from typing import Final

from faults.judging.final_state import FinalState
from shared.http.clients import JobsClient
from shared.ids import RunId
from shared.protocol.jobs import JobView, RunFilter
from shared.protocol.states import AttemptStatus

AT_ONCE: Final = 8
PAGE: Final = 1_000
EVENTS: Final = 10_000


async def read_final(jobs: JobsClient, prefix: str) -> FinalState:
    """Runs whose name begins like this, with all that the checks want to know."""
    state = FinalState()
    gate = asyncio.Semaphore(AT_ONCE)
    for found in sorted(await _runs(jobs, prefix)):
        state.runs[found] = await jobs.show_run(found)

    async def read(run_id: RunId) -> None:
        async with gate:
            events = (await jobs.list_events(run_id, after=0, limit=EVENTS)).events
            state.events[run_id] = list(events)
            for job in state.runs[run_id].jobs:
                await _read_job(jobs, state, run_id, job)

    async with asyncio.TaskGroup() as group:
        for run_id in state.runs:
            group.create_task(read(RunId(run_id)), name="read")
    return state


async def _runs(jobs: JobsClient, prefix: str) -> Iterable[RunId]:
    found: list[RunId] = []
    before: RunId | None = None
    while True:
        page = (await jobs.list_runs(RunFilter(limit=PAGE, before=before))).runs
        found += [run.run_id for run in page if run.name.startswith(prefix)]
        if len(page) < PAGE:
            return found
        before = page[-1].run_id


async def _read_job(jobs: JobsClient, state: FinalState, run_id: RunId, job: JobView) -> None:
    key = (run_id, job.id)
    state.attempts[key] = (await jobs.list_attempts(run_id, job.id)).attempts
    for attempt in state.attempts[key]:
        if attempt.status is AttemptStatus.REPORTED:
            log = b""
            if attempt.log_size_bytes:
                pieces = jobs.read_log(
                    run_id, job.id, attempt=attempt.attempt_id, offset=0, follow=False
                )
                log = b"".join([piece async for piece in pieces])
            state.logs[attempt.attempt_id] = log
    state.artifacts[key] = {}
    for item in (await jobs.list_artifacts(run_id, job.id)).artifacts:
        path = item.artifact.path
        pieces = jobs.read_artifact(run_id, job.id, path)
        state.artifacts[key][path] = b"".join([piece async for piece in pieces])
