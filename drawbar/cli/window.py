"""How other terminals look at what a `drawbar run` does: the process serves it to them.

Nothing listens until somebody asks: the server takes a tenth of a second to import. It is on this
machine's own address, on a free port, and wants a token like any other.
"""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Final

from shared.runtime import Runtime

if TYPE_CHECKING:
    from jobstore.service import JobStoreService
    from shared.http.server import Server

HOST: Final = "127.0.0.1"
PARTING_S: Final = 1.0  # for those who follow, to read how it ended


class Window:
    """The job service of a run, for those who look."""

    def __init__(self, data: Path, jobs: "JobStoreService", runtime: Runtime) -> None:
        self._data = data
        self._jobs = jobs
        self._runtime = runtime
        self._server: Server | None = None
        self._opening = asyncio.Lock()

    async def url(self) -> str:
        """Where it can be asked, from now on until it is closed."""
        async with self._opening:
            if self._server is None:
                self._server = await self._start()
            return self._server.url

    async def close(self) -> None:
        """Nobody can look any more."""
        async with self._opening:
            if self._server is not None:
                await self._runtime.sleep(PARTING_S)
                await self._server.stop()
                self._server = None

    async def _start(self) -> "Server":
        from drawbar.cli.keys import keys_of
        from jobstore.app import build_app
        from shared.http.server import Server
        from shared.tokens import Verifier

        verifier = Verifier(keys_of(self._data, self._runtime).signing.public_key(), self._runtime)
        server = Server(build_app(self._jobs, verifier, self._jobs.execution), HOST, 0)
        await server.start()
        return server
