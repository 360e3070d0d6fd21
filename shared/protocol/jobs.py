"""People's conversation with the job service: submit, look, cancel, retry, follow."""

from datetime import datetime
from typing import Any

from pydantic import Field

from shared.ids import AttemptId, JobId, RunId
from shared.protocol.base import Message, Moment
from shared.protocol.gateway import ArtifactEntry, Usage
from shared.protocol.pipeline import MAX_JOBS, PipelineSpec
from shared.protocol.states import AttemptStatus, HeldFor, JobStatus, RunStatus, StageStatus


class Resume(Message):
    """Go on where run `run_id` ended: what succeeded there is carried over.

    `failed_only`: of the rest, only what failed there is run; what never ran is skipped.
    """

    run_id: RunId
    failed_only: bool = False


class SubmitRequest(Message):
    """Start a run. The same key with the same body names the same run, however often sent."""

    idempotency_key: str = Field(min_length=1, max_length=200)
    pipeline: PipelineSpec
    skip: tuple[JobId, ...] = Field(default=(), max_length=MAX_JOBS)  # as if they had succeeded
    resume: Resume | None = None


class RetryRequest(Message):
    """Start a new run of an old run's pipeline; `failed_only` carries its successes over."""

    idempotency_key: str = Field(min_length=1, max_length=200)
    run_id: RunId
    failed_only: bool


class CancelRequest(Message):
    run_id: RunId
    job_id: JobId | None = None  # None: the whole run
    reason: str = Field(default="", max_length=500)


class ApproveRequest(Message):
    """Let a job go on that waits for a person, or end it as cancelled."""

    run_id: RunId
    job_id: JobId
    by: str = Field(min_length=1, max_length=200)
    is_granted: bool = True
    reason: str = Field(default="", max_length=500)


class MarkRequest(Message):
    """Take a job that has ended badly, or has not started, for a success, from now on."""

    run_id: RunId
    job_id: JobId
    by: str = Field(min_length=1, max_length=200)
    reason: str = Field(default="", max_length=500)


class RunFilter(Message):
    """Which runs to list, newest first. What is None does not narrow."""

    limit: int = Field(default=20, ge=1, le=10_000)
    name: str | None = None
    status: RunStatus | None = None
    since: Moment | None = None  # created at or after
    # To page on: only runs older than this one.
    before: RunId | None = Field(default=None, ge=0, le=10**18)


class SubmitReply(Message):
    run_id: RunId


class Reason(Message):
    """Why a job or attempt ended as it did."""

    who: str  # job | worker | gateway | registry | operator | platform
    what: str  # exit_code | signal | timeout | spawn_error | lost | cancelled | dependency | ...
    message: str = ""


class AttemptView(Message):
    attempt_id: AttemptId
    fence: int
    worker_id: str
    status: AttemptStatus
    claimed_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    exit_code: int | None
    signal: int | None
    reason: Reason | None
    receipt_id: str | None
    log_size_bytes: int
    log_lost_bytes: int
    usage: Usage | None
    evidence: dict[str, Any] | None  # a report that came too late, kept
    outcome: str | None = None  # success, failed, deferred, …; None: nothing was reported


class Deferral(Message):
    """What a deferred or rescheduled job waits for."""

    trigger: str  # time | delta | file | http | run | job | callback | question
    says: str  # for people: "for the file /in/orders.csv"
    since: datetime
    until: datetime | None  # its timeout
    last_look: str | None = None  # what was seen, where it is looked at again and again


class JobView(Message):
    id: JobId
    stage: str | None
    status: JobStatus
    exit_code: int | None
    reason: Reason | None
    tries: int
    attempts: int  # claims that were run
    refusals: int
    needs: tuple[JobId, ...]
    allow_failure: bool
    held_for: HeldFor | None = None
    phase: str | None = None  # of a job that runs: pre_checks | executing | post_checks | late
    deferral: Deferral | None = None  # while it waits without a worker
    matrix: dict[str, str] = Field(default_factory=dict)
    marked_by: str | None = None  # who took it for a success
    instances: int | None = None  # of a task that is mapped: the jobs that it has become
    started_at: datetime | None
    ended_at: datetime | None


class StageView(Message):
    name: str
    status: StageStatus


class RunSummary(Message):
    run_id: RunId
    name: str
    status: RunStatus
    exit_code: int | None
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    counts: dict[str, int]  # jobs per status
    retry_of: RunId | None
    attempt: int = 1  # the how-manieth of its chain of resumed runs
    schedule: str | None = None  # that started it


class RunList(Message):
    runs: tuple[RunSummary, ...]


class RunView(RunSummary):
    stages: tuple[StageView, ...]
    jobs: tuple[JobView, ...]


class AttemptList(Message):
    attempts: tuple[AttemptView, ...]


class JobArtifact(Message):
    job_id: JobId
    artifact: ArtifactEntry


class ArtifactList(Message):
    artifacts: tuple[JobArtifact, ...]


class Event(Message):
    """One state change, in the order in which it was committed. Never changed afterwards."""

    seq: int
    at: datetime
    kind: str  # noun.past_verb, for example job.claimed
    run_id: RunId
    job_id: JobId | None = None
    attempt_id: AttemptId | None = None
    facts: dict[str, Any] = Field(default_factory=dict)


class EventList(Message):
    events: tuple[Event, ...]
