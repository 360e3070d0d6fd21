"""Bytes between a container's streams and descriptors of ours: its log, or the pipes of a task."""

import asyncio
import os
import stat
from contextlib import aclosing
from typing import Final

import structlog
from aiodocker.stream import Message, Stream
from aiohttp import ClientError

from shared.services import PIECE_BYTES
from worker.runners.containers.engine import STDERR, STDOUT, Engine
from worker.tasks.pipes import Writer

COMPLAINT_BYTES: Final = 200
ENDS: Final = (ClientError, OSError, RuntimeError)  # the last: aiodocker, of a closed stream

log = structlog.get_logger()


class Streams:
    """Our ends of the three streams; copies of what was handed in, closed with `close`."""

    def __init__(self, stdin: int | None, stdout: int, stderr: int) -> None:
        self._stdin = None if stdin is None else os.dup(stdin)
        self._outlets = {STDOUT: _outlet(stdout), STDERR: _outlet(stderr)}
        self._passed = {STDOUT: 0, STDERR: 0}
        self.complaint = b""  # the first words on stderr: an init's, if it cannot begin
        self._loop = asyncio.get_running_loop()

    @property
    def has_stdin(self) -> bool:
        return self._stdin is not None

    def close(self) -> None:
        """Safe to repeat."""
        if self._stdin is not None:
            self._loop.remove_reader(self._stdin)
            os.close(self._stdin)
            self._stdin = None
        for outlet in self._outlets.values():
            outlet.close()

    async def pass_on(self, stream: Stream, *, again: bool) -> None:
        """Everything that the container wrote was passed on, until the stream ended or broke.

        `again`: the stream begins with what was passed on before.
        """
        skip = dict(self._passed) if again else {STDOUT: 0, STDERR: 0}
        while (message := await _next(stream)) is not None:
            number = STDERR if message.stream == STDERR else STDOUT
            await self._write(number, message.data, skip)

    async def catch_up(self, engine: Engine, name: str) -> None:
        """What an ended container wrote while nobody listened was passed on."""
        for number in (STDOUT, STDERR):
            skip = dict(self._passed)
            async with aclosing(engine.output(name, number)) as pieces:
                async for piece in pieces:
                    await self._write(number, piece, skip)

    async def _write(self, number: int, data: bytes, skip: dict[int, int]) -> None:
        known = min(skip[number], len(data))
        skip[number] -= known
        fresh = data[known:]
        self._passed[number] += len(fresh)
        if number == STDERR and len(self.complaint) < COMPLAINT_BYTES:
            self.complaint += fresh[:COMPLAINT_BYTES]
        await self._outlets[number].write(fresh)

    async def feed(self, stream: Stream) -> None:
        """What we write comes to the container, until either end is closed."""
        fd = self._stdin
        if fd is None:
            return
        os.set_blocking(fd, False)
        while True:
            await self._until_readable(fd)
            try:
                piece = os.read(fd, PIECE_BYTES)
                if not piece:
                    return
                await stream.write_in(piece)
            except BlockingIOError:
                continue
            except ENDS:
                return

    async def _until_readable(self, fd: int) -> None:
        ready: asyncio.Future[None] = self._loop.create_future()
        self._loop.add_reader(fd, _wake, ready)
        try:
            await ready
        finally:
            self._loop.remove_reader(fd)


class FileOutlet:
    """A file, which takes everything at once, or nothing more when the disk is full."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._is_losing = False

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    async def write(self, data: bytes) -> None:
        left = memoryview(data)
        try:
            while left:
                left = left[os.write(self._fd, left) :]
        except OSError as error:  # the job is not held up, its log has a hole
            if not self._is_losing:
                log.warning("log.cut_short", error=error.strerror)
            self._is_losing = True


def _wake(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)


def _outlet(fd: int) -> FileOutlet | Writer:
    copy = os.dup(fd)
    if stat.S_ISREG(os.fstat(copy).st_mode):
        return FileOutlet(copy)
    return Writer(copy)


async def _next(stream: Stream) -> Message | None:
    """None: the stream has ended, or is broken; only the engine can say which."""
    try:
        return await stream.read_out()
    except ENDS:
        return None
