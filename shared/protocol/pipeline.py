"""The canonical pipeline: what every dialect is loaded into, and what a submit carries.

Durations are seconds. Semantic rules (unknown dependencies, cycles) are in
`shared/pipeline_rules.py`; here are only names, shapes and bounds.
"""

import re
from enum import StrEnum
from typing import Annotated, Final, Literal

from pydantic import (
    AfterValidator,
    ConfigDict,
    Field,
    JsonValue,
    StringConstraints,
    model_validator,
)
from pydantic_core import PydanticCustomError

from shared.protocol.base import MAX_INT64, Document

MAX_BUNDLE_BYTES: Final = 4 * 1024 * 1024  # of files that travel with a pipeline, packed
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
    PRECHECK_FAILED = "precheck_failed"
    POSTCHECK_FAILED = "postcheck_failed"
    LOST = (
        "lost"  # its worker went silent or crashed: waits as after a failure, instead of not at all
    )


class When(StrEnum):
    """What has to have become of a job's needs, or of the stages before its own."""

    ON_SUCCESS = "on_success"  # each succeeded, or may fail
    ON_FAILURE = "on_failure"  # one failed; skipped when none did
    ALWAYS = "always"  # each has ended


class OnError(StrEnum):
    """What a failure that counts means for the rest of the run."""

    CONTINUE = "continue"  # only what needs the failed job is skipped
    STOP = "stop"  # what runs goes on to its end, nothing new starts
    CANCEL = "cancel"  # what runs is cancelled as well


class OnLost(StrEnum):
    """What becomes of a job whose worker went silent or crashed."""

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


class CheckSpec(Document):
    """A condition that the worker looks at, by the name under which it knows it."""

    name: Name
    params: dict[Name, JsonValue] = Field(default_factory=dict)


class SecuritySpec(Document):
    """How a pipeline narrows what its commands may be. A worker's own policy binds in any case."""

    allow_shell: bool = True
    policy: Literal["off", "warn", "block"] = "off"  # what becomes of a command that looks unsafe
    level: Literal["low", "medium", "high"] = "medium"  # how much looks unsafe
    allowed_commands: tuple[Text, ...] = ()  # first words; empty: any
    allowed_patterns: tuple[Text, ...] = ()  # regular expressions for whole commands; empty: any
    exempt_commands: tuple[Text, ...] = ()  # first words of commands that look safe in any case
    exempt_patterns: tuple[Text, ...] = ()  # likewise, searched for in commands in either case
    workspaces: tuple[Text, ...] = ()  # folders in which jobs may work; empty: any


class NotifyOn(StrEnum):
    SUCCESS = "success"
    FAILURE = "failure"
    CANCELLED = "cancelled"
    QUESTION = "question"  # a task asks something


class MailServer(Document):
    """Where mail is handed in, when it is not the job service's own server."""

    host: Text
    port: int = Field(default=25, ge=1, le=65_535)
    user: Text | None = None
    password: Text | None = Field(default=None, repr=False)


class NotifySpec(Document):
    """Who hears of the end of a run, and of what its tasks ask."""

    on: tuple[NotifyOn, ...] = (NotifyOn.FAILURE,)
    email: tuple[Text, ...] = ()
    mail_server: MailServer | None = None
    webhook: Text | None = None  # a URL; signed with the job service's webhook secret
    slack: Text | None = None  # an incoming webhook's URL
    teams: Text | None = None  # likewise


class CatchUp(StrEnum):
    """What becomes of times that passed while nothing could be started."""

    NONE = "none"
    LATEST = "latest"
    ALL = "all"


class Overlap(StrEnum):
    """What becomes of a run that falls due while the one before still runs."""

    SKIP = "skip"
    QUEUE = "queue"
    CANCEL = "cancel"  # of the one before


class ScheduleSpec(Document):
    """When runs start by themselves."""

    cron: Text  # five fields, or @daily and the like
    timezone: Text = "UTC"  # IANA name
    catch_up: CatchUp = CatchUp.LATEST
    overlap: Overlap = Overlap.SKIP


# What a job has of the shell in which its worker was started: all, nothing, the usual few
# (PATH, HOME, locale, …), or the variables listed.
InheritEnv = bool | Literal["default"] | tuple[EnvName, ...]


# -- containers -------------------------------------------------------------------------------


class Pull(StrEnum):
    """When an image is fetched before its container is made."""

    ALWAYS = "always"
    MISSING = "missing"  # when the engine does not have it
    NEVER = "never"


