"""`@task`: a function that runs as a job.

Called inside `with pipeline(...)` it is recorded; called anywhere else, in a test or in another
task, it is the plain function.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import CodeType
from typing import Any, Generic, ParamSpec, TypeVar, cast, overload

from drawbar.sdk.durations import Duration, seconds_of
from drawbar.sdk.graph import (
    FlowMistake,
    Result,
    drawing,
    is_drawing,
    is_for_running,
    retry_rule,
)
from drawbar.sdk.limits import Limit, limits_of

P = ParamSpec("P")
R = TypeVar("R")

Options = Mapping[str, Any]


class Task(Generic[P, R]):
    """A function that can be a job, and how that job is to be run."""

    def __init__(
        self,
        function: Callable[..., R],
        options: Options,
        decides: str | None = None,
        fixed: Mapping[str, object] | None = None,
    ) -> None:
        self.function = function
        self.chosen = options
        self.decides = decides
        self._fixed = fixed or {}
        self.__name__ = getattr(function, "__name__", "task")
        self.__qualname__ = getattr(function, "__qualname__", self.__name__)
        self.__module__ = function.__module__
        self.__doc__ = function.__doc__
        self.__wrapped__ = function

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """The function's result; while a pipeline is drawn, what stands for it."""
        if not is_drawing():
            return self.function(*args, **{**self._fixed, **kwargs})
        return cast(R, self._record(args, {**self._fixed, **kwargs}, ()))

    def map(self, *args: Any, **kwargs: Any) -> list[R]:
        """One job for each item, side by side, as with the built-in map: `add.map([1, 2], [3, 4])`.

        Each argument is a list, or the result of a task that will return one. What is the same
        for all of them is given by `partial`. The results together are a list.
        """
        if not args and not kwargs:
            raise FlowMistake(f"{self.__name__}.map() needs something to map over")
        names = self._names_of(args)
        items = {**dict(zip(names, args, strict=True)), **kwargs}
        if not is_drawing():
            columns = [list(column) for column in items.values()]
            rows = zip(*columns, strict=True)
            return [
                self.function(**{**self._fixed, **dict(zip(items, row, strict=True))})
                for row in rows
            ]
        for name, column in items.items():
            if not isinstance(column, Result | list | tuple | range):
                raise FlowMistake(
                    f"{self.__name__}.map({name}=…) takes a list or a result,"
                    f" not {type(column).__qualname__}"
                )
        lengths = {len(c) for c in items.values() if isinstance(c, list | tuple | range)}
        if len(lengths) > 1:
            said = ", ".join(str(n) for n in sorted(lengths))
            raise FlowMistake(f"{self.__name__}.map() got lists of different lengths: {said}")
        columns_ = {k: list(v) if isinstance(v, range) else v for k, v in items.items()}
        return cast(list[R], self._record((), {**self._fixed, **columns_}, tuple(items)))

    def partial(self, **kwargs: Any) -> Task[..., R]:
        """The same task with some arguments given."""
        return Task(self.function, self.chosen, self.decides, {**self._fixed, **kwargs})

    def options(self, **options: Any) -> Task[P, R]:
        """The same task, run otherwise. Options as of `task`, and `id`: its id in the pipeline."""
        return Task(
            self.function, {**self.chosen, **options_of(**options)}, self.decides, self._fixed
        )

    def __repr__(self) -> str:
        return f"<task {self.__qualname__}>"

    def _record(
        self, args: tuple[object, ...], kwargs: Mapping[str, object], mapped: tuple[str, ...]
    ) -> Result:
        if not is_for_running():
            self._check(args, kwargs)
        job = drawing().add(self.chosen.get("id") or self.__name__, self.chosen)
        job.task, job.args, job.kwargs, job.mapped = self, args, kwargs, mapped
        return Result(
            job.id,
            is_mapped=bool(mapped),
            has_keys=bool(self.chosen.get("multiple_outputs")) or is_for_running(),
        )

    def _check(self, args: tuple[object, ...], kwargs: Mapping[str, object]) -> None:
        if "<" in self.__qualname__:
            raise FlowMistake(
                f"{self.__qualname__} cannot be a task: a worker finds functions only that are"
                " defined at the top of a module"
            )
        import inspect  # costs 10 ms, which a task that runs need not pay

        try:
            inspect.signature(self.function).bind(*args, **kwargs)
        except TypeError as error:
            raise FlowMistake(f"{self.__name__}(): {error}") from None

    def _names_of(self, args: tuple[object, ...]) -> list[str]:
        """The parameters that positional arguments of `map` stand for."""
        code: CodeType = self.function.__code__
        free = [n for n in code.co_varnames[: code.co_argcount] if n not in self._fixed]
        if len(args) > len(free):
            raise FlowMistake(
                f"{self.__name__}.map() takes {len(free)} lists, but {len(args)} were given"
            )
        return free[: len(args)]


