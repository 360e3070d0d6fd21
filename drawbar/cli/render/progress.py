"""What is known of a run from its events: one fold, which every kind of display reads. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from shared.ids import JobId, RunId
from shared.protocol.jobs import Event, RunView
from shared.protocol.states import HeldFor, JobStatus, RunStatus

# Kinds whose verb is not itself the job's new status.
_LEADS_TO: Final[Mapping[str, JobStatus]] = {
    "refused": JobStatus.QUEUED,
    "lapsed": JobStatus.QUEUED,
    "requeued": JobStatus.QUEUED,
    "carried_over": JobStatus.SUCCESS,
    "marked": JobStatus.SUCCESS,
    "revived": JobStatus.BLOCKED,
}
_STATUSES: Final = {status.value: status for status in JobStatus}
_RUN_STATUSES: Final = {status.value: status for status in RunStatus}


@dataclass(slots=True)
class JobProgress:
    """One job as far as events told."""

    id: JobId
    status: JobStatus = JobStatus.PENDING
    started_at: datetime | None = None  # of the latest try
    ended_at: datetime | None = None
    tries: int = 0
    phase: str | None = None  # while it runs
    again_at: datetime | None = None  # while it waits for its next try
    held_for: str | None = None  # while it is held
    sleeps: tuple[str, str] | None = None  # the kind of its trigger, and that in words


@dataclass(frozen=True, slots=True)
class Step:
    """A job moved: what a person wants to hear of it."""

    job: JobProgress
    event: Event
    verb: str

    @property
    def ran_s(self) -> float | None:
        """How long the try that now ended ran; None when none was running."""
        if self.job.started_at is None or self.job.ended_at is None:
            return None
        return (self.job.ended_at - self.job.started_at).total_seconds()


class Progress:
    """The jobs of one run, in document order, and how many are in which status."""

    def __init__(self, jobs: Iterable[JobId]) -> None:
        self.jobs = {job_id: JobProgress(job_id) for job_id in jobs}
        self.running: dict[JobId, JobProgress] = {}  # in the order in which they started
        self.retrying: dict[JobId, JobProgress] = {}
        self.unapproved: dict[JobId, JobProgress] = {}
        self.asleep: dict[JobId, JobProgress] = {}  # deferred or rescheduled
        self.run_id: RunId | None = None
        self.counts: Counter[JobStatus] = Counter({JobStatus.PENDING: len(self.jobs)})
        self.started_at: datetime | None = None
        self.status = RunStatus.PENDING
        self.last_seq = 0

    @property
    def ended(self) -> int:
        """How many jobs have ended."""
        return sum(n for status, n in self.counts.items() if status.is_ended)

    def apply(self, event: Event) -> Step | None:
        """The event is counted in; what it moved, when that was a job."""
        self.last_seq = event.seq
        self.run_id = event.run_id
        noun, _, verb = event.kind.partition(".")
        if noun == "run":
            self.started_at = self.started_at or event.at
            self.status = _RUN_STATUSES.get(verb, self.status)
            return None
        job = self.jobs.get(event.job_id) if event.job_id is not None else None
        status = _STATUSES.get(verb) or _LEADS_TO.get(verb)
        if noun != "job" or job is None or status is None:
            return None
        was_running = job.status is JobStatus.RUNNING
        self.counts[job.status] -= 1
        self.counts[status] += 1
        job.status = status
        if status is JobStatus.RUNNING:
            job.started_at, job.ended_at = event.at, None
            job.tries = event.facts.get("tries", job.tries + 1)
            self.running[job.id] = job
        else:
            self.running.pop(job.id, None)
            job.phase = None
            if was_running:
                job.ended_at = event.at
            elif status is not JobStatus.CLAIMED:
                job.started_at = job.ended_at = None
        self._note_waiting(job, event)
        return Step(job, event, verb)

    def look(self, view: RunView) -> None:
        """What events do not tell: what running jobs are about."""
        for seen in view.jobs:
            job = self.running.get(seen.id)
            if job is not None:
                job.phase = seen.phase

    def _note_waiting(self, job: JobProgress, event: Event) -> None:
        self.retrying.pop(job.id, None)
        self.unapproved.pop(job.id, None)
        self.asleep.pop(job.id, None)
        job.held_for = job.again_at = job.sleeps = None
        if job.status is JobStatus.HELD:
            job.held_for = event.facts.get("held_for")
            if job.held_for == HeldFor.APPROVAL:
                self.unapproved[job.id] = job
        elif job.status is JobStatus.RETRYING:
            job.again_at = event.at + timedelta(seconds=event.facts.get("delay_s") or 0.0)
            self.retrying[job.id] = job
        elif job.status in (JobStatus.DEFERRED, JobStatus.RESCHEDULED):
            job.sleeps = (str(event.facts.get("trigger")), str(event.facts.get("says") or ""))
            self.asleep[job.id] = job
