"""A Runtime whose time stands still until a test moves it."""

import asyncio
import heapq
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import ParamSpec, TypeVar

from shared.runtime import uuid7

P = ParamSpec("P")
T = TypeVar("T")

T0 = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
SETTLING_TURNS = 20  # of the event loop: enough for a woken loop to do a memory-only round


class ManualRuntime:
    """Wall clock at T0, monotonic clock at 1,000 s, ids and chance from `seed`."""

    def __init__(self, seed: int = 0) -> None:
        self.random = random.Random(seed)
        self._now = T0
        self._mono = 1_000.0
        self._asleep: list[tuple[float, int, asyncio.Future[None]]] = []
        self._slept = 0
        self._more_asleep = asyncio.Condition()

    def now(self) -> datetime:
        return self._now

    def mono(self) -> float:
        return self._mono

    async def sleep(self, seconds: float) -> None:
        """Returns when `advance` has moved the clock past it; at once when not positive."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        woken = asyncio.get_running_loop().create_future()
        self._slept += 1
        heapq.heappush(self._asleep, (self._mono + seconds, self._slept, woken))
        async with self._more_asleep:
            self._more_asleep.notify_all()
        await woken

    def new_id(self) -> str:
        return uuid7(int(self._now.timestamp() * 1_000), self.random.getrandbits(74))

    def new_secret(self) -> str:
        return f"{self.random.getrandbits(256):043x}"[:43]

    async def offload(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await asyncio.to_thread(call, *args, **kwargs)

    # -- what a test does with it -------------------------------------------------------------

    async def advance(self, seconds: float) -> None:
        """Both clocks are `seconds` later; sleepers woke one by one, each at its own moment.

        Between two moments the event loop turns a few times, so that a loop can go to sleep
        again and be woken again. Work on a thread or a socket is not waited for: await its result.
        """
        end = self._mono + seconds
        await self._settle()
        while self._asleep and self._asleep[0][0] <= end:
            at, _, woken = heapq.heappop(self._asleep)
            self._move_to(max(at, self._mono))
            if not woken.done():
                woken.set_result(None)
                await self._settle()
        self._move_to(end)
        await self._settle()

    def step_wall_clock(self, seconds: float) -> None:
        """Somebody set the clock of the machine; monotonic time does not notice."""
        self._now += timedelta(seconds=seconds)

    @property
    def asleep(self) -> int:
        """How many sleep."""
        return sum(not woken.done() for _, _, woken in self._asleep)

    async def until_asleep(self, count: int = 1) -> None:
        """At least `count` sleep."""
        async with self._more_asleep:
            await self._more_asleep.wait_for(lambda: self.asleep >= count)

    def _move_to(self, mono: float) -> None:
        self._now += timedelta(seconds=mono - self._mono)
        self._mono = mono

    async def _settle(self) -> None:
        for _ in range(SETTLING_TURNS):
            await asyncio.sleep(0)
