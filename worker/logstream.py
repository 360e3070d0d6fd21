"""An attempt's log on its way: what is new is sent while the job runs, the rest inside finish.

The job writes straight into a file, so nothing is lost when the worker is slow. One ticker
looks at the files of all running jobs; a job shorter than a tick costs no look and no request.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from hashlib import sha256

import structlog

from shared.errors import LogOffsetMismatch, ServiceError, TooLarge
from shared.faultpoints import faultpoint
from shared.protocol.gateway import INLINE_LOG_BYTES, LogChunk, LogSummary
from shared.runtime import Runtime
from shared.services import PIECE_BYTES, Gateway
from worker.backoff import Backoff
from worker.bell import Bell
from worker.lease import Holder
from worker.ports import AttemptFiles

# A byte is looked at within two ticks (the first of a young job is skipped) and must be with
# followers 200 ms after it was written: 2 * 80 ms + 40 ms for the way.
TICK_S = 0.08
CALL_TIMEOUT_S = 30.0

log = structlog.get_logger()


class LogStream:
    """One attempt's log: how much the server holds, and the hash of what was read so far."""

    def __init__(
        self,
        holder: Holder,
        files: AttemptFiles,
        gateway: Gateway,
        runtime: Runtime,
        cancel: Callable[[], None],
    ) -> None:
        self._attempt_id = holder.attempt_id
        self._worker_id = holder.worker_id
        self._fence = holder.fence
        self._files = files
        self._gateway = gateway
        self._runtime = runtime
        self._cancel = cancel
        self._sent = 0  # the server holds [0, sent)
        self._hash = sha256()
        self._hashed = 0  # of the bytes [0, hashed)
        self._backoff = Backoff(runtime, cap_s=5.0)
        self._not_before = runtime.mono() + TICK_S
        self._is_full = False
        self._is_refused = False
        self.sender: asyncio.Task[None] | None = None

    async def has_news(self) -> bool:
        """Whether a sender should be started."""
        if self._is_refused or self.sender is not None or self._runtime.mono() < self._not_before:
            return False
        return await self._files.log_size() > self._sent

    async def send_news(self) -> None:
        """What the log holds now was sent, or the next attempt to do so is put off."""
        try:
            size = await self._files.log_size()
            while self._sent < size and await self._send_piece():
                pass
            self._backoff.reset()
        except (ServiceError, TimeoutError) as error:
            if isinstance(error, ServiceError) and not error.retryable:
                # Settled or superseded: the heartbeat or the finish hears it with its reason.
                self._is_refused = True
            self._not_before = self._runtime.mono() + self._backoff.next_s()
        finally:
            self.sender = None

    def rewind(self, offset: int) -> None:
        """The server holds only the bytes before `offset`."""
        self._sent = offset
        if offset == 0:  # hash again what is sent again, should the job have rewritten it
            self._hash, self._hashed = sha256(), 0

    async def settle(self) -> LogSummary:
        """The job has ended: all but a last piece was sent, and this says what it all was.

        Any error of append_log may come out; call again to go on.
        """
        if self.sender is not None:
            await asyncio.wait([self.sender])
        if self._is_full:
            return await self._cut()
        size = max(await self._files.log_size(), self._hashed)
        while size - self._sent > INLINE_LOG_BYTES:
            if not await self._send_piece():
                break  # the job itself cut its log short: what was read is what there is
        tail = await self._read(self._sent, INLINE_LOG_BYTES) if self._sent < size else b""
        return LogSummary(
            size_bytes=self._sent + len(tail),
            sha256=self._hash.hexdigest(),
            tail_offset=self._sent,
            tail=tail,
            lost_bytes=max(0, size - self._sent - len(tail)),
        )

    def fill(self) -> None:
        """The server takes no more of this log: what it holds is the log, the rest is lost."""
        self._is_full = True

    async def _cut(self) -> LogSummary:
        """What the server holds, and how much it does not."""
        held = sha256()
        for offset in range(0, self._sent, PIECE_BYTES):
            limit = min(PIECE_BYTES, self._sent - offset)
            held.update(await self._files.read_log(offset, limit))
            await self._runtime.sleep(0)  # gigabytes: others have a turn
        return LogSummary(
            size_bytes=self._sent,
            sha256=held.hexdigest(),
            tail_offset=self._sent,
            tail=b"",
            lost_bytes=max(0, await self._files.log_size() - self._sent),
        )

    async def _send_piece(self) -> bool:
        """A piece was sent; False when the file has none."""
        piece = await self._read(self._sent, PIECE_BYTES)
        if not piece:
            return False
        chunk = LogChunk(
            attempt_id=self._attempt_id,
            worker_id=self._worker_id,
            fence=self._fence,
            offset=self._sent,
            size_bytes=len(piece),
        )
        await faultpoint("worker.log.before_send")
        try:
            async with asyncio.timeout(CALL_TIMEOUT_S):
                reply = await self._gateway.append_log(chunk, _once(piece))
        except LogOffsetMismatch as error:
            self._sent = int(error.facts["resume_at"])
        except TooLarge:
            self.fill()
            raise
        else:
            self._sent = reply.next_offset
            if reply.cancel_requested:
                self._cancel()
        return True

    async def _read(self, offset: int, limit: int) -> bytes:
        while self._hashed < offset:  # the server holds more than we remember: hash the gap
            await self._absorb(self._hashed, min(PIECE_BYTES, offset - self._hashed))
        return await self._absorb(offset, limit)

    async def _absorb(self, offset: int, limit: int) -> bytes:
        data = await self._files.read_log(offset, limit)
        fresh = offset + len(data) - self._hashed
        if fresh > 0:
            self._hash.update(data[-fresh:])
            self._hashed += fresh
        elif not data and offset == self._hashed:
            log.warning("log.cut_short", attempt_id=self._attempt_id, offset=offset)
            self._hashed = max(self._hashed, self._sent)
        return data


class LogStreams:
    """The ticker over all running jobs."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._bell = Bell(runtime)
        self._open: dict[LogStream, None] = {}

    def open(self, stream: LogStream) -> None:
        """News of this log are sent as they come."""
        self._open[stream] = None
        if len(self._open) == 1:
            self._bell.ring()

    def close(self, stream: LogStream) -> None:
        """The job has ended; the rest is for `settle`. Safe to repeat."""
        self._open.pop(stream, None)

    async def run(self, group: asyncio.TaskGroup) -> None:
        """Looks and sends, for ever."""
        while True:
            if not self._open:
                await self._bell.wait()
                continue
            await self._runtime.sleep(TICK_S)
            for stream in list(self._open):
                if await stream.has_news():
                    stream.sender = group.create_task(stream.send_news(), name="log")


async def _once(piece: bytes) -> AsyncIterator[bytes]:
    yield piece
