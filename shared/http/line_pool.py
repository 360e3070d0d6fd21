"""The lines to one service: one for new calls, and those that are left until their calls end."""

import asyncio
from collections.abc import Awaitable, Callable

from shared.http.line import Line


class LinePool:
    """Lines that `connect` opens, one at a time and only when one is wanted."""

    def __init__(self, connect: Callable[[], Awaitable[Line]]) -> None:
        self._connect = connect
        self._connecting = asyncio.Lock()
        self._lines: list[Line] = []  # the last takes new calls, the others end with their calls

    async def get(self) -> Line:
        """The line for a new call: another one when the last has ended or has gone silent."""
        if self._lines and self._lines[-1].is_usable:
            return self._lines[-1]
        async with self._connecting:
            if not (self._lines and self._lines[-1].is_usable):
                line = await self._connect()
                self._lines = [*(line for line in self._lines if not line.has_ended), line]
            return self._lines[-1]

    async def close(self) -> None:
        """Every line is closed. Safe to repeat."""
        for line in self._lines:
            await line.close()