class _Decorator:
    """`@task`, `@task(...)`, `@task.branch`, `@task.short_circuit`."""

    @overload
    def __call__(self, function: Callable[P, R], /) -> Task[P, R]: ...
    @overload
    def __call__(
        self,
        *,
        id: str | None = None,
        retries: int | None = None,
        retry_delay: Duration | None = None,
        timeout: Duration | None = None,
        queue_timeout: Duration | None = None,
        requires: Mapping[str, str] | None = None,
        trigger_rule: str | None = None,
        multiple_outputs: bool = False,
        env: Mapping[str, str] | None = None,
        working_dir: str | None = None,
        artifacts: Sequence[str] = (),
        inputs: Sequence[object] = (),
        after: Sequence[object] = (),
        slots: int | None = None,
        priority: int | None = None,
        allow_failure: bool = False,
        lock: str | None = None,
        approve: bool = False,
        image: str | None = None,
        container: Mapping[str, str] | None = None,
        limits: Mapping[str, Limit] | None = None,
    ) -> Callable[[Callable[P, R]], Task[P, R]]: ...
    def __call__(self, *function: Any, **options: Any) -> Any:
        """The function as a task.

        `trigger_rule`: all_success, one_success, none_failed, all_done or always. `after`: results
        of tasks that have to end first. `inputs`: likewise, and their artifacts are placed in the
        working directory. `multiple_outputs`: the items of the returned dictionary can be used
        one by one, as result["name"]. `image`: of the container in which it runs, with Python 3.11
        or newer; `container`: how that is run (pull, network, user, workspace). `limits`: what it
        may take of the machine, as in a document: `{"memory": "2G", "cpus": 1.5}`.
        """
        return self._make(function, options, None)

    @overload
    def branch(self, function: Callable[P, R], /) -> Task[P, R]: ...
    @overload
    def branch(self, **options: Any) -> Callable[[Callable[P, R]], Task[P, R]]: ...
    def branch(self, *function: Any, **options: Any) -> Any:
        """The task returns the id, or a list of ids, of those that go on after it; the rest of
        what waits for it is skipped. None: all of it is skipped."""
        return self._make(function, options, "branch")

    @overload
    def short_circuit(self, function: Callable[P, R], /) -> Task[P, R]: ...
    @overload
    def short_circuit(self, **options: Any) -> Callable[[Callable[P, R]], Task[P, R]]: ...
    def short_circuit(self, *function: Any, **options: Any) -> Any:
        """What waits for the task is skipped, unless it returns something true."""
        return self._make(function, options, "short_circuit")

    def _make(self, function: tuple[Any, ...], options: Options, decides: str | None) -> Any:
        read = options_of(**options)

        def decorate(function: Callable[P, R]) -> Task[P, R]:
            return Task(function, read, decides)

        return decorate(*function) if function else decorate


task = _Decorator()

TRIGGER_RULES = ("all_success", "one_success", "none_failed", "all_done", "always")
_PLAIN = {
    "env",
    "requires",
    "working_dir",
    "artifacts",
    "slots",
    "priority",
    "allow_failure",
    "lock",
    "approve",
    "image",
    "container",
}
_OWN = {"id", "trigger_rule", "multiple_outputs", "after", "inputs", "retry"}
_DURATIONS = {"timeout": "timeout_s", "queue_timeout": "queue_timeout_s"}


def options_of(
    *, retries: int | None = None, retry_delay: Duration | None = None, **options: Any
) -> Options:
    """Options under the names that a job has for them. FlowMistake: an unknown one."""
    read: dict[str, Any] = {}
    for name, value in options.items():
        if name in _DURATIONS:
            read[_DURATIONS[name]] = None if value is None else seconds_of(value)
        elif name == "limits":
            read[name] = limits_of(value or {})
        elif name in _PLAIN or name in _OWN:
            read[name] = value
        else:
            raise FlowMistake(f"a task has no option {name!r}")
    rule = read.get("trigger_rule")
    if rule is not None and rule not in TRIGGER_RULES:
        raise FlowMistake(f"trigger_rule is one of {', '.join(TRIGGER_RULES)}, not {rule!r}")
    if (retry := retry_rule(retries, retry_delay)) is not None:
        read["retry"] = retry
    return read
