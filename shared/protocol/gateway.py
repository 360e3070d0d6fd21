"""The worker's conversation: claim, refuse, run, heartbeat, log, artifact, input, finish.

`attempt_id` and `worker_id` travel in the path and in the token, the rest in the body.
"""

import re
from enum import StrEnum
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field

from shared.ids import AttemptId, ClaimId, JobId, RunId, WorkerId
from shared.protocol.base import Bytes, Fence, Message, Number
from shared.protocol.execution import AttemptState, Resumption, RunFacts
from shared.protocol.pipeline import (
    CacheSpec,
    CheckSpec,
    ContainerSpec,
    InheritEnv,
    Labels,
    Limits,
    SecuritySpec,
    TaskSpec,
    When,
)
from shared.protocol.states import AttemptStatus, JobStatus

MAX_SLOTS = 10_000
MAX_ARTIFACTS = 100_000  # of one attempt
INLINE_LOG_BYTES = 65_536  # a log up to this size travels inside finish
MIN_BYTES_PER_S = 50_000  # a body that comes slower than this is given up and begun again


_CONTROL = re.compile(r"[\x00-\x1f\x7f\\\ud800-\udfff]")
MAX_NAME_BYTES = 255  # of one step of a path, as on most file systems


def _stays_inside(path: str) -> str:
    steps = path.split("/")
    if _CONTROL.search(path) or any(step in ("", ".", "..") for step in steps):
        raise ValueError(
            "must be relative, without '.', '..' or empty steps, backslashes or control characters"
        )
    if any(len(step.encode()) > MAX_NAME_BYTES for step in steps):
        raise ValueError(f"a step may have {MAX_NAME_BYTES} bytes")
    return path


Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
ArtifactPath = Annotated[str, Field(min_length=1, max_length=1_024), AfterValidator(_stays_inside)]

# -- claim ----------------------------------------------------------------------------------


class ClaimRequest(Message):
    """Ask for jobs that these labels may run and that fit into `free_slots` together.

    Waits up to `wait_s` for one; not at all when a job wants more of the worker's slots than are
    free, and none behind it may be had before it.
    """

    claim_id: ClaimId = Field(min_length=1, max_length=100)
    worker_id: WorkerId
    labels: Labels
    free_slots: int = Field(ge=1, le=MAX_SLOTS)
    # With those that are taken; None, of an older worker: it has no more than are free.
    total_slots: int | None = Field(default=None, ge=1, le=MAX_SLOTS)
    wait_s: float = Field(ge=0, le=60)


class Claim(Message):
    """A lease on one job. It lapses unless it is run within `start_ttl_s`."""

    attempt_id: AttemptId
    fence: Fence
    run_id: RunId
    job_id: JobId
    start_ttl_s: float
    slots: int = 1  # how many it takes
    token: str | None = None  # workload token: opens run and refuse of this attempt (HTTP only)


class ClaimReply(Message):
    """Claims, or none and why. `retry_after_s` is a wish of the other side; 0 means ask again."""

    claims: tuple[Claim, ...]
    reason: str | None = None  # no_job | jobstore_unavailable
    retry_after_s: float = 0.0


# -- refuse, run ----------------------------------------------------------------------------


class RefuseRequest(Message):
    """Hand a claimed job back unstarted. Costs no try."""

    attempt_id: AttemptId
    worker_id: WorkerId
    fence: Fence
    reason: str = Field(max_length=500)


class RunRequest(Message):
    """Start the attempt: the one gate at which a try is counted."""

    attempt_id: AttemptId
    worker_id: WorkerId
    fence: Fence
    host: str = Field(max_length=255)
    pid: Number


class DependencyResult(Message):
    job_id: JobId
    status: JobStatus
    exit_code: int | None


class Dependencies(Message):
    dependencies: tuple[DependencyResult, ...]


