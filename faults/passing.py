"""Calls and requests of a process, as far as one is held until another has passed."""

import asyncio
from contextlib import suppress


class Passing:
    """Who waits for another to go first."""

    def __init__(self) -> None:
        self._another = asyncio.Event()

    def ring(self) -> None:
        """A request has passed."""
        self._another.set()
        self._another = asyncio.Event()

    async def another(self, at_most_s: float) -> None:
        """Another request has passed, or it took too long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(at_most_s):
                await self._another.wait()
