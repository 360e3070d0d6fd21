"""Judges the job service's own event log: each job walks one path, one lease at a time."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from faults.judging.evidence import Evidence
from shared.protocol.jobs import Event
from shared.protocol.pipeline import JobSpec, When
from shared.protocol.states import JobStatus

ENDS = frozenset(f"job.{status.value}" for status in JobStatus if status.is_ended)
WAITS = {"job.deferred", "job.rescheduled"}
SLEEPS = {"job.retrying", *WAITS}
FREES = ENDS | SLEEPS | {"job.refused", "job.lapsed", "job.requeued"}


@dataclass
class Walk:
    """One job, as its events tell it."""

    live: str | None = None  # the attempt that holds the lease
    running: str | None = None  # it, once it was started
    asleep: str | None = None  # the attempt that waits without a worker, and holds none
    fence: int = 0
    end: str | None = None


def walks(e: Evidence) -> Iterator[str]:
    """I2, I3. A second lease beside a live one, an old attempt's result, an end after an end."""
    for run_id, events in e.final.events.items():
        walks: dict[str, Walk] = defaultdict(Walk)
        for event in events:
            if event.job_id is not None:
                for mistake in _step(walks[event.job_id], event):
                    yield f"{run_id}/{event.job_id}, event {event.seq} {event.kind}: {mistake}"


def room(e: Evidence) -> Iterator[str]:
    """I3. More jobs of a run at work at once than its max_workers."""
    for run_id, events in e.final.events.items():
        limit = e.pipelines[e.final.runs[run_id].name].max_workers
        live: set[str] = set()
        for event in events:
            if event.kind == "job.claimed":
                live.add(event.job_id or "")
            elif event.kind in FREES:
                live.discard(event.job_id or "")
            if limit is not None and len(live) > limit:
                yield f"run {run_id} has {len(live)} jobs at work, max_workers is {limit}"


def repeated_polls(e: Evidence) -> Iterator[str]:
    """I3. A claim that was sent again, and brought more while it still held what it got first."""
    granted: dict[str, dict[str, datetime]] = defaultdict(dict)  # by claim: live attempts
    claim_of: dict[str, str] = {}
    events = [event for of_run in e.final.events.values() for event in of_run]
    for event in sorted(events, key=lambda event: event.seq):
        attempt, claim = event.attempt_id, event.facts.get("claim_id")
        if attempt is None:
            continue
        if event.kind == "job.claimed" and claim is not None:
            earlier = [held for held, at in granted[claim].items() if at != event.at]
            if earlier:
                yield f"claim {claim} held {earlier[0]}, and got {attempt} beside it"
            granted[claim][attempt] = event.at
            claim_of[attempt] = claim
        elif event.kind in FREES and attempt in claim_of:
            granted[claim_of[attempt]].pop(attempt, None)


def last_words(e: Evidence) -> Iterator[str]:
    """I2. A job whose state is not the one that its last event tells of."""
    for run_id, events in e.final.events.items():
        ends = {event.job_id: event.kind for event in events if event.kind in ENDS}
        for job in e.final.runs[run_id].jobs:
            if ends.get(job.id) != f"job.{job.status.value}":
                told = ends.get(job.id)
                yield f"{run_id}/{job.id} is {job.status}, its events end with {told}"


def locks(e: Evidence) -> Iterator[str]:
    """I3. Two jobs of one lock at work at once, in whichever runs."""
    lock_of = {
        (run_id, job.id): job.lock
        for run_id, run in e.final.runs.items()
        for job in e.pipelines[run.name].jobs
        if job.lock is not None
    }
    holders: dict[str, tuple[int, str]] = {}
    events = [event for of_run in e.final.events.values() for event in of_run]
    for event in sorted(events, key=lambda event: event.seq):  # numbered across runs
        job = (event.run_id, event.job_id or "")
        lock = lock_of.get(job)
        if lock is None:
            continue
        if event.kind in ("job.queued", "job.claimed"):
            if holders.setdefault(lock, job) != job:
                yield f"{job} has the lock {lock!r}, which {holders[lock]} holds"
        elif event.kind in ENDS | SLEEPS and holders.get(lock) == job:
            del holders[lock]


def stops(e: Evidence) -> Iterator[str]:
    """I2. A job that started in a run that had stopped; a stop that nobody asked for."""
    for run_id, events in e.final.events.items():
        pipeline = e.pipelines[e.final.runs[run_id].name]
        specs: dict[str, JobSpec] = {job.id: job for job in pipeline.jobs}
        stopped = False
        for event in events:
            if event.kind == "run.stopped":
                stopped = True
                failed = event.facts["failed_job"]
                if specs[failed].allow_failure or pipeline.on_error.value == "continue":
                    yield f"run {run_id} was stopped by {failed}, which may fail"
            elif stopped and event.kind in ("job.queued", "job.claimed", "job.running"):
                job = specs[event.job_id or ""]
                if job.when is When.ON_SUCCESS:
                    yield f"{run_id}/{job.id}: {event.kind} in a run that had stopped"


def _step(walk: Walk, event: Event) -> Iterator[str]:
    kind, attempt = event.kind, event.attempt_id
    if kind == "attempt.reported_late":
        if attempt == walk.running:  # one that only claimed the job has nothing to report
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
        walk.running = None
    elif attempt not in (walk.live, walk.asleep or walk.live):
        yield f"the lease is with {walk.live}"
    if kind == "job.running":
        walk.running = attempt
    if kind in FREES:
        walk.live = walk.running = None
        walk.asleep = attempt if kind in WAITS else None
    elif kind == "job.resumed":
        walk.asleep = None
    if kind in ENDS:
        walk.end = kind
