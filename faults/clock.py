"""A wall clock that is set forward and back. The monotonic one goes on as it does."""

import random
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import ParamSpec, TypeVar

from faults.injector import Injector
from faults.points import Action
from shared.runtime import Runtime

P = ParamSpec("P")
T = TypeVar("T")


class FaultyRuntime:
    """`inner`, but for what `now` says. A fault without `times` makes the clock run wrong."""

    def __init__(self, inner: Runtime, service: str, injector: Injector) -> None:
        self.random: random.Random = inner.random
        self._inner = inner
        self._point = f"{service}.clock.read"
        self._injector = injector
        self._skew = timedelta()

    def now(self) -> datetime:
        fault = self._injector.strike(self._point, {})
        if fault is not None:
            sign = 1 if fault.action is Action.CLOCK_FORWARD else -1
            self._skew += sign * timedelta(seconds=fault.seconds)
        return self._inner.now() + self._skew

    def mono(self) -> float:
        return self._inner.mono()

    async def sleep(self, seconds: float) -> None:
        await self._inner.sleep(seconds)

    def new_id(self) -> str:
        return self._inner.new_id()

    def new_secret(self) -> str:
        return self._inner.new_secret()

    async def offload(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._inner.offload(call, *args, **kwargs)
