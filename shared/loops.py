"""The background loops of one service, owned by one TaskGroup.

A loop is a `…_once` function and the boring shell here. A loop that dies takes the others with
it and sets `failure`; whoever started the service watches that and stops the process.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import structlog

from shared.errors import ServiceError
from shared.runtime import Runtime

log = structlog.get_logger()


class Loops:
    """Named loops with `start()` and `stop()`. Add them before starting."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._loops: list[tuple[str, Callable[[], Coroutine[Any, Any, None]]]] = []
        self._owner: asyncio.Task[None] | None = None
        self.failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def add(self, name: str, loop: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run `loop`, which returns only when its work is done for good."""
        self._loops.append((name, loop))

    def every(self, name: str, interval_s: float, once: Callable[[], Awaitable[object]]) -> None:
        """Call `once` again and again with `interval_s` between; what the system did is logged."""

        async def shell() -> None:
            while True:
                try:
                    await once()
                except ServiceError as error:
                    if not error.retryable:
                        raise
                    log.warning("loop.hindered", loop=name, error=error.code, **error.facts)
                await self._runtime.sleep(interval_s)

        self.add(name, shell)

    async def start(self) -> None:
        """Every loop runs."""
        if self._owner is None:
            loop = asyncio.get_running_loop()
            self._owner = loop.create_task(self._own(), name="loops")

    async def stop(self) -> None:
        """No loop runs any more."""
        owner, self._owner = self._owner, None
        if owner is not None:
            owner.cancel()
            await asyncio.wait([owner])

    async def _own(self) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                for name, loop in self._loops:
                    group.create_task(loop(), name=name)
        except BaseExceptionGroup as failed:
            log.error("loop.died", error=repr(failed.exceptions[0]))
            if not self.failure.done():
                self.failure.set_exception(failed.exceptions[0])
                self.failure.exception()  # retrieved: watching it is optional
