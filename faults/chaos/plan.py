"""A chaos plan as people write it: what runs, what is broken when, and what has to hold."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final, Literal

import yaml
from pydantic import Field, ValidationError, field_validator, model_validator

from faults.plan import PointFault
from faults.proxy.words import ProxyFault
from faults.told import told
from shared.errors import Misconfigured
from shared.protocol.base import Document

PLAN_BYTES: Final = 1024 * 1024
MAX_S: Final = 86_400.0
Seconds = Annotated[float, Field(ge=0, le=MAX_S)]
SERVICES: Final = ("jobstore", "registry", "gateway")
WORKER: Final = r"worker-[0-9]{1,3}"
Target = Annotated[
    str, Field(pattern=rf"^(jobstore|registry|gateway|worker|{WORKER}|service|any)$")
]
Hop = Annotated[
    str,
    Field(pattern=rf"^((worker|{WORKER})-(gateway|registry)|gateway-jobstore|people-jobstore)$"),
]


class Promise(StrEnum):
    P1 = "P1"
    P2 = "P2"
    P3 = "P3"
    P4 = "P4"
    P5 = "P5"
    P6 = "P6"
    P7 = "P7"
    P8 = "P8"
    P9 = "P9"
    P10 = "P10"


class Kind(StrEnum):
    """What jobs of the workload do; all of them tell the ledger when they start and end."""

    QUICK = "quick"
    SLOW = "slow"
    FAILING = "failing"  # with an exit code of its own, in every try
    FLAKY = "flaky"  # fails at first, and then does not
    CHATTY = "chatty"  # a log that has to stream
    MAKING = "making"  # leaves an artifact
    TAKING = "taking"  # gets an artifact of another job
    FORKING = "forking"  # leaves a child behind that ignores SIGTERM
    ENV = "env"  # writes down its environment, in which secrets are looked for


class Workload(Document):
    """Pipelines that are submitted while faults are on, chosen by the seed."""

    jobs: int = Field(default=40, ge=1, le=100_000)
    jobs_per_run: int = Field(default=5, ge=1, le=1_000)
    submit_within: float = Field(default=0.6, ge=0, le=1)  # of the duration: all are submitted
    seconds: Seconds = 1.0  # a slow job takes up to this
    retries: int = Field(default=2, ge=0, le=20)
    on_lost: Literal["requeue", "fail"] = "requeue"
    kinds: dict[Kind, Annotated[float, Field(ge=0, le=1_000)]] = Field(
        default_factory=lambda: dict.fromkeys(Kind, 1.0)
    )
    bad_input_every: Seconds = 0.0  # seconds; 0: none

    @field_validator("kinds")
    @classmethod
    def _has_some(cls, kinds: dict[Kind, float]) -> dict[Kind, float]:
        if sum(kinds.values()) <= 0:
            raise ValueError("at least one kind needs a weight above 0")
        return kinds


class Targets(Document):
    """The cluster that is started, each part as a process."""

    workers: int = Field(default=2, ge=1, le=100)
    slots: int = Field(default=4, ge=1, le=100)
    lease_s: float = Field(default=3.0, ge=1, le=3_600)
    silent_after_s: float = Field(default=2.0, ge=1, le=3_600)
    registry_policy: str = Field(default="strict", pattern=r"^(strict|off|grace=[0-9.]+)$")
    reattach: bool = True
    disk_mb: int = Field(default=64, ge=16, le=65_536)  # of the job service's disk, for disk_full


class SteadyState(Document):
    """How the cluster has to be before the first fault, and again after the last."""

    ready_within_s: Seconds = 30.0
    drained_within_s: Seconds = 60.0  # after everything was healed, every job has ended


class Abort(Document):
    """When it makes no sense to go on."""

    no_progress_s: Seconds | None = None  # no job ended for so long, while some are left
    overlaps: int | None = Field(default=None, ge=1)  # two processes of one job at once
    deaths: int | None = Field(default=None, ge=1)  # parts that ended and were not told to


class _Step(Document):
    """When: at a time, every so often, or after so many jobs have ended."""

    at: Seconds | None = None
    every: Annotated[float, Field(gt=0, le=MAX_S)] | None = None
    after: Annotated[int, Field(ge=1)] | None = None
    jitter: Seconds = 0.0  # so much earlier or later, by the seed
    until: Seconds | None = None  # of `every`; None: the end
    times: Annotated[int, Field(ge=1, le=1_000_000)] | None = None  # of `every`

    @model_validator(mode="after")
    def _says_when(self) -> "_Step":
        given = [name for name in ("at", "every", "after") if getattr(self, name) is not None]
        if len(given) != 1 and given != ["at", "every"]:
            raise ValueError("give one of at, every (with at: from then on) and after")
        if self.every is None and (self.until is not None or self.times is not None):
            raise ValueError("until and times go with every")
        return self


class Kill(_Step):
    """kill -9; it is started again after `down_s`."""

    what: Literal["kill"]
    target: Target
    down_s: Seconds = 0.0


class Stop(_Step):
    """SIGTERM; it is started again `down_s` after it has ended."""

    what: Literal["stop", "restart"]
    target: Target
    down_s: Seconds = 0.0


class SigStop(_Step):
    """SIGSTOP, and SIGCONT after a while."""

    what: Literal["sigstop"]
    target: Target
    for_s: Seconds = 1.0


class Network(_Step):
    """Faults of the proxies on a hop, for a while."""

    what: Literal["network"]
    hop: Hop
    faults: tuple[ProxyFault, ...] = Field(min_length=1, max_length=100)
    for_s: Seconds = 1.0


class Points(_Step):
    """Faults at named points of a daemon, for a while."""

    what: Literal["points"]
    target: Target
    faults: tuple[PointFault, ...] = Field(min_length=1, max_length=100)
    for_s: Seconds = 1.0


class DiskFull(_Step):
    """The job service's disk, a small tmpfs, is full for a while. Needs root."""

    what: Literal["disk_full"]
    for_s: Seconds = 1.0


