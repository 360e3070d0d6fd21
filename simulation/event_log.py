"""Judges the job service's own event log: each job walks one path, one lease at a time."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from shared.protocol.jobs import Event
from shared.protocol.pipeline import PipelineSpec
from shared.protocol.states import JobStatus
from simulation.final_state import FinalState

ENDS = frozenset(f"job.{status.value}" for status in JobStatus if status.is_ended)
FREES = ENDS | {"job.refused", "job.lapsed", "job.requeued", "job.retrying"}


@dataclass
class Walk:
    """One job, as its events tell it."""

    live: str | None = None  # the attempt that holds the lease
    fence: int = 0
    end: str | None = None


def check_events(final: FinalState, pipelines: Mapping[str, PipelineSpec]) -> Iterator[str]:
    """A second lease beside a live one, an old attempt's result, an end after an end, …"""
    for run_id, events in final.events.items():
        run = final.runs[run_id]
        limit = pipelines[run.name].max_workers
        walks: dict[str, Walk] = {}
        for event in events:
            if event.job_id is not None:
                walk = walks.setdefault(event.job_id, Walk())
                for mistake in _step(walk, event):
                    yield f"P2: {run_id}/{event.job_id}, event {event.seq} {event.kind}: {mistake}"
            working = sum(walk.live is not None for walk in walks.values())
            if limit is not None and working > limit:
                yield f"run {run_id} has {working} jobs at work, max_workers is {limit}"
        for job in run.jobs:
            end = walks.get(job.id, Walk()).end
            if end != f"job.{job.status.value}":
                yield f"P1: {run_id}/{job.id} is {job.status}, its events end with {end}"


def _step(walk: Walk, event: Event) -> Iterator[str]:
    kind, attempt = event.kind, event.attempt_id
    if kind == "attempt.reported_late":
        if attempt == walk.live:
            yield "a report by the holder of the lease was called late"
        return
    if walk.end is not None:
        yield f"it had ended with {walk.end}"
    if kind == "job.claimed":
        if walk.live is not None:
            yield f"{walk.live} still holds the lease"
        if event.facts["fence"] <= walk.fence:
            yield f"the fence was {walk.fence} before"
        walk.live, walk.fence = attempt, event.facts["fence"]
    elif attempt != walk.live:
        yield f"the lease is with {walk.live}"
    if kind in FREES:
        walk.live = None
    if kind in ENDS:
        walk.end = kind
