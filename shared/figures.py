"""What a row of past jobs adds up to: how often they succeed, and how long that takes. Pure."""

from collections.abc import Iterable
from typing import NamedTuple

from shared.protocol.history import PastJob
from shared.protocol.states import FAILURES, JobStatus


class Figures(NamedTuple):
    """Of jobs that ran, one or several ids."""

    success_rate: float | None  # None: none ran
    median_s: float | None  # of the successes
    p95_s: float | None
    flaky: int  # successes after a failed try, or after a failed run of the same job


def figures(jobs: Iterable[PastJob]) -> Figures:
    """`jobs` are newest first."""
    ran = [job for job in jobs if job.tries > 0]
    took = sorted(
        job.duration_s
        for job in ran
        if job.status is JobStatus.SUCCESS and job.duration_s is not None
    )
    successes = sum(job.status is JobStatus.SUCCESS for job in ran)
    return Figures(
        success_rate=successes / len(ran) if ran else None,
        median_s=quantile(took, 0.5),
        p95_s=quantile(took, 0.95),
        flaky=_flaky(ran),
    )


def quantile(ordered: list[float], share: float) -> float | None:
    """Linear between the two nearest (Hyndman and Fan, type 7); None of nothing."""
    if not ordered:
        return None
    place = share * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


def _flaky(ran: list[PastJob]) -> int:
    number = 0
    failed_before: dict[str, bool] = {}
    for job in reversed(ran):
        if job.status is JobStatus.SUCCESS:
            number += job.tries > 1 or failed_before.get(job.job_id, False)
        failed_before[job.job_id] = job.status in FAILURES
    return number
