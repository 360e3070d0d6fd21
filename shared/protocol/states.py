"""The states that travel on the wire. The machines that move them are in each owner's states.py."""

from enum import StrEnum


class RunStatus(StrEnum):
    PENDING = "pending"
    RUNNING = "running"
    SUCCESS = "success"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_ended(self) -> bool:
        return self in (RunStatus.SUCCESS, RunStatus.FAILED, RunStatus.CANCELLED)


class StageStatus(StrEnum):
    PENDING = "pending"
    RUNNING = "running"
    SUCCESS = "success"
    FAILED = "failed"
    SKIPPED = "skipped"
    CANCELLED = "cancelled"


class JobStatus(StrEnum):
    PENDING = "pending"
    BLOCKED = "blocked"  # dependencies, or an earlier stage
    HELD = "held"  # for a free place of its run, a lock, or a person's approval
    QUEUED = "queued"
    CLAIMED = "claimed"  # leased, not yet running
    RUNNING = "running"
    RETRYING = "retrying"  # waits for its next try
    DEFERRED = "deferred"  # a task that waits for a trigger, without a worker
    RESCHEDULED = "rescheduled"  # a task that begins again at a time
    SUCCESS = "success"
    FAILED = "failed"
    TIMEOUT = "timeout"
    PRECHECK_FAILED = "precheck_failed"
    POSTCHECK_FAILED = "postcheck_failed"
    SKIPPED = "skipped"
    CANCELLED = "cancelled"

    @property
    def is_ended(self) -> bool:
        return self in ENDED


FAILURES = (
    JobStatus.FAILED,
    JobStatus.TIMEOUT,
    JobStatus.PRECHECK_FAILED,
    JobStatus.POSTCHECK_FAILED,
)
ENDED = frozenset({JobStatus.SUCCESS, *FAILURES, JobStatus.SKIPPED, JobStatus.CANCELLED})


class HeldFor(StrEnum):
    """What a held job waits for."""

    MAX_WORKERS = "max_workers"
    LOCK = "lock"
    APPROVAL = "approval"


class AttemptStatus(StrEnum):
    CLAIMED = "claimed"
    RUNNING = "running"
    REPORTED = "reported"
    REFUSED = "refused"
    LAPSED = "lapsed"  # claimed, never started in time
    LOST = "lost"  # its lease ran out while it ran
    CANCELLED = "cancelled"


class WorkerStatus(StrEnum):
    """What a worker reports of itself; `offline` is the registry's word for silence."""

    READY = "readyForWork"
    WORKING = "Working"
    DRAINING = "draining"
    PAUSED = "paused"
    OFFLINE = "offline"


class Desired(StrEnum):
    """What an operator wants of a worker."""

    RUN = "run"
    PAUSE = "pause"  # finish what runs, claim nothing, until resumed
    DRAIN = "drain"  # finish what runs, claim nothing, then stop
    STOP = "stop"  # stop what runs, then stop
    RESTART = "restart"  # begin anew; what runs goes on
