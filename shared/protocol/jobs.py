"""People's conversation with the job service: submit, look, cancel, retry, follow."""

from datetime import datetime
from typing import Any

from pydantic import Field

from shared.ids import AttemptId, JobId, RunId
from shared.protocol.base import Message
from shared.protocol.gateway import ArtifactEntry, Usage
from shared.protocol.pipeline import PipelineSpec
from shared.protocol.states import AttemptStatus, JobStatus, RunStatus, StageStatus


class SubmitRequest(Message):
    """Start a run. The same key with the same body names the same run, however often sent."""

    idempotency_key: str = Field(min_length=1, max_length=200)
    pipeline: PipelineSpec


class RetryRequest(Message):
    """Start a new run of an old run's pipeline; `failed_only` carries its successes over."""

    idempotency_key: str = Field(min_length=1, max_length=200)
    run_id: RunId
    failed_only: bool


class CancelRequest(Message):
    run_id: RunId
    job_id: JobId | None = None  # None: the whole run
    reason: str = Field(default="", max_length=500)


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