class TaskContext(Message):
    """What a task runner has to know of its task, besides what every job's worker knows."""

    spec: TaskSpec
    run: RunFacts = RunFacts()
    map_index: int | None = None  # which instance of a mapped job this is
    resume: Resumption | None = None  # it was deferred, and goes on


class RunContext(Message):
    """Everything that a worker needs to execute the attempt."""

    attempt_id: AttemptId
    fence: Fence
    run_id: RunId
    job_id: JobId
    pipeline: str
    argv: tuple[str, ...]
    task: TaskContext | None = None  # then there is no argv
    env: dict[str, str]
    working_dir: str | None
    timeout_s: float
    artifacts: tuple[str, ...]
    artifacts_when: When = When.ALWAYS
    cache: CacheSpec | None = None
    inputs: tuple[JobId, ...]
    # What the job service takes, and in which parts; None: one from before it said so.
    max_log_bytes: int | None = None
    max_artifact_bytes: int | None = None
    part_bytes: int | None = None
    pre_checks: tuple[CheckSpec, ...] = ()
    post_checks: tuple[CheckSpec, ...] = ()
    inherit_env: InheritEnv | None = None
    plugins: tuple[str, ...] = ()
    security: SecuritySpec | None = None
    image: str | None = None  # of the container that the job asks for
    container: ContainerSpec | None = None  # how that is run
    limits: Limits | None = None  # None: none of its own
    dependencies: tuple[DependencyResult, ...]
    tries: int  # this one included
    tries_left: int
    should_retry: bool  # a plain failure of this try would be tried again
    lease_s: float
    heartbeat_s: float
    token: str | None = None  # execution token (HTTP only)


# -- heartbeat ------------------------------------------------------------------------------


class LeaseBeat(Message):
    attempt_id: AttemptId
    fence: Fence
    # starting | pre_checks | executing | post_checks | reporting
    phase: str = Field(max_length=50)


class HeartbeatRequest(Message):
    worker_id: WorkerId
    leases: tuple[LeaseBeat, ...] = Field(max_length=MAX_SLOTS)


class Verdict(StrEnum):
    RENEWED = "renewed"
    CANCEL = "cancel"  # renewed as well: stop the job, then finish as cancelled
    GONE = "gone"  # stop the process; `reason` says who has the job now


class LeaseVerdict(Message):
    attempt_id: AttemptId
    verdict: Verdict
    reason: str | None
    token: str | None = None  # a fresh execution token, when the old one is near its end


class HeartbeatReply(Message):
    leases: tuple[LeaseVerdict, ...]


# -- log, artifact, input -------------------------------------------------------------------


class LogChunk(Message):
    """Bytes [offset, offset + size_bytes) of the attempt's log; the bytes travel beside it."""

    attempt_id: AttemptId
    worker_id: WorkerId
    fence: Fence
    offset: Bytes
    size_bytes: Bytes


class LogReply(Message):
    next_offset: int
    attempt_status: AttemptStatus
    cancel_requested: bool


class ArtifactEntry(Message):
    path: ArtifactPath  # relative, '/'-separated, never leaves its folder
    size_bytes: Bytes
    sha256: Sha256


class ArtifactUpload(Message):
    """One artifact, or a part; the bytes travel beside it. The hash is its identity: a repeat is
    free."""

    attempt_id: AttemptId
    worker_id: WorkerId
    fence: Fence
    entry: ArtifactEntry
    offset: Bytes = 0
    part_bytes: Bytes | None = None  # None: all of it


class ArtifactReply(Message):
    """Up to where the artifact has come. At its size, it is stored and verified."""

    next_offset: int


class ArtifactManifest(Message):
    """What was stored of an attempt: how much, and the hash over its entries' hashes and paths."""

    count: int
    size_bytes: int
    sha256: Sha256


class InputRequest(Message):
    """An artifact of one of this attempt's dependencies, from `offset` on."""

    attempt_id: AttemptId
    worker_id: WorkerId
    fence: Fence
    job_id: JobId
    path: ArtifactPath
    offset: Bytes = 0


