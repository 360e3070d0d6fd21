"""What a worker needs of its machine: a place for an attempt's files, and something that runs.

The real ones are `worker/workspace.py` and `worker/runners/kept.py`; a simulation brings its own.
"""

import math
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Final, Protocol

from shared.ids import AttemptId, WorkerId
from shared.protocol.execution import AttemptState
from shared.protocol.gateway import ArtifactEntry, RunContext, Usage
from shared.protocol.pipeline import CacheSpec, ContainerSpec, Limits


class CannotStart(Exception):
    """The command could not be started; the message says why. The worker itself is fine."""


class LeaseOver(CannotStart):
    """Its lease had ended before it was started, or while checks ran: the job may be another's."""

    def __init__(self, why: str = "its lease had ended before it could be started") -> None:
        super().__init__(why)


class WorkerAtFault(CannotStart):
    """Nothing could have been started: that is to cost the job no try."""


@dataclass(frozen=True, slots=True)
class TaskLaunch:
    """What a task's supervisor works with. `context.task` is set."""

    context: RunContext
    worker_id: WorkerId
    is_stopped: Callable[[], bool]  # nobody wants the task any more


@dataclass(frozen=True, slots=True)
class ContainerLaunch:
    """The container in which an execution is wanted."""

    image: str
    spec: ContainerSpec
    working_dir: str | None  # a folder of the image's own; None: the workspace
    labels: Mapping[str, str]
    mounts: Sequence[tuple[PurePath, str]] = ()  # what it sees besides, and where; read only


@dataclass(frozen=True, slots=True)
class Launch:
    """One execution. Output of the whole process tree goes to the attempt's log."""

    argv: Sequence[str]
    env: Mapping[str, str]
    cwd: PurePath
    log: PurePath
    stdin: bytes = b""  # what the first process finds there
    attempt_id: AttemptId | None = None  # under which `Runner.attach` finds it
    limits: Limits | None = None
    scratch: PurePath | None = None  # the folder of its own that `limits` bounds, if it has one
    until: float = math.inf  # when it is killed, unless `Runner.permit` says a later time
    task: TaskLaunch | None = None  # then a task runner is started, instead of `argv`
    container: ContainerLaunch | None = None  # None: on the machine itself


@dataclass(frozen=True, slots=True)
class TaskEnd:
    """How a task said that it ended; without a `state`, `flaw` says what went wrong instead."""

    state: AttemptState | None
    flaw: str
    artifacts: tuple[str, ...]  # published while it ran: paths, not globs


@dataclass(frozen=True, slots=True)
class Breach:
    """A limit that a job went beyond, for which all of it was killed; `message` has the numbers."""

    kind: str  # oom | pids | disk | lease: the time up to which it was permitted
    message: str


@dataclass(frozen=True, slots=True)
class Exit:
    """How a process ended: exactly one of the two numbers is set, unless that was `lost`."""

    exit_code: int | None
    signal: int | None
    usage: Usage
    task: TaskEnd | None = None
    lost: str = ""  # why nobody knows how it ended; then neither number is set
    breach: Breach | None = None
    remarks: tuple[str, ...] = ()  # what its limits did short of its end; lines for its log


class Process(Protocol):
    """A started process tree in a group of its own."""

    pid: int

    async def wait(self) -> Exit:
        """Returns when the first process has ended. Safe to call again."""

    def terminate(self) -> None:
        """SIGTERM to the whole group. Safe when it is gone."""

    def kill(self) -> None:
        """SIGKILL to the whole group. Safe when it is gone."""

    async def reap(self) -> None:
        """Nothing of the group lives any more: it was killed, and seen to be empty."""

    def release(self) -> None:
        """`attach` finds it no more: how it ended was recorded. Safe to repeat."""


class Runner(Protocol):
    """Starts processes. Shell, Python and container jobs share this contract."""

    async def start(self, launch: Launch) -> Process:
        """The process runs. CannotStart: no such command, directory, permission, …; LeaseOver."""

    async def attach(self, attempt_id: AttemptId) -> Process | None:
        """The process that was started last for the attempt, perhaps by a worker that has ended
        since: it runs, or how it ended is known. None: there is none, or it cannot be found."""

    def permit(self, until: Mapping[AttemptId, float]) -> None:
        """What was started for these attempts is killed at these times (`Runtime.mono`), also
        when this worker has died or is stopped, unless a later time is said before. A runner
        whose processes do not outlive the worker need do nothing."""


@dataclass(frozen=True, slots=True)
class ArtifactLimits:
    """What one attempt may leave."""

    each_bytes: int = 16 << 30
    total_bytes: int = 64 << 30


USUAL_LIMITS: Final = ArtifactLimits()


class AttemptFiles(Protocol):
    """One attempt's folder: its log, and the directory in which it works."""

    @property
    def log(self) -> PurePath: ...

    @property
    def cwd(self) -> PurePath: ...

    @property
    def scratch(self) -> PurePath | None:
        """The folder that is this attempt's alone, and goes with it; None: it works elsewhere."""

    async def log_size(self) -> int:
        """0 where there is no regular file, and at the first look at one that took its place."""

    async def read_log(self, offset: int, limit: int) -> bytes: ...

    async def drop_log(self, start: int, stop: int) -> None:
        """Those bytes of the log may read as zeros from now on, and take no room on the disk."""

    async def append_log(self, line: str) -> None:
        """The line is the log's last. CannotStart: the log cannot be written."""

    async def place_input(self, entry: ArtifactEntry, body: AsyncIterator[bytes]) -> None:
        """An artifact of a dependency is in the working directory, and may be kept for others."""

    async def place_known(self, entry: ArtifactEntry) -> bool:
        """Whether the artifact was at hand, and is in the working directory now, verified."""

    async def restore_cache(
        self, pipeline: str, cache: CacheSpec, is_stopped: Callable[[], bool]
    ) -> tuple[str, str | None]:
        """The cache's whole key, and that of the one whose files are there now; None: of none."""

    async def save_cache(self, pipeline: str, cache: CacheSpec, key: str) -> int | None:
        """How many files are kept under the key; None: they cannot be."""

    async def find_artifacts(
        self, globs: Sequence[str], limits: ArtifactLimits = USUAL_LIMITS
    ) -> list[ArtifactEntry]:
        """Regular files that match, hashed, sorted by path. Nothing outside the directory.

        What is no pattern may name a folder, with all that is in it. CannotCollect: a glob that
        matches nothing, a path that leaves the directory, more than the limits, …
        """

    def read_artifact(self, path: str, offset: int = 0) -> AsyncGenerator[bytes, None]: ...

    async def sync(self, artifacts: Sequence[str]) -> None:
        """The log, and these artifacts, survive a loss of power; those that are not there any
        more are passed over. OSError: the disk does not take them."""

    async def remove(self) -> None:
        """The folder is gone. Safe to repeat."""


class CannotCollect(Exception):
    """An artifact or input cannot be taken or placed; the message names it and says why."""


class Workspace(Protocol):
    """Where the worker keeps attempts."""

    async def open(self, attempt_id: AttemptId, working_dir: str | None) -> AttemptFiles:
        """A folder for this attempt. CannotStart: the working directory does not exist."""

    async def reopen(self, attempt_id: AttemptId, working_dir: str | None) -> AttemptFiles:
        """The folder that an earlier worker opened, with what is there of it."""
