"""When the jobs of a run ran, as bars on an axis of seconds: what every chart is drawn from."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final, NamedTuple

from shared.protocol.jobs import AttemptView, JobView, RunView
from shared.reports.facts import Attempts, attempt_outcome, tries_of
from shared.words import duration


class Bar(NamedTuple):
    """One try, from `begin_s` to `end_s` after the run's start."""

    begin_s: float
    end_s: float
    status: str


class Row(NamedTuple):
    """A job and its tries, in order; none where it never started."""

    job: JobView
    bars: tuple[Bar, ...]


class Timeline(NamedTuple):
    rows: tuple[Row, ...]
    length_s: float  # more than 0


def timeline(run: RunView, jobs: Sequence[JobView], attempts: Attempts) -> Timeline:
    """Of `jobs`, by the time at which each started, those that never did at the end."""
    origin = min(_moments(run), default=run.created_at)
    end = max(_moments(run), default=origin)
    for tried in attempts.values():  # a try that still runs may have begun after all else
        end = max([end, *(a.started_at for a in tries_of(tried) if a.started_at)])

    def since(at: datetime) -> float:
        return max((at - origin).total_seconds(), 0.0)

    def bar(began: datetime, ended: datetime | None, status: str) -> Bar:
        begin_s = since(began)
        return Bar(begin_s, max(since(ended or end), begin_s), status)

    def row(job: JobView) -> Row:
        tries = tries_of(attempts.get(job.id, ()))
        if not tries and job.started_at is not None:
            return Row(job, (bar(job.started_at, job.ended_at, job.status),))
        return Row(job, tuple(bar(*span) for span in _spans(job, tries)))

    rows = sorted(
        (row(job) for job in jobs),
        key=lambda row: row.bars[0].begin_s if row.bars else float("inf"),
    )
    return Timeline(tuple(rows), max(since(end), 0.001))


def ticks(length_s: float, about: int) -> list[tuple[float, str]]:
    """Round places on the axis, at most `about` of them after 0, and what to write there."""
    step = next((s for s in _STEPS if length_s / s <= about), None)
    if step is None:
        days = int(length_s / 86_400 / about) + 1
        step = days * 86_400.0
    number = int(length_s / step + 1e-9)
    return [(0.0, "0"), *((n * step, _tick_words(n * step)) for n in range(1, number + 1))]


_STEPS: Final = (
    *(base * 10**power for power in range(-3, 1) for base in (1.0, 2.0, 5.0)),
    *(10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1_800.0),
    *(3_600.0, 7_200.0, 10_800.0, 21_600.0, 43_200.0, 86_400.0),
)


def _tick_words(at_s: float) -> str:
    if at_s < 1:
        return f"{at_s * 1_000:.0f} ms"
    if at_s < 60:
        return f"{at_s:g} s"
    if at_s < 3_600 and at_s % 60 == 0:
        return f"{at_s / 60:.0f} m"
    if at_s % 86_400 == 0:
        return f"{at_s / 86_400:.0f} d"
    if at_s < 86_400 and at_s % 3_600 == 0:
        return f"{at_s / 3_600:.0f} h"
    return duration(at_s)


def _moments(run: RunView) -> Iterable[datetime]:
    """The axis begins where the run did, and goes on to the last thing that is known of it."""
    of_jobs = [moment for job in run.jobs for moment in (job.started_at, job.ended_at) if moment]
    return [moment for moment in (run.started_at, run.ended_at) if moment] + of_jobs


def _spans(
    job: JobView, tries: Sequence[AttemptView]
) -> Iterable[tuple[datetime, datetime | None, str]]:
    for attempt in tries:
        assert attempt.started_at is not None
        is_last = attempt is tries[-1]
        status = job.status if is_last and job.status.is_ended else attempt_outcome(attempt)
        yield attempt.started_at, attempt.ended_at, str(status)
