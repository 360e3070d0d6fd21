"""What may stand between the parts of a daemon: nothing, unless it was started to be disturbed.

`faults.daemon.FaultyDaemon` is the other implementation.
"""

from typing import TYPE_CHECKING, Protocol, TypeVar

from shared.files import Files
from shared.runtime import Runtime

if TYPE_CHECKING:
    from aiohttp import web

    from shared.tokens import Verifier

Part = TypeVar("Part")


class Interference(Protocol):
    """Handed in where a daemon is composed; started before its other parts."""

    @property
    def runtime(self) -> Runtime:
        """What the parts are to use."""

    def calls(self, part: Part) -> Part:
        """Another service, as this one is to call it."""

    def serves(self, part: Part) -> Part:
        """This service, as others are to reach it."""

    def files(self, files: Files) -> Files: ...

    def disk(self, verb: str) -> None:
        """A step of a worker on its disk may go on. OSError: it fails, as disks do."""

    def add_routes(self, app: "web.Application", verifier: "Verifier") -> None: ...

    def within(self, service: str) -> "Interference":
        """The same, for another service of this process."""

    async def start(self) -> None: ...

    async def stop(self) -> None: ...


class Undisturbed:
    """Everything as it is."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime

    def calls(self, part: Part) -> Part:
        return part

    def serves(self, part: Part) -> Part:
        return part

    def files(self, files: Files) -> Files:
        return files

    def disk(self, verb: str) -> None:
        """It may."""

    def add_routes(self, app: "web.Application", verifier: "Verifier") -> None:
        """There is nothing to change."""

    def within(self, service: str) -> Interference:
        return self

    async def start(self) -> None:
        """Nothing to do."""

    async def stop(self) -> None:
        """Nothing was done."""
