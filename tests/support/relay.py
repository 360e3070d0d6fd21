"""A wire between two daemons that a test can cut: nothing passes, and nobody is told."""

import asyncio
from contextlib import suppress


class Relay:
    """Passes TCP connections on to `port`. While it is cut, bytes vanish and connections hang."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._whole = asyncio.Event()
        self._whole.set()
        self._server: asyncio.Server | None = None
        self._ends: list[asyncio.StreamWriter] = []

    @property
    def url(self) -> str:
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._connect, "127.0.0.1", 0)

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            self.mend()

    def cut(self) -> None:
        self._whole.clear()

    def mend(self) -> None:
        """New connections pass. What was open has lost bytes, and is closed."""
        for end in self._ends:
            end.close()
        self._ends.clear()
        self._whole.set()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._ends.append(writer)
        await self._whole.wait()
        with suppress(OSError):
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._port)
            self._ends.append(far_writer)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pass(reader, far_writer), name="there")
                group.create_task(self._pass(far_reader, writer), name="back")

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65_536):
                if self._whole.is_set():
                    writer.write(data)
                    await writer.drain()
        writer.close()