Step = Annotated[Kill | Stop | SigStop | Network | Points | DiskFull, Field(discriminator="what")]


def name_of(step: Step) -> str:
    """What it is called where it is spoken of."""
    return f"{step.what} of {getattr(step, 'hop', getattr(step, 'target', 'the disk'))}"


class ChaosPlan(Document):
    """One experiment."""

    name: str = Field(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9._-]+$")
    description: str = Field(default="", max_length=2_000)
    seed: int = 0
    duration_s: float = Field(default=60.0, ge=1, le=MAX_S)
    steady_state: SteadyState = SteadyState()
    workload: Workload = Workload()
    targets: Targets = Targets()
    steps: tuple[Step, ...] = Field(default=(), max_length=1_000)
    abort: Abort = Abort()
    expect: tuple[Promise, ...] = ()  # that have to be put to the test, and kept

    @model_validator(mode="after")
    def _has_its_targets(self) -> "ChaosPlan":
        for n, step in enumerate(self.steps):
            name: str = getattr(step, "target", "") or getattr(step, "hop", "")
            number = name.split("-")[1] if name.startswith("worker-") else ""
            if number.isdigit() and int(number) >= self.targets.workers:
                workers = self.targets.workers
                raise ValueError(f"steps.{n}: there is no worker-{number}, with {workers} workers")
        return self


def chaos_plan_from(path: Path) -> ChaosPlan:
    """What the file says. Misconfigured: where it is wrong, and how."""
    try:
        text = path.read_bytes()
        if len(text) > PLAN_BYTES:
            raise Misconfigured(f"{path}: a chaos plan has at most {PLAN_BYTES} bytes")
        return ChaosPlan.model_validate(yaml.safe_load(text) or {})
    except OSError as error:
        raise Misconfigured(f"{path}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise Misconfigured(f"{path}: {error}") from None
    except ValidationError as error:
        raise Misconfigured(f"{path}: {told(error)}") from None


def write_plan(plan: ChaosPlan, path: Path) -> None:
    """The plan is in the file, without what nobody has said."""
    data = plan.model_dump(mode="json", exclude_unset=True)
    path.write_text(yaml.safe_dump(data, sort_keys=False, allow_unicode=True))
