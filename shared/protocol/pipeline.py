"""The canonical pipeline: what every dialect is loaded into, and what a submit carries.

Durations are seconds. Semantic rules (unknown dependencies, cycles) are in
`shared/pipeline_rules.py`; here are only names, shapes and bounds.
"""

from enum import StrEnum
from typing import Annotated, Final

from pydantic import Field, StringConstraints, model_validator

from shared.protocol.base import Document

DEFAULT_TIMEOUT_S: Final = 10_800.0  # three hours, so that a hung job ends by itself
MAX_DURATION_S: Final = 366 * 86_400.0
MAX_JOBS: Final = 100_000

Name = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f/]+$")]
Text = Annotated[str, StringConstraints(max_length=131_072, pattern=r"^[^\x00]*$")]
EnvName = Annotated[
    str, StringConstraints(min_length=1, max_length=1_000, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
]
Duration = Annotated[float, Field(ge=0, le=MAX_DURATION_S)]
Labels = dict[Name, Name]


class RetryOn(StrEnum):
    """Kinds of failure that a retry rule can name."""

    FAILED = "failed"
    TIMEOUT = "timeout"


class OnLost(StrEnum):
    """What becomes of a job whose worker went silent."""

    REQUEUE = "requeue"
    FAIL = "fail"


class RetryRule(Document):
    """When a failed job is tried again. The n-th wait is delay * backoff**(n-1), +/- jitter."""

    max: int = Field(default=0, ge=0, le=1_000)
    delay_s: Duration = 5.0
    backoff: float = Field(default=2.0, ge=1, le=100)
    jitter: float = Field(default=0.1, ge=0, le=1)
    max_time_s: Duration | None = None  # since the first try started; None: no limit
    on: tuple[RetryOn, ...] = (RetryOn.FAILED, RetryOn.TIMEOUT)
    on_exit_codes: tuple[int, ...] = ()  # empty: any


class JobSpec(Document):
    """One job. Exactly one of `command`, `script`, `argv` says what it runs."""

    id: Name
    stage: Name | None = None
    description: Text | None = None
    command: Text | None = None  # handed to `sh -c`
    script: tuple[Text, ...] = ()  # lines for `sh -e`
    argv: tuple[Text, ...] = ()  # exact words, no shell
    needs: tuple[Name, ...] = ()
    env: dict[EnvName, Text] = Field(default_factory=dict)
    working_dir: Text | None = None
    timeout_s: Duration | None = None
    queue_timeout_s: Duration | None = None
    retry: RetryRule | None = None
    artifacts: tuple[Text, ...] = ()  # globs, relative to the working directory
    inputs: tuple[Name, ...] = ()  # dependencies whose artifacts are placed there first
    requires: Labels = Field(default_factory=dict)
    priority: int = Field(default=0, ge=-1_000_000, le=1_000_000)
    allow_failure: bool = False
    on_lost: OnLost = OnLost.REQUEUE

    @model_validator(mode="after")
    def _says_what_to_run(self) -> "JobSpec":
        given = [n for n in ("command", "script", "argv") if getattr(self, n)]
        if len(given) != 1:
            said = " and ".join(given) if given else "none of them"
            raise ValueError(f"give exactly one of command, script or argv (found {said})")
        return self


class PipelineSpec(Document):
    """A whole pipeline."""

    name: Name
    description: Text | None = None
    env: dict[EnvName, Text] = Field(default_factory=dict)
    max_workers: int | None = Field(default=None, ge=1, le=100_000)  # None: no limit
    timeout_s: Duration = DEFAULT_TIMEOUT_S  # for jobs that name none
    retry: RetryRule = RetryRule()  # for jobs that name none
    stages: tuple[Name, ...] = ()
    jobs: tuple[JobSpec, ...] = Field(min_length=1, max_length=MAX_JOBS)
