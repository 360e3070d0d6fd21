"""Everything that the job service says in the end, read through its API."""

from dataclasses import dataclass, field
from typing import Final

from shared.ids import AttemptId, JobId, RunId
from shared.protocol import jobs as j
from shared.protocol.jobs import RunFilter
from shared.protocol.states import AttemptStatus
from shared.services import JobService

EVENTS_PER_PAGE: Final = 500


@dataclass
class FinalState:
    """What the job service says when all is over."""

    runs: dict[int, j.RunView] = field(default_factory=dict)
    attempts: dict[tuple[int, str], tuple[j.AttemptView, ...]] = field(default_factory=dict)
    events: dict[int, list[j.Event]] = field(default_factory=dict)
    logs: dict[str, bytes] = field(default_factory=dict)  # by attempt
    artifacts: dict[tuple[int, str], dict[str, bytes]] = field(default_factory=dict)
    again: "FinalState | None" = None  # the same, read after a restart


async def read_all(client: JobService) -> FinalState:
    """Everything that the checker wants to know, through the API."""
    state = FinalState()
    for summary in (await client.list_runs(RunFilter(limit=1_000))).runs:
        run = await client.show_run(summary.run_id)
        state.runs[run.run_id] = run
        state.events[run.run_id] = await _read_events(client, run.run_id)
        for job in run.jobs:
            await _read_job(client, state, run.run_id, job.id)
    return state


async def _read_events(client: JobService, run_id: RunId) -> list[j.Event]:
    events: list[j.Event] = []
    while True:
        after = events[-1].seq if events else 0
        page = (await client.list_events(run_id, after=after, limit=EVENTS_PER_PAGE)).events
        events += page
        if len(page) < EVENTS_PER_PAGE:
            return events


async def _read_job(client: JobService, state: FinalState, run_id: RunId, job_id: JobId) -> None:
    attempts = (await client.list_attempts(run_id, job_id)).attempts
    state.attempts[run_id, job_id] = attempts
    for attempt in attempts:
        if attempt.status is AttemptStatus.REPORTED:
            state.logs[attempt.attempt_id] = await _read_log(
                client, run_id, job_id, attempt.attempt_id
            )
    listed = (await client.list_artifacts(run_id, job_id)).artifacts
    state.artifacts[run_id, job_id] = {
        item.artifact.path: b"".join(
            [p async for p in client.read_artifact(run_id, job_id, item.artifact.path)]
        )
        for item in listed
    }


async def _read_log(
    client: JobService, run_id: RunId, job_id: JobId, attempt_id: AttemptId
) -> bytes:
    pieces = client.read_log(run_id, job_id, attempt=attempt_id, offset=0, follow=False)
    return b"".join([piece async for piece in pieces])
