"""What triggers may reach outside of the database, as whoever composes the service decides."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pydantic import JsonValue

from jobstore.triggers.kinds import Http
from shared.protocol.execution import Connection


class NotYet(Exception):
    """What is waited for is not so; the message says how it is."""


class MayNot(Exception):
    """This job service will never look there; the message says why, and the remedy."""


class Web(Protocol):
    """Asks servers."""

    def lane(self, wanted: Http) -> str:
        """Where it goes: only a few at a time are asked there."""

    async def look(self, wanted: Http, login: Connection | None) -> JsonValue:
        """The event: the answer is as it is wanted. NotYet, MayNot."""

    async def close(self) -> None: ...


@dataclass(slots=True)
class Outside:
    """Nothing of it, unless it is given."""

    folders: tuple[Path, ...] = ()  # below which files may be waited for; with links resolved
    new_web: Callable[[], Web] | None = None  # called at the first HTTP condition
    doorstep: Callable[[], Awaitable[str]] | None = None  # the URL at which callbacks arrive

    def doorstep_at(self, url: str) -> None:
        """Callbacks arrive there, unless it was said before where they do."""

        async def doorstep() -> str:
            return url

        if self.doorstep is None:
            self.doorstep = doorstep