def _shaped(pattern: str, says: str) -> AfterValidator:
    """A text that is `pattern`, whole; `says` completes a complaint about one that is not."""
    shape = re.compile(pattern, re.ASCII)

    def check(text: str) -> str:
        if not shape.fullmatch(text):
            raise PydanticCustomError("shape", "{says}", {"says": says})
        return text

    return AfterValidator(check)


_WORD: Final = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}"
Network = Annotated[str, _shaped(_WORD, "must be none, host, bridge or the name of a network")]
User = Annotated[str, _shaped(f"{_WORD}(:{_WORD})?", "must be a user, or user:group")]
Folder = Annotated[
    str,
    Field(max_length=1_000),
    _shaped(r"(/[A-Za-z0-9_][A-Za-z0-9_.@+-]*)+", "must be an absolute path, without '..'"),
]


class ContainerSpec(Document):
    """How a job's container is run, besides its image."""

    pull: Pull = Pull.MISSING
    network: Network | None = None  # None: as the engine has it
    user: User | None = None  # None: the image's own
    workspace: Folder | None = None  # where the job's folder is in it; None: /workspace


# -- tasks ------------------------------------------------------------------------------------


class LiteralArgument(Document):
    """A value that was known when the graph was drawn."""

    kind: Literal["literal"] = "literal"
    value: JsonValue


class ResultArgument(Document):
    """What another job left under `key`. `is_mapped`: the list of what its instances left."""

    kind: Literal["result"] = "result"
    job: Name
    key: Name = "return_value"
    is_mapped: bool = False


class ListArgument(Document):
    """A list with results of other jobs somewhere in it."""

    kind: Literal["list"] = "list"
    items: tuple["Argument", ...]


class MappingArgument(Document):
    kind: Literal["mapping"] = "mapping"
    items: dict[str, "Argument"]


Argument = Annotated[
    LiteralArgument | ResultArgument | ListArgument | MappingArgument, Field(discriminator="kind")
]


class TriggerRule(StrEnum):
    """What has to have become of a task's needs before it is run; else it is skipped."""

    ALL_SUCCESS = "all_success"
    ONE_SUCCESS = "one_success"  # runs at the first success, without waiting for the rest
    NONE_FAILED = "none_failed"  # all ended, one succeeded, the rest was skipped: joins branches
    ALL_DONE = "all_done"
    ALWAYS = "always"  # waits for nothing


class TaskSpec(Document):
    """A function that a task runner calls. docs/task-protocol.md says how it is told."""

    module: Text  # its module's name; an installed one, unless `file` says where it is
    function: Text  # its name in that module, dotted where it is inside a class
    file: Text | None = None  # of the bundle, from which the module is loaded
    bundle: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")] | None = None
    args: tuple[Argument, ...] = ()
    kwargs: dict[str, Argument] = Field(default_factory=dict)
    mapped: tuple[str, ...] = ()  # of kwargs: each is a list, whose n-th item gets instance n
    multiple_outputs: bool = False  # each item of the returned mapping is an XCom of its own, too
    decides: Literal["branch", "short_circuit"] | None = None  # which of its dependents go on
    trigger_rule: TriggerRule = TriggerRule.ALL_SUCCESS
    group: Name | None = None
    runner: tuple[Text, ...] = ()  # another task runner's command; empty: the worker's own Python

    @model_validator(mode="after")
    def _maps_what_it_has(self) -> "TaskSpec":
        for name in self.mapped:
            argument = self.kwargs.get(name)
            if argument is None:
                raise ValueError(f"mapped names {name!r}, which is not among kwargs")
            is_list = isinstance(argument, LiteralArgument) and isinstance(argument.value, list)
            if not is_list and not isinstance(argument, ResultArgument | ListArgument):
                raise ValueError(f"{name!r} is mapped, but is neither a list nor a result")
        if self.file is not None and self.bundle is None:
            raise ValueError("file names a file of the bundle, but there is none")
        return self


class BundleSpec(Document):
    """Files that travel with a pipeline: a zip archive, by the hash of its bytes."""

    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
    content: bytes = Field(max_length=MAX_BUNDLE_BYTES, repr=False)

    model_config = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")


