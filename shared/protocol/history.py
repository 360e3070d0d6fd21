"""What people ask about runs that have ended: figures, comparison, pruning."""

from datetime import datetime
from typing import Final

from pydantic import Field

from shared.ids import JobId, RunId
from shared.protocol.base import Message
from shared.protocol.jobs import RunSummary
from shared.protocol.states import JobStatus

MAX_KEEP_S: Final = 1e10  # three hundred years


class PastJob(Message):
    """One job of one run that has ended."""

    run_id: RunId
    pipeline: str
    job_id: JobId
    status: JobStatus
    exit_code: int | None
    tries: int
    started_at: datetime | None
    ended_at: datetime
    duration_s: float | None  # from the first try's start to the end


class JobHistory(Message):
    """A job in the latest runs of its pipeline, newest first."""

    jobs: tuple[PastJob, ...]
    runs: int  # that were looked at
    success_rate: float | None  # of those that ran; None: none did
    median_s: float | None  # of the successful ones
    p95_s: float | None
    flaky: int  # successes that took more than one try, or followed a failure of the same job


class JobDiff(Message):
    """What differs of one job between two runs. None: the run has no such job."""

    job_id: JobId
    before: JobStatus | None
    after: JobStatus | None
    before_s: float | None
    after_s: float | None
    spec: tuple[str, ...]  # names of the fields of its document that differ


class RunDiff(Message):
    before: RunSummary
    after: RunSummary
    jobs: tuple[JobDiff, ...]  # those that differ in more than their duration come first


class PruneRequest(Message):
    """Forget ended runs that are older than `keep_s`, their logs and artifacts included."""

    keep_s: float = Field(ge=0, le=MAX_KEEP_S)
    name: str | None = None  # only of this pipeline
    is_dry: bool = False  # only count


class PruneReply(Message):
    runs: int
    jobs: int
    log_bytes: int
    artifact_bytes: int
