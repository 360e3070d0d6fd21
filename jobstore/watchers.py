"""Followers of something that changes: they wait for its key, and are woken, never polled."""

import asyncio
from collections.abc import Hashable, Iterator
from contextlib import contextmanager, suppress


class Change:
    """The next change of a key."""

    def __init__(self) -> None:
        self._happened = asyncio.Event()

    async def wait(self, timeout_s: float) -> None:
        """Returns at the change, or after `timeout_s`."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._happened.wait()

    def happen(self) -> None:
        self._happened.set()


class Watchers:
    """Who waits for which key. Keys are tuples such as ("run", 7)."""

    def __init__(self) -> None:
        self._waiting: dict[Hashable, list[Change]] = {}

    @contextmanager
    def watching(self, key: Hashable) -> Iterator[Change]:
        """A change that happens from now on. Look after taking it, so that none is missed."""
        change = Change()
        self._waiting.setdefault(key, []).append(change)
        try:
            yield change
        finally:
            waiting = self._waiting.get(key, [])
            if change in waiting:
                waiting.remove(change)
                if not waiting:
                    del self._waiting[key]

    def notify(self, key: Hashable) -> None:
        """Whoever waits for `key` goes on."""
        for change in self._waiting.pop(key, ()):
            change.happen()