class Limits(Document):
    """What a job may take of its worker's machine, with all the processes that it starts.

    None: no limit of its own. docs/limits.md says how each is kept, and what becomes of a job
    that reaches it.
    """

    memory_bytes: int | None = Field(default=None, ge=1024 * 1024, le=MAX_INT64)
    cpus: float | None = Field(default=None, ge=0.01, le=4_096)  # seconds of CPU in a second
    pids: int | None = Field(default=None, ge=1, le=4_194_304)  # processes and threads at a time
    open_files: int | None = Field(default=None, ge=8, le=1_048_576)  # of each process
    file_size_bytes: int | None = Field(default=None, ge=1, le=MAX_INT64)  # of each file
    scratch_bytes: int | None = Field(default=None, ge=1, le=MAX_INT64)  # its folder, altogether
    nice: int | None = Field(default=None, ge=0, le=19)


class CacheSpec(Document):
    """Files that a job finds again in a later run, if its worker still has them."""

    key: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    files: tuple[Text, ...] = Field(default=(), max_length=100)  # their content is part of the key
    paths: tuple[Text, ...] = Field(min_length=1, max_length=100)  # globs and folders
    restore_keys: tuple[Annotated[str, StringConstraints(min_length=1, max_length=200)], ...] = (
        Field(default=(), max_length=20)  # beginnings of other keys that will do
    )


class JobSpec(Document):
    """One job. Exactly one of `command`, `script`, `argv`, `task` says what it runs."""

    id: Name
    stage: Name | None = None
    description: Text | None = None
    command: Text | None = None  # handed to `sh -c`
    script: tuple[Text, ...] = ()  # lines for `sh -e`
    argv: tuple[Text, ...] = ()  # exact words, no shell
    task: TaskSpec | None = None  # a function
    needs: tuple[Name, ...] = ()
    env: dict[EnvName, Text] = Field(default_factory=dict)
    working_dir: Text | None = None
    image: Annotated[Text, Field(min_length=1)] | None = None  # of the container it asks for
    container: ContainerSpec | None = None  # how that is run
    limits: Limits | None = None
    timeout_s: Duration | None = None
    queue_timeout_s: Duration | None = None
    retry: RetryRule | None = None
    artifacts: tuple[Text, ...] = ()  # globs and folders, relative to the working directory
    artifacts_when: When = When.ALWAYS  # after which ends of the job they are kept
    cache: CacheSpec | None = None
    inputs: tuple[Name, ...] = ()  # dependencies whose artifacts are placed there first
    requires: Labels = Field(default_factory=dict)
    slots: int = Field(default=1, ge=1, le=10_000)  # how many of its worker's it takes
    priority: int = Field(default=0, ge=-1_000_000, le=1_000_000)
    allow_failure: bool = False
    on_lost: OnLost = OnLost.REQUEUE
    when: When = When.ON_SUCCESS
    lock: Name | None = None  # jobs of the same lock run one at a time, across runs
    approve: bool = False  # waits for a person before it is queued
    pre_checks: tuple[CheckSpec, ...] = ()
    post_checks: tuple[CheckSpec, ...] = ()
    matrix: dict[Name, Text] = Field(default_factory=dict)  # this one's values, where it is of many

    @model_validator(mode="after")
    def _says_what_to_run(self) -> "JobSpec":
        given = [n for n in ("command", "script", "argv", "task") if getattr(self, n)]
        if len(given) != 1:
            said = " and ".join(given) if given else "none of them"
            raise ValueError(f"give exactly one of command, script, argv or task (found {said})")
        return self


class PipelineSpec(Document):
    """A whole pipeline."""

    name: Name
    description: Text | None = None
    env: dict[EnvName, Text] = Field(default_factory=dict)
    max_workers: int | None = Field(default=None, ge=1, le=100_000)  # None: no limit
    timeout_s: Duration = DEFAULT_TIMEOUT_S  # for jobs that name none
    retry: RetryRule = RetryRule()  # for jobs that name none
    on_error: OnError = OnError.CONTINUE
    params: dict[Name, JsonValue] = Field(default_factory=dict)  # with which it was written out
    inherit_env: InheritEnv | None = None  # None: as the worker is set up
    plugins: tuple[Text, ...] = ()  # files with checks of its own
    security: SecuritySpec | None = None
    notify: NotifySpec | None = None
    schedule: ScheduleSpec | None = None
    stages: tuple[Name, ...] = ()
    bundle: BundleSpec | None = None  # of its tasks; kept by its hash, not with the jobs
    jobs: tuple[JobSpec, ...] = Field(min_length=1, max_length=MAX_JOBS)
