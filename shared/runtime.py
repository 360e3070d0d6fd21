"""The one door to clock, sleep, ids, chance and threads.

Every service is handed a `Runtime` where it is composed and reads none of these elsewhere,
so a test or a simulation owns them all.
"""

import asyncio
import os
import random
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import ParamSpec, Protocol, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class Runtime(Protocol):
    """What the world gives to a service."""

    random: random.Random

    def now(self) -> datetime:
        """Wall clock, aware, UTC. For people and records; never for durations or deadlines."""

    def mono(self) -> float:
        """Monotonic seconds of this process. For durations, leases and deadlines."""

    async def sleep(self, seconds: float) -> None: ...

    def new_id(self) -> str:
        """A UUIDv7 (RFC 9562): unique, and ordered by the time it was made."""

    def new_secret(self) -> str:
        """43 URL-safe characters that carry 256 bits nobody can guess."""

    async def offload(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The result of a blocking `call`, made where it does not hold up the event loop."""


def uuid7(unix_ms: int, rand: int) -> str:
    """RFC 9562 section 5.7 from 48 bits of time and 74 bits of `rand`."""
    high = (unix_ms & 0xFFFF_FFFF_FFFF) << 16 | 0x7000 | (rand >> 62) & 0x0FFF
    low = 0x8000_0000_0000_0000 | rand & 0x3FFF_FFFF_FFFF_FFFF
    text = f"{high:016x}{low:016x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


class SystemRuntime:
    """The real clock, chance and threads of this machine."""

    def __init__(self) -> None:
        self.random = random.Random(os.urandom(32))

    def now(self) -> datetime:
        return datetime.now(UTC)

    def mono(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def new_id(self) -> str:
        return uuid7(time.time_ns() // 1_000_000, self.random.getrandbits(74))

    def new_secret(self) -> str:
        import secrets

        return secrets.token_urlsafe(32)

    async def offload(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await asyncio.to_thread(call, *args, **kwargs)
