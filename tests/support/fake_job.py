"""A job of the job service in memory, and its attempts, as they are and as they are shown."""

from dataclasses import dataclass, field
from datetime import datetime

from shared.ids import AttemptId, JobId, RunId, WorkerId
from shared.protocol import gateway as g
from shared.protocol import jobs as j
from shared.protocol.pipeline import JobSpec
from shared.protocol.states import AttemptStatus, JobStatus


@dataclass
class FakeJob:
    run_id: RunId
    spec: JobSpec
    status: JobStatus = JobStatus.QUEUED
    fence: int = 0
    tries: int = 0
    attempts: list["FakeAttempt"] = field(default_factory=list)

    def view(self) -> j.JobView:
        return j.JobView(
            id=JobId(self.spec.id),
            stage=self.spec.stage,
            status=self.status,
            exit_code=None,
            reason=None,
            tries=self.tries,
            attempts=len(self.attempts),
            refusals=0,
            needs=tuple(JobId(name) for name in self.spec.needs),
            allow_failure=self.spec.allow_failure,
            started_at=None,
            ended_at=None,
        )


@dataclass
class FakeAttempt:
    attempt_id: AttemptId
    worker_id: WorkerId
    fence: int
    job: FakeJob
    status: AttemptStatus = AttemptStatus.CLAIMED
    log: bytes = b""
    blobs: dict[str, bytes] = field(default_factory=dict)
    artifacts: tuple[g.ArtifactEntry, ...] = ()
    receipt: g.Receipt | None = None
    result: g.Result | None = None

    def view(self, now: datetime) -> j.AttemptView:
        return j.AttemptView(
            attempt_id=self.attempt_id,
            fence=self.fence,
            worker_id=self.worker_id,
            status=self.status,
            claimed_at=now,
            started_at=None,
            ended_at=None,
            exit_code=self.result.exit_code if self.result else None,
            signal=None,
            reason=None,
            receipt_id=self.receipt.receipt_id if self.receipt else None,
            log_size_bytes=len(self.log),
            log_lost_bytes=0,
            usage=None,
            evidence=None,
        )
