"""Drawing a pipeline: inside `with pipeline(...)`, calling a task records it instead of running it.

What such a call returns stands for a result that is known only when the job has run. It can be
handed to other tasks, which then wait for it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import FrameType

from drawbar.sdk.durations import Duration, seconds_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from drawbar.sdk.tasks import Options, Task


class FlowMistake(Exception):
    """The graph cannot be drawn like this; the message says why."""


class Result:
    """What a job will leave, while the graph is drawn."""

    __slots__ = ("_keys", "is_mapped", "job_id", "key")

    def __init__(
        self,
        job_id: str,
        *,
        is_mapped: bool = False,
        has_keys: bool = False,
        key: str | None = None,
    ) -> None:
        self.job_id = job_id
        self.is_mapped = is_mapped
        self.key = key or "return_value"
        self._keys = has_keys

    def __getitem__(self, key: str) -> Result:
        """One item of a mapping that a task with `multiple_outputs` returns."""
        if not self._keys or not isinstance(key, str):
            raise FlowMistake(
                f"the result of {self.job_id!r} is not known yet, so [{key!r}] cannot be taken of"
                " it; a task with multiple_outputs=True has items by name"
            )
        return Result(self.job_id, is_mapped=self.is_mapped, key=key)

    def __rshift__(self, other: object) -> object:
        """`a >> b`, `a >> [b, c]`: the right one waits for the left one, without its result."""
        for later in other if isinstance(other, list | tuple) else [other]:
            _current_job(later).wait_for(self.job_id)
        return other

    def __rrshift__(self, others: Sequence[object]) -> Result:
        for earlier in others:
            _current_job(self).wait_for(_result(earlier).job_id)
        return self

    def __bool__(self) -> bool:
        raise FlowMistake(
            self._unknown("asked whether it is true", "a short_circuit or branch task")
        )

    def __iter__(self) -> Iterator[object]:
        raise FlowMistake(self._unknown("walked through", "task.map(...) over it"))

    def __len__(self) -> int:
        raise FlowMistake(self._unknown("measured", "a task"))

    def __repr__(self) -> str:
        return f"<result of {self.job_id}>"

    def _unknown(self, done: str, instead: str) -> str:
        return f"the result of {self.job_id!r} is not known yet and cannot be {done}; use {instead}"


class Job:
    """A call of a task, or a command, as it was recorded."""

    __slots__ = (
        "after",
        "args",
        "command",
        "group",
        "id",
        "kwargs",
        "line",
        "mapped",
        "options",
        "task",
    )

    def __init__(self, id: str, options: Options, group: str | None) -> None:
        self.id = id
        self.options = options
        self.group = group
        self.line = _line()
        self.task: Task[..., Any] | None = None
        self.args: tuple[object, ...] = ()
        self.kwargs: Mapping[str, object] = {}
        self.mapped: tuple[str, ...] = ()
        self.command: str | None = None
        self.after: list[str] = []

    def wait_for(self, job_id: str) -> None:
        if job_id == self.id:
            raise FlowMistake(f"{job_id!r} cannot wait for itself")
        if job_id not in self.after:
            self.after.append(job_id)


class Pipeline:
    """A graph of jobs. `with` it, and call tasks."""

    def __init__(self, name: str, settings: Mapping[str, object], include: Sequence[str]) -> None:
        self.name = name
        self.settings = settings
        self.include = tuple(include)
        self.jobs: dict[str, Job] = {}
        self.line = _line()
        self._groups: list[str] = []

    def __enter__(self) -> Pipeline:
        if _Drawing.now is not None:
            raise FlowMistake(f"pipeline {self.name!r} stands inside {_Drawing.now.name!r}")
        _Drawing.now = self
        return self

    def __exit__(self, *exc: object) -> None:
        _Drawing.now = None
        if exc[0] is None:
            _Drawing.done.append(self)

    def add(self, wanted: str, options: Options) -> Job:
        """A new job; a number is added to an id that is taken, unless the id was chosen."""
        prefix = "".join(f"{name}." for name in self._groups)
        id, number = prefix + wanted, 1
        while id in self.jobs:
            if options.get("id") is not None:
                raise FlowMistake(f"the job id {id!r} is used twice")
            number += 1
            id = f"{prefix}{wanted}_{number}"
        job = Job(id, options, prefix.rstrip(".") or None)
        self.jobs[id] = job
        return job

    @contextmanager
    def group(self, name: str) -> Iterator[None]:
        self._groups.append(name)
        try:
            yield
        finally:
            self._groups.pop()


class _Drawing:
    """One pipeline at a time is drawn in a process; a flow file is loaded in one of its own."""

    now: Pipeline | None = None
    done: list[Pipeline] = []  # noqa: RUF012 - this class is the one place for it
    is_for_running = False  # in a task runner the graph is not needed again


def pipeline(
    name: str,
    *,
    description: str | None = None,
    env: Mapping[str, str] | None = None,
    params: Mapping[str, object] | None = None,
    max_workers: int | None = None,
    timeout: Duration | None = None,
    retries: int | None = None,
    retry_delay: Duration | None = None,
    on_error: str | None = None,
    schedule: str | None = None,
    timezone: str | None = None,
    notify: Mapping[str, object] | None = None,
    include: Sequence[str] = (),
) -> Pipeline:
    """A pipeline to be drawn. `include`: files that its tasks need, as globs beside the flow file;
    modules that the flow imports from there travel by themselves. `schedule`: when it starts by
    itself, as cron has it, once it was added with `drawbar schedules add`. `on_error`: continue,
    stop or cancel. `notify`: who hears of it, as in a document: {"email": "ops@example.org",
    "on": ["failure", "question"]}."""
    if timezone is not None and schedule is None:
        raise FlowMistake("timezone is that of a schedule, and there is none")
    settings: dict[str, object] = {
        "description": description,
        "env": dict(env) if env else None,
        "params": dict(params) if params else None,
        "max_workers": max_workers,
        "timeout_s": None if timeout is None else seconds_of(timeout),
        "retry": retry_rule(retries, retry_delay),
        "on_error": on_error,
        "schedule": None if schedule is None else {"cron": schedule, "timezone": timezone or "UTC"},
        "notify": None if notify is None else _lists(notify),
    }
    return Pipeline(name, {k: v for k, v in settings.items() if v is not None}, include)


def _lists(notify: Mapping[str, object]) -> dict[str, object]:
    """One address, or one event, is a list of one."""
    return {
        name: [value] if name in ("on", "email") and isinstance(value, str) else value
        for name, value in notify.items()
    }


def retry_rule(retries: int | None, delay: Duration | None) -> dict[str, object] | None:
    """As the document has it; None when nothing is said."""
    rule: dict[str, object] = {}
    if retries is not None:
        rule["max"] = retries
    if delay is not None:
        rule["delay_s"] = seconds_of(delay)
    return rule or None


@contextmanager
def group(name: str) -> Iterator[None]:
    """Ids of the jobs recorded inside begin with `name.`; groups can be nested."""
    if not name or "/" in name or "." in name:
        raise FlowMistake(f"{name!r} cannot be the name of a group")
    with drawing().group(name):
        yield


def shell(command: str, *, id: str, **options: Any) -> Any:
    """A job that runs a command, among tasks. Options as of `task`. It leaves no result."""
    from drawbar.sdk.tasks import options_of

    job = drawing().add(id, {**options_of(**options), "id": id})
    job.command = command
    return Result(job.id)


def drawing() -> Pipeline:
    """FlowMistake: no pipeline is being drawn."""
    if _Drawing.now is None:
        raise FlowMistake("this belongs inside `with pipeline(...):`")
    return _Drawing.now


def is_drawing() -> bool:
    return _Drawing.now is not None


def is_for_running() -> bool:
    return _Drawing.is_for_running


def draw_no_more() -> None:
    """This process runs a task: pipelines in its module need not be checked again."""
    _Drawing.is_for_running = True


def drawn() -> list[Pipeline]:
    """Every pipeline that was drawn in this process."""
    return _Drawing.done


def results_in(value: object) -> Iterator[Result]:
    """Every result of another job in an argument."""
    if isinstance(value, Result):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from results_in(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from results_in(item)


def _result(value: object) -> Result:
    if not isinstance(value, Result):
        raise FlowMistake(f"expected what the call of a task returned, found {value!r}")
    return value


def _current_job(value: object) -> Job:
    result = _result(value)
    job = drawing().jobs.get(result.job_id)
    if job is None:
        raise FlowMistake(f"{result.job_id!r} is of another pipeline")
    return job


def _line() -> int:
    """Of the flow file, where the caller outside of this package stands."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_globals.get("__name__", "").startswith("drawbar.sdk"):
        frame = frame.f_back
    return 0 if frame is None else frame.f_lineno
