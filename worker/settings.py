"""What a worker is told when it is composed."""

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from shared.protocol.gateway import RunContext
from shared.protocol.pipeline import SecuritySpec
from worker.ports import ArtifactLimits

VERSION = "0.1.0"

# strict: no job starts unless the registry acknowledged `Working` after the claim.
# A number: … or acknowledged anything within that many seconds. off: the registry is only told.
RegistryPolicy = Literal["strict", "off"] | float

# What becomes of jobs that ask for a container: they have one, are refused, or run on the machine.
Images = Literal["run", "refuse", "ignore"]


@dataclass(frozen=True, slots=True)
class HealthLimits:
    """From where on a worker takes no jobs."""

    min_disk_bytes: int = 256 << 20  # free where its data directory is
    min_memory_bytes: int = 64 << 20  # that a new process could have
    max_skew_s: float = 60.0  # between its clock and the gateway's: tokens are judged by both


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """One worker."""

    name: str
    slots: int
    labels: Mapping[str, str] = field(default_factory=dict)
    registry_policy: RegistryPolicy = "strict"
    base_env: Mapping[str, str] = field(default_factory=dict)  # of every job, below its own
    shell_env: Mapping[str, str] = field(default_factory=dict)  # what pipelines may ask for
    is_own_shell: bool = False  # it is of the person whose pipelines these are, secrets and all
    security: SecuritySpec = field(default_factory=SecuritySpec)  # for commands started here
    images: Images = "run"
    docker: str | None = None  # where the container engine listens; None: the usual places
    is_warm: bool = True  # tasks of a flow are copies of a process that has imported it
    plugin_dirs: tuple[str, ...] = ()  # folders with files of checks that pipelines may name
    masked: tuple[str, ...] = ()  # variables whose values are secrets, whatever their names say
    max_log_bytes: int = 4 << 30  # of one attempt: what is longer loses its middle
    max_artifact_bytes: int = 16 << 30  # of one
    max_artifacts_bytes: int = 64 << 30  # of one attempt, together
    grace_s: float = 10.0  # between SIGTERM and SIGKILL
    upload_s: float = 300.0  # for what was not yet reported when all jobs of a drain have ended
    wait_s: float = 20.0  # how long a poll may wait for a job
    announce_s: float = 5.0  # a claim that the registry has not acknowledged by then is refused
    reattach: bool = True  # to jobs that an earlier worker started; else they are ended
    health: HealthLimits = HealthLimits()
    host: str = field(default_factory=socket.gethostname)
    pid: int = field(default_factory=os.getpid)
    version: str = VERSION

    def contains(self, context: RunContext) -> bool:
        """Whether the job is run in a container."""
        return context.image is not None and self.images == "run"

    def most_log_bytes(self, context: RunContext) -> int:
        """How long the job's log may be: as this worker and the job service allow."""
        return _least(self.max_log_bytes, context.max_log_bytes)

    def artifact_limits(self, context: RunContext) -> ArtifactLimits:
        """The same of what it may leave."""
        return ArtifactLimits(
            each_bytes=_least(self.max_artifact_bytes, context.max_artifact_bytes),
            total_bytes=self.max_artifacts_bytes,
        )

    @property
    def max_unreported(self) -> int:
        """With more results than this waiting for a receipt, nothing new is claimed."""
        return 4 * self.slots + 16


def _least(ours: int, theirs: int | None) -> int:
    return ours if theirs is None else min(ours, theirs)