class InputListRequest(Message):
    attempt_id: AttemptId
    worker_id: WorkerId
    fence: Fence
    job_id: JobId


class InputList(Message):
    """All artifacts of one dependency."""

    artifacts: tuple[ArtifactEntry, ...]


# -- finish ---------------------------------------------------------------------------------


# What messages of results say of an attempt that costs nothing, as its job was never started, and
# how they begin where the worker itself is to blame.
NOT_BEGUN: Final = "the worker was restarted before the job began"
INTERNAL_ERROR: Final = "the worker met an internal error"


class Outcome(StrEnum):
    """How the execution ended, as the worker saw it. What follows from it is not its business."""

    EXITED = "exited"  # exit_code is set
    SIGNALED = "signaled"  # signal is set
    TIMEOUT = "timeout"
    CANCELLED = "cancelled"
    DRAINED = "drained"  # stopped because the worker had to leave; costs no try
    PREEMPTED = "preempted"  # killed because somebody stopped the worker at once; costs no try
    LOST = (
        "lost"  # it may have run, and its worker crashed, was cut off, or cannot say how it ended
    )
    OOM = "oom"  # killed because it needed more memory than its limit
    OVER_LIMIT = "over_limit"  # killed because it went beyond another limit of its own
    SPAWN_ERROR = "spawn_error"  # never started: no such command or directory
    INPUT_ERROR = "input_error"  # an input could not be placed
    PRECHECK_FAILED = "precheck_failed"  # never started: a pre-check did not pass
    POSTCHECK_FAILED = "postcheck_failed"  # the job exited 0, but a post-check did not pass
    FORBIDDEN = "forbidden"  # never started: the worker's policy, or the pipeline's, forbids it
    ARTIFACT_ERROR = "artifact_error"  # the job exited 0, but an artifact could not be collected
    TASK_ENDED = "task_ended"  # the task said how it ended, other than by success: `task` is set
    CONTAINER_LOST = "container_lost"  # somebody removed it, or its engine went away
    TASK_BROKEN = "task_broken"  # the task runner ended without saying so, or against the protocol


class Result(Message):
    outcome: Outcome
    exit_code: Number | None = None
    signal: Number | None = None
    message: str = Field(default="", max_length=2_000)
    task: AttemptState | None = None  # of a task that said how it ended, also of one that exited


class LogSummary(Message):
    """The whole log's size and hash, and its last bytes when they are few."""

    size_bytes: Bytes
    sha256: Sha256
    tail_offset: Bytes  # the log's bytes from here on are in `tail`
    tail: bytes = Field(max_length=INLINE_LOG_BYTES)
    lost_bytes: Bytes  # produced by the job, but never to arrive


class Usage(Message):
    wall_s: float
    cpu_s: float | None
    max_rss_bytes: Bytes | None


def _differ(entries: tuple[ArtifactEntry, ...]) -> tuple[ArtifactEntry, ...]:
    if len({entry.path for entry in entries}) < len(entries):
        raise ValueError("two artifacts have the same path")
    return entries


class FinishRequest(Message):
    attempt_id: AttemptId
    worker_id: WorkerId
    fence: Fence
    result: Result
    log: LogSummary
    artifacts: Annotated[
        tuple[ArtifactEntry, ...], Field(max_length=MAX_ARTIFACTS), AfterValidator(_differ)
    ]
    usage: Usage


class Receipt(Message):
    """The result is durable and counted, for ever."""

    kind: Literal["receipt"] = "receipt"
    receipt_id: str
    attempt_id: AttemptId
    fence: Fence
    job_status: JobStatus
    artifacts: ArtifactManifest | None = None  # None: from a service that does not say


class Incomplete(Message):
    """Nothing was settled yet: send what is missing, then finish again."""

    kind: Literal["incomplete"] = "incomplete"
    resend_log_from: int | None
    missing_artifacts: tuple[ArtifactPath, ...]


FinishReply = Annotated[Receipt | Incomplete, Field(discriminator="kind")]
