"""The three pipes of a task runner, read and written in the event loop and bounded everywhere."""

import asyncio
import os
from contextlib import suppress
from typing import Final

import structlog

from shared.protocol.task import FRAME_BYTES
from shared.services import PIECE_BYTES
from worker.tasks.masking import Masker

MOST_PIECES: Final = 32  # of 64 KiB: a pipe holds 1 MiB at most

log = structlog.get_logger()


class Oversized:
    """Stands for a line that was too long to be read."""


class HalfFrame(Exception):
    """The runner ended in the middle of a line."""


OVERSIZED: Final = Oversized()


class Lines:
    """Lines that a runner writes. While nobody asks for the next one, nothing is read: a runner
    that floods us waits for its pipe."""

    def __init__(self, fd: int) -> None:
        os.set_blocking(fd, False)
        self._fd = fd
        self._loop = asyncio.get_running_loop()
        self._rest = bytearray()
        self._looked_at = 0
        self._is_skipping = False
        self._is_last = False
        self._ready: asyncio.Future[None] | None = None

    def close(self) -> None:
        """Safe to repeat."""
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1

    def end(self) -> None:
        """The runner has ended: what is in the pipe now is all that comes."""
        self._is_last = True
        self._wake()

    async def next(self) -> bytes | Oversized | None:
        """None: there is no more. HalfFrame: there is, but no newline."""
        while True:
            line = self._take()
            if line is not None:
                return line
            if not await self._read():
                if self._rest or self._is_skipping:
                    self._rest.clear()
                    self._is_skipping = False
                    raise HalfFrame
                return None

    def _take(self) -> bytes | Oversized | None:
        end = self._rest.find(b"\n", self._looked_at)
        if end < 0:
            self._looked_at = len(self._rest)
            if len(self._rest) > FRAME_BYTES or self._is_skipping:
                self._is_skipping = True
                self._rest.clear()
                self._looked_at = 0
            return None
        line = bytes(self._rest[: end + 1])
        del self._rest[: end + 1]
        self._looked_at = 0
        if self._is_skipping or len(line) > FRAME_BYTES:
            self._is_skipping = False
            return OVERSIZED
        return line

    async def _read(self) -> bool:
        """More is here; False: there is no more."""
        while self._fd >= 0:
            try:
                piece = os.read(self._fd, PIECE_BYTES)
            except BlockingIOError:
                if self._is_last:
                    return False
                await self._until_ready()
                continue
            self._rest += piece
            return bool(piece)
        return False

    async def _until_ready(self) -> None:
        self._ready = self._loop.create_future()
        self._loop.add_reader(self._fd, self._wake)
        try:
            await self._ready
        finally:
            if self._fd >= 0:
                self._loop.remove_reader(self._fd)

    def _wake(self) -> None:
        if self._ready is not None and not self._ready.done():
            self._ready.set_result(None)


class Writer:
    """Lines for a runner. One that does not read holds nobody up but itself."""

    def __init__(self, fd: int) -> None:
        os.set_blocking(fd, False)
        self._fd = fd
        self._loop = asyncio.get_running_loop()
        self._ready: asyncio.Future[None] | None = None

    def close(self) -> None:
        """Safe to repeat. Nothing is written any more."""
        if self._fd >= 0:
            self._loop.remove_writer(self._fd)
            os.close(self._fd)
            self._fd = -1
            self._wake()

    async def write(self, line: bytes) -> None:
        """The line is on its way, or nobody reads any more."""
        left = memoryview(line)
        while left and self._fd >= 0:
            try:
                left = left[os.write(self._fd, left) :]
            except BlockingIOError:
                await self._until_ready()
            except BrokenPipeError:
                return

    async def _until_ready(self) -> None:
        self._ready = self._loop.create_future()
        self._loop.add_writer(self._fd, self._wake)
        try:
            await self._ready
        finally:
            if self._fd >= 0:
                self._loop.remove_writer(self._fd)

    def _wake(self) -> None:
        if self._ready is not None and not self._ready.done():
            self._ready.set_result(None)


class LogPipe:
    """What the task prints, masked on its way into the attempt's log."""

    def __init__(self, fd: int, file: int, masker: Masker) -> None:
        """Takes over both descriptors."""
        os.set_blocking(fd, False)
        self._fd = fd
        self._file = file
        self._masker = masker
        self._is_losing = False
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(fd, self._pass_on)

    def close(self) -> None:
        """All that was written is in the file. Safe to repeat."""
        for _ in range(MOST_PIECES):  # a process that escaped may go on writing for ever
            if self._fd < 0 or not self._pass_on():
                break
        self._hang_up()

    def note(self, text: str) -> None:
        """A line of the supervisor's own."""
        if self._file >= 0:
            self._keep(f"drawbar: {self._masker.mask_text(text)}\n".encode())

    def _pass_on(self) -> bool:
        """Whether there may be more at once."""
        try:
            piece = os.read(self._fd, PIECE_BYTES)
        except BlockingIOError:
            return False
        if not piece:
            self._hang_up()
            return False
        self._keep(self._masker.feed(piece))
        return True

    def _keep(self, text: bytes) -> None:
        left = memoryview(text)
        try:
            while left:
                left = left[os.write(self._file, left) :]
        except OSError as error:  # the disk is full: the task is not held up, its log has a hole
            if not self._is_losing:
                log.warning("log.cut_short", error=error.strerror)
            self._is_losing = True

    def _hang_up(self) -> None:
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1
            self._keep(self._masker.flush())
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def open_pipe() -> tuple[int, int]:
    """To read and to write; inherited by nobody who is not given them."""
    return os.pipe2(os.O_CLOEXEC)


def close_all(*descriptors: int) -> None:
    for fd in descriptors:
        with suppress(OSError):
            os.close(fd)
