"""Asking a service that may be away for a moment: being restarted, or shedding load."""

from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from drawbar.cli.render.words import duration
from shared.errors import ServiceError
from shared.runtime import Runtime

T = TypeVar("T")

FOR_S: Final = 300.0  # longer than a service takes to come back by itself
AGAIN_S: Final = 1.0


class Patience:
    """How long a service has been away, and whether to go on asking it."""

    def __init__(self, runtime: Runtime, note: Callable[[str], None]) -> None:
        self._runtime = runtime
        self._note = note
        self._away_since: float | None = None

    def heard(self) -> None:
        """The service answered."""
        if self._away_since is not None:
            self._note("the job service is back")
        self._away_since = None

    async def bear(self, error: ServiceError) -> None:
        """A moment has passed, and it is worth asking again; else `error` is raised."""
        if not error.retryable:
            raise error
        now = self._runtime.mono()
        if self._away_since is None:
            self._away_since = now
            self._note(f"the job service is away; asking again for {duration(FOR_S)}")
        elif now - self._away_since > FOR_S:
            raise error
        await self._runtime.sleep(AGAIN_S)

    async def ask(self, verb: Callable[[], Awaitable[T]]) -> T:
        """What `verb` returned, which is safe to send again."""
        while True:
            try:
                answer = await verb()
            except ServiceError as error:
                await self.bear(error)
            else:
                self.heard()
                return answer
