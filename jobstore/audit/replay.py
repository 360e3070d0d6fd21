"""What the events of a run say happened, followed one by one: P1, P2 and P5 for each job.

Knows nothing of the rows beside the events; rows.py compares the two.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from jobstore.audit.finding import BROKEN, Finding
from jobstore.audit.links import ToldEvent
from shared.protocol.states import AttemptStatus as A
from shared.protocol.states import JobStatus as S

ENDS: Final = {f"job.{status.value}": status for status in S if status.is_ended}
LEAVES: Final = {  # a job leaves its worker without having ended
    "job.retrying": S.RETRYING,
    "job.deferred": S.DEFERRED,
    "job.rescheduled": S.RESCHEDULED,
    "job.requeued": S.QUEUED,
}
ASLEEP: Final = (S.DEFERRED, S.RESCHEDULED)
FORGIVEN: Final = ("drained", "preempted")  # such a try was not the job's own doing
HANDED_BACK: Final = {"job.refused": A.REFUSED, "job.lapsed": A.LAPSED}
WAITS: Final = {
    "job.queued": S.QUEUED,
    "job.held": S.HELD,
    "job.revived": S.BLOCKED,
}


@dataclass(slots=True)
class ToldAttempt:
    """One claim, as its events tell it."""

    id: str
    job_id: str
    fence: int
    worker_id: str
    claimed_at: int
    status: A = A.CLAIMED
    started_at: int | None = None
    ended_at: int | None = None
    receipt_id: str | None = None
    report_sha256: str | None = None
    ended_by: int | None = None  # the event's number


@dataclass(slots=True)
class ToldJob:
    """One job, as its events tell it."""

    status: S | None = None  # None: it has not been queued yet
    fence: int = 0
    tries: int = 0
    live: ToldAttempt | None = None  # holds the lease
    latest: str | None = None  # the attempt that counts
    exit_code: int | None = None
    is_mapped: bool = False
    last_seq: int = 0


@dataclass(slots=True)
class ToldRun:
    """A run, as its events tell it."""

    status: str = "pending"
    submitted: ToldEvent | None = None
    jobs: dict[str, ToldJob] = field(default_factory=dict)
    attempts: dict[str, ToldAttempt] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    last_seq: int = 0


def replay(events: Iterable[ToldEvent]) -> ToldRun:
    """What came of it all; findings where the events themselves break a promise."""
    run = ToldRun()
    for event in events:
        _Step(run, event).take()
        run.last_seq = event.row.seq
    return run


class _Step:
    """One event happens to the run."""

    def __init__(self, run: ToldRun, event: ToldEvent) -> None:
        self._run = run
        self._event = event
        self._kind = event.row.kind
        self._facts = event.facts

    def take(self) -> None:
        area, _, what = self._kind.partition(".")
        if area == "run":
            self._of_run(what)
        elif self._event.row.job_id is not None:
            job = self._run.jobs.setdefault(self._event.row.job_id, ToldJob())
            self._of_job(job)
            job.last_seq = self._event.row.seq

    def _of_run(self, what: str) -> None:
        if what == "submitted":
            self._run.submitted = self._event
        elif what == "marked":
            self._run.status = self._facts.get("status", "success")
        elif what in ("running", "success", "failed", "cancelled"):
            if self._run.status in ("success", "failed", "cancelled"):
                self._say(f"P1: the run had ended as {self._run.status} before")
            self._run.status = what

    def _of_job(self, job: ToldJob) -> None:
        kind = self._kind
        if kind == "job.claimed":
            self._claim(job)
        elif kind == "job.running":
            self._start(job)
        elif kind in HANDED_BACK:
            self._hand_back(job, HANDED_BACK[kind])
        elif kind == "attempt.lost":
            if attempt := self._holder(job, must_run=True):
                attempt.status, attempt.ended_at = A.LOST, self._event.row.at
                attempt.ended_by = self._event.row.seq
        elif kind == "attempt.reported_late":
            holds = job.live is not None and job.live.status is A.RUNNING
            named = (self._event.row.attempt_id, self._facts.get("fence"))
            if holds and job.live and named == (job.live.id, job.live.fence):
                self._say("P2: a report by the holder of the lease was called late")
        elif kind == "job.cancel_requested":
            self._holder(job, must_run=True)
        elif kind == "job.mapped":
            job.is_mapped = True
        elif kind == "job.marked":
            self._end(job, S.SUCCESS)
        elif kind == "job.carried_over":
            self._end(job, S.SUCCESS)
            job.latest = self._facts.get("from_attempt")
        elif kind in WAITS:
            if job.live is not None:
                self._say(f"P2: {job.live.id} still held the lease")
            if _has_ended(job) and kind != "job.revived":
                self._say(f"P1: the job had ended as {_value(job)} before")
            job.status = WAITS[kind]
        elif kind in ENDS or kind in LEAVES:
            self._leave(job)

    def _claim(self, job: ToldJob) -> None:
        row, facts = self._event.row, self._facts
        fence = facts.get("fence", 0)
        if job.live is not None:
            self._say(f"P2: {job.live.id} still held the lease")
        if fence != job.fence + 1:
            self._say(f"P2: the fence rose from {job.fence} to {fence}: a claim raises it by one")
        if _has_ended(job):
            self._say(f"P1: the job had ended as {_value(job)} before it was claimed")
        if row.attempt_id is None or row.attempt_id in self._run.attempts:
            self._say("P2: the claim does not open an attempt of its own")
            return
        attempt = ToldAttempt(
            row.attempt_id, row.job_id or "", fence, facts.get("worker_id", ""), row.at
        )
        self._run.attempts[attempt.id] = job.live = attempt
        job.status, job.fence, job.latest = S.CLAIMED, fence, attempt.id

    def _start(self, job: ToldJob) -> None:
        attempt = self._holder(job, must_run=False)
        job.tries += 1
        if self._facts.get("tries") != job.tries:
            self._say(f"P5: it was called try {self._facts.get('tries')}, and is try {job.tries}")
            job.tries = self._facts.get("tries", job.tries)
        job.status = S.RUNNING
        if attempt is not None:
            attempt.status, attempt.started_at = A.RUNNING, self._event.row.at

    def _hand_back(self, job: ToldJob, status: A) -> None:
        if attempt := self._holder(job, must_run=False):
            self._close(attempt, status)
        job.live, job.status = None, S.QUEUED

    def _leave(self, job: ToldJob) -> None:
        """The job has ended, or has left its worker."""
        to = ENDS.get(self._kind) or LEAVES[self._kind]
        if self._event.row.attempt_id is None:
            self._by_decision(job)
        elif job.status in ASLEEP:  # what it waited for did not come: that was a failed try
            job.tries += 1
        elif "receipt_id" in self._facts or self._is_old_report(job):
            self._by_report(job)
        else:
            self._by_loss_or_decision(job)
        if self._kind in ("job.deferred", "job.rescheduled") or (
            self._kind == "job.requeued" and self._facts.get("reason") in FORGIVEN
        ):
            job.tries -= 1
        job.exit_code = self._facts.get("exit_code", job.exit_code)
        if to.is_ended:
            self._end(job, to)
        job.status, job.live = to, None

    def _is_old_report(self, job: ToldJob) -> bool:
        """From before events named receipts."""
        return not self._event.is_chained and job.live is not None and job.live.status is A.RUNNING

    def _by_report(self, job: ToldJob) -> None:
        attempt = self._holder(job, must_run=True)
        if attempt is None:
            return
        if attempt.status is A.LOST:
            self._say(f"P2: a report of {attempt.id} was accepted, which was lost")
        self._close(attempt, A.REPORTED)
        attempt.receipt_id = self._facts.get("receipt_id")
        attempt.report_sha256 = self._facts.get("report_sha256")

    def _by_loss_or_decision(self, job: ToldJob) -> None:
        if job.live is None or job.live.id != self._event.row.attempt_id:
            self._say("P2: the attempt did not hold the lease")
        elif job.live.status is A.CLAIMED:
            self._close(job.live, A.CANCELLED)
        elif job.live.status is not A.LOST:
            self._say("P1: the end has no receipt, and nobody decided it")

    def _by_decision(self, job: ToldJob) -> None:
        if job.live is not None:
            self._say(f"P2: it ended while {job.live.id} held the lease")
        if "reason" not in self._facts and not job.is_mapped:
            self._say("P1: the end has no receipt, and nobody decided it")

    def _end(self, job: ToldJob, to: S) -> None:
        if _has_ended(job) and self._kind != "job.marked":
            self._say(f"P1: the job had ended as {_value(job)} before")
        job.status = to

    def _holder(self, job: ToldJob, *, must_run: bool) -> ToldAttempt | None:
        """The attempt that the event names, if it may write: P2."""
        attempt_id, fence = self._event.row.attempt_id, self._facts.get("fence")
        live = job.live
        if live is None or live.id != attempt_id:
            self._say(f"P2: a write by {attempt_id} was accepted, which did not hold the lease")
            return None
        if fence is not None and fence != live.fence:
            self._say(f"P2: a write with fence {fence} was accepted, the job's is {live.fence}")
        if must_run is (live.started_at is None):
            self._say(f"P2: the attempt was {live.status.value}")
        return live

    def _close(self, attempt: ToldAttempt, status: A) -> None:
        attempt.status, attempt.ended_at = status, self._event.row.at
        attempt.ended_by = self._event.row.seq

    def _say(self, what: str) -> None:
        row = self._event.row
        told = Finding(f"{row.kind}: {what}", BROKEN, row.seq, row.job_id)
        self._run.findings.append(told)


def _has_ended(job: ToldJob) -> bool:
    return job.status is not None and job.status.is_ended


def _value(job: ToldJob) -> str:
    return "nothing" if job.status is None else job.status.value
