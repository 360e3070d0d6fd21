"""A sleep that can be cut short: the one way in which the worker's loops wait."""

import asyncio

from shared.runtime import Runtime


class Bell:
    """One waiter, any number of ringers. A ring that nobody waits for is kept, once."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._rung = False
        self._waiter: asyncio.Future[None] | None = None

    def ring(self) -> None:
        """The waiter wakes, now or when it next waits."""
        self._rung = True
        self._wake()

    async def wait(self, at_most_s: float | None = None) -> None:
        """Returns when rung, or after `at_most_s`."""
        if not self._rung:
            self._waiter = asyncio.get_running_loop().create_future()
            if at_most_s is None:
                await self._waiter
            else:
                async with asyncio.TaskGroup() as group:
                    nap = group.create_task(self._runtime.sleep(at_most_s), name="nap")
                    nap.add_done_callback(lambda _: self._wake())
                    await self._waiter
                    nap.cancel()
        self._rung = False

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
