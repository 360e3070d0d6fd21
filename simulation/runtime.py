"""The `Runtime` of one simulated process: virtual clocks, seeded ids and chance, no threads."""

import asyncio
import base64
import functools
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final, ParamSpec, TypeVar

from shared.runtime import uuid7
from simulation.process import Process
from simulation.world import EPOCH

P = ParamSpec("P")
T = TypeVar("T")

START: Final = datetime.fromtimestamp(EPOCH, UTC)


class SimRuntime:
    """Clocks of the process's machine. The wall clock may be stepped; the monotonic one is this
    incarnation's own, so a reading of another process or of an earlier life means nothing."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._loop = process.loop
        self.random = random.Random(f"process-{self._loop.seed}-{process.label}")

    def now(self) -> datetime:
        return START + timedelta(seconds=self._process.machine.wall_s(self._loop.now))

    def mono(self) -> float:
        return self._loop.now + self._process.mono_base

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def new_id(self) -> str:
        return uuid7(int(self.now().timestamp() * 1_000), self.random.getrandbits(74))

    def new_secret(self) -> str:
        return base64.urlsafe_b64encode(self.random.randbytes(32)).decode().rstrip("=")

    async def offload(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._loop.run_in_executor(None, functools.partial(call, *args, **kwargs))
