"""A wall clock that is wrong while a fault lasts. The monotonic one goes on as it does."""

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
    """`inner`, but for what `now` says. When no fault lasts, it is right again."""

    def __init__(self, inner: Runtime, service: str, injector: Injector) -> None:
        self.random: random.Random = inner.random
        self._inner = inner
        self._point = f"{service}.clock.read"
        self._injector = injector

    def now(self) -> datetime:
        wrong_s = 0.0
        for fault, lasts_s in self._injector.lasting(self._point):
            is_skew = fault.action is Action.CLOCK_SKEW
            wrong_s += fault.seconds if is_skew else (fault.rate - 1) * lasts_s
        return self._inner.now() + timedelta(seconds=wrong_s)

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
