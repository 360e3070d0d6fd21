"""How long a run will take, told from how long its jobs took before. Pure."""

import heapq
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from itertools import groupby
from statistics import median
from typing import Final

from shared.protocol.history import PastJob
from shared.protocol.pipeline import PipelineSpec
from shared.protocol.states import JobStatus

UNTOLD: Final = frozenset({JobStatus.CANCELLED, JobStatus.SKIPPED})


@dataclass(frozen=True, slots=True)
class Estimate:
    """Seconds for each job that is known and will run, and for all of it."""

    jobs: Mapping[str, float]
    total_s: float | None  # None: nothing is known
    unknown: int  # jobs that will run and never ran before; they count as nothing
    path: tuple[str, ...]  # the jobs that decide the total, in order


def typical(past: Iterable[PastJob]) -> dict[str, float]:
    """By job: the median of what it took when it succeeded, else of what it took to fail.

    A cancelled job tells nothing: somebody else decided when it ended.
    """
    good: dict[str, list[float]] = {}
    every: dict[str, list[float]] = {}
    for job in past:
        if job.duration_s is None or job.status in UNTOLD:
            continue
        every.setdefault(job.job_id, []).append(job.duration_s)
        if job.status is JobStatus.SUCCESS:
            good.setdefault(job.job_id, []).append(job.duration_s)
    return {job_id: median(good.get(job_id) or took) for job_id, took in every.items()}


def estimate(
    spec: PipelineSpec,
    took: Mapping[str, float],
    *,
    left_out: Collection[str] = (),
    at_once: int | None = None,
) -> Estimate:
    """The run played through: each job starts as soon as it may and has a place.

    `left_out` end at once. `at_once`: how many places there are, besides the run's own limit.
    """
    known = {job.id: took[job.id] for job in spec.jobs if job.id in took and job.id not in left_out}
    to_run = [job for job in spec.jobs if job.id not in left_out]
    if not known and to_run:
        return Estimate({}, None, len(to_run), ())
    ends, cause = _play(spec, known, at_once)
    last: str | None = max(ends, key=lambda name: ends[name], default=None)
    total_s = ends[last] if last is not None else 0.0
    path: list[str] = []
    while last is not None:
        if last in known:
            path.append(last)
        last = cause[last]
    return Estimate(known, total_s, len(to_run) - len(known), tuple(reversed(path)))


def _play(
    spec: PipelineSpec, took: Mapping[str, float], at_once: int | None
) -> tuple[dict[str, float], dict[str, str | None]]:
    """When each job ends, and the job whose end let it start."""
    limits = [n for n in (spec.max_workers, at_once) if n is not None]
    free = min(limits) if limits else len(spec.jobs)
    waits = {job.id: len(job.needs) for job in spec.jobs}
    dependents: dict[str, list[str]] = {job.id: [] for job in spec.jobs}
    for job in spec.jobs:
        for need in job.needs:
            dependents[need].append(job.id)
    rank = {job.id: (-job.priority, n) for n, job in enumerate(spec.jobs)}
    ends: dict[str, float] = {}
    cause: dict[str, str | None] = {}
    now = 0.0
    freed_by: str | None = None
    for members in _stages(spec):
        ready = [(rank[name], name) for name in members if waits[name] == 0]
        heapq.heapify(ready)
        unfinished = set(members)
        busy: list[tuple[float, int, str]] = []
        while unfinished:
            while ready and free:
                _, name = heapq.heappop(ready)
                cause[name] = freed_by
                heapq.heappush(busy, (now + took.get(name, 0.0), rank[name][1], name))
                free -= 1
            now, _, freed_by = heapq.heappop(busy)
            ends[freed_by] = now
            unfinished.remove(freed_by)
            free += 1
            for dependent in dependents[freed_by]:
                waits[dependent] -= 1
                if waits[dependent] == 0 and dependent in unfinished:
                    heapq.heappush(ready, (rank[dependent], dependent))
    return ends, cause


def _stages(spec: PipelineSpec) -> Iterable[list[str]]:
    """Names of jobs, stage after stage; all at once where there are no stages."""
    position = {stage: n for n, stage in enumerate(spec.stages)}
    ordered = sorted(spec.jobs, key=lambda job: position.get(job.stage or "", 0))
    for _, jobs in groupby(ordered, key=lambda job: position.get(job.stage or "", 0)):
        yield [job.id for job in jobs]
