"""What every report says of a run, before it is put into one format or another."""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final, NamedTuple

from shared.ids import JobId
from shared.protocol.jobs import AttemptView, JobView, Reason, RunSummary, RunView
from shared.protocol.states import FAILURES, AttemptStatus, JobStatus

Attempts = Mapping[JobId, Sequence[AttemptView]]  # where a job has none, its own times are used


class Look(NamedTuple):
    symbol: str
    colour: str  # where style sheets are thrown away, as mail programs do


# What needs a look comes first.
LOOKS: Final[Mapping[str, Look]] = {
    "failed": Look("✘", "#c4314b"),
    "timeout": Look("✘", "#c4314b"),
    "precheck_failed": Look("✘", "#c4314b"),
    "postcheck_failed": Look("✘", "#c4314b"),
    "lost": Look("✘", "#c4314b"),
    "cancelled": Look("■", "#a86500"),
    "running": Look("●", "#0b7285"),
    "claimed": Look("●", "#0b7285"),
    "retrying": Look("↻", "#a86500"),
    "deferred": Look("◔", "#0a6f87"),
    "rescheduled": Look("◔", "#0a6f87"),
    "queued": Look("○", "#6b7280"),
    "held": Look("○", "#6b7280"),
    "blocked": Look("○", "#6b7280"),
    "pending": Look("○", "#6b7280"),
    "skipped": Look("·", "#6b7280"),
    "success": Look("✔", "#2b7a3d"),
}
_RANK: Final = {status: rank for rank, status in enumerate(LOOKS)}
_UNKNOWN: Final = Look("?", "#6b7280")  # a newer service's word

# What neither XML nor a page may hold; Python itself cannot encode a lone surrogate.
_ILLEGAL: Final = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def clean(text: str) -> str:
    """`text` with U+FFFD in place of characters that no document can carry."""
    return _ILLEGAL.sub("\ufffd", text)


def one_line(text: str) -> str:
    return " ".join(clean(text).split())


def look(status: str) -> Look:
    return LOOKS.get(status, _UNKNOWN)


def moment(at: datetime | None) -> str:
    """`2026-01-01 12:00:00 UTC`; a dash for never."""
    return "—" if at is None else f"{at:%Y-%m-%d %H:%M:%S} UTC"


def took_s(of: RunSummary | JobView) -> float | None:
    """Seconds from its start to its end; None while it has not ended, or where it did not run."""
    if isinstance(of, JobView) and not of.attempts:  # carried over, or marked
        return None
    if of.started_at is None or of.ended_at is None:
        return None
    return max((of.ended_at - of.started_at).total_seconds(), 0.0)


def counts(run: RunSummary) -> list[tuple[str, int]]:
    """(status, number) of those that are not zero, the worst first."""
    present = [(status, n) for status, n in run.counts.items() if n]
    return sorted(present, key=lambda item: (_RANK.get(item[0], len(_RANK)), item[0]))


def is_carried(job: JobView) -> bool:
    """It succeeded in an earlier run, and was not run again."""
    has_no_life = not job.attempts and job.marked_by is None and job.instances is None
    return job.status is JobStatus.SUCCESS and has_no_life


def status_words(job: JobView) -> str:
    """The status, and what is special about it."""
    notes = []
    if job.allow_failure and job.status in FAILURES:
        notes.append("allowed")
    if job.marked_by is not None:
        notes.append(f"marked by {one_line(job.marked_by)}")
    elif is_carried(job):
        notes.append("carried over")
    return f"{job.status.value} ({', '.join(notes)})" if notes else job.status.value


def reason_words(reason: Reason | None) -> str:
    """Why it ended so, in one line; who did it, where that was not the job."""
    if reason is None:
        return ""
    said = one_line(reason.message) or one_line(reason.what)
    return said if reason.who == "job" else f"{said} ({one_line(reason.who)})"


def failures(run: RunView) -> list[JobView]:
    """Jobs that failed, also those that may."""
    return [job for job in run.jobs if job.status in FAILURES]


def notable(jobs: Sequence[JobView], limit: int) -> list[JobView]:
    """At most `limit` jobs, in their order: those that did not succeed, then the longest."""
    if len(jobs) <= limit:
        return list(jobs)

    def weight(place: int) -> tuple[int, float]:
        return _RANK.get(jobs[place].status, len(_RANK)), -(took_s(jobs[place]) or 0.0)

    chosen = sorted(range(len(jobs)), key=weight)[:limit]
    return [jobs[place] for place in sorted(chosen)]


def tries_of(attempts: Sequence[AttemptView]) -> list[AttemptView]:
    """The attempts that were started."""
    return [attempt for attempt in attempts if attempt.started_at is not None]


def waited_afterwards(attempt: AttemptView) -> bool:
    """Whether it ended for its job to wait without a worker: the same try goes on in the next."""
    return attempt.outcome in (JobStatus.DEFERRED, JobStatus.RESCHEDULED)


def attempt_outcome(attempt: AttemptView) -> str:
    """What an attempt came to, in the words of jobs."""
    if attempt.status is AttemptStatus.RUNNING:
        return "running"
    if attempt.status in (AttemptStatus.LOST, AttemptStatus.CANCELLED):
        return attempt.status.value
    if waited_afterwards(attempt):
        return str(attempt.outcome)
    if attempt.reason is None:
        return "success"
    return _OF_REASON.get(attempt.reason.what, "failed")


_OF_REASON: Final = {
    "timeout": "timeout",
    "cancelled": "cancelled",
    "drained": "cancelled",
    "preempted": "cancelled",
    "precheck": "precheck_failed",
    "precheck_failed": "precheck_failed",
    "postcheck": "postcheck_failed",
    "postcheck_failed": "postcheck_failed",
}
