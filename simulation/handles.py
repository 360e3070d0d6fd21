"""Tasks, futures and callbacks of a simulated loop: the same in every run, and light."""

import asyncio
import functools
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any


class Task(asyncio.Task[Any]):
    """Hashed by the order of creation, so a set of tasks has the same order in every run."""

    def __init__(self, coro: Coroutine[Any, Any, Any], *, number: int, **kwargs: Any) -> None:
        self._number = number
        super().__init__(coro, **kwargs)

    def __hash__(self) -> int:
        return self._number


class Future(asyncio.Future[Any]):
    """Hashed by the order of the first use of its hash: few are ever asked for it."""

    _number = 0

    def __hash__(self) -> int:
        if self._number == 0:
            self._number = self.get_loop().next_hash()  # type: ignore[attr-defined]  # it is ours
        return self._number


class Handle(asyncio.Handle):
    """A callback that waits. Like asyncio's own, but for its looks at the loop's debug mode."""

    __slots__ = ()

    def __init__(
        self,
        callback: Callable[..., object],
        args: Any,
        loop: asyncio.AbstractEventLoop,
        context: Context,
    ) -> None:
        self._context = context
        self._loop = loop
        self._callback = callback
        self._args = args
        self._cancelled = False
        self._repr = None
        self._source_traceback = None

    def cancel(self) -> None:
        if not self._cancelled:
            self._cancelled = True
            self._callback = self._args = None  # type: ignore[assignment]  # as asyncio does


class TimerHandle(Handle, asyncio.TimerHandle):
    """The same, at a time that its process reads on its own clock."""

    __slots__ = ()

    def __init__(
        self,
        when: float,
        callback: Callable[..., object],
        args: Any,
        loop: asyncio.AbstractEventLoop,
        context: Context,
    ) -> None:
        Handle.__init__(self, callback, args, loop, context)
        self._when = when
        self._scheduled = False


def label_of(handle: asyncio.Handle) -> str:
    call: Any = handle._callback  # type: ignore[attr-defined]  # asyncio's own slot
    while type(call) is functools.partial:
        call = call.func
    owner = getattr(call, "__self__", None)
    if isinstance(owner, asyncio.Task):
        return owner.get_name()
    return getattr(call, "__qualname__", None) or type(call).__name__


def where_is(task: asyncio.Task[Any]) -> str:
    frames = task.get_stack(limit=1)
    return f"{frames[0].f_code.co_filename}:{frames[0].f_lineno}" if frames else "?"
