"""An attempt's log on its way: what is new is sent while the job runs, the rest inside finish.

The job writes straight into a file, so nothing is lost when the worker is slow. One ticker
looks at the files of all running jobs; a job shorter than a tick costs no look and no request.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from hashlib import sha256

import structlog

from shared.errors import LogOffsetMismatch, ServiceError, TooLarge, Unavailable
from shared.protocol.gateway import INLINE_LOG_BYTES, LogChunk, LogSummary
from shared.runtime import Runtime
from shared.services import Gateway
from worker.backoff import Backoff
from worker.bell import Bell
from worker.lease import Holder
from worker.logtext import LogText
from worker.ports import AttemptFiles
from worker.tasks.masking import Masker

# A byte is looked at within two ticks (the first of a young job is skipped) and must be with
# followers 200 ms after it was written: 2 * 80 ms + 40 ms for the way.
TICK_S = 0.08
CALL_TIMEOUT_S = 30.0
CHUNK_BYTES = 1 << 20  # of one call, held in memory meanwhile
SENDERS = 16  # at a time: 16 MiB of chunks at most

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
        masker: Masker | None = None,
        limit: int | None = None,
    ) -> None:
        self._attempt_id = holder.attempt_id
        self._worker_id = holder.worker_id
        self._fence = holder.fence
        self._files = files
        self._text = LogText(files, masker or Masker(), limit)
        self._gateway = gateway
        self._runtime = runtime
        self._cancel = cancel
        self._sent = 0  # the server holds [0, sent)
        self._most_held = 0  # by the server, at any time
        self._hash = sha256()
        self._hashed = 0  # of the bytes [0, hashed)
        self._looked_at = 0  # the file's size, when all that could be sent of it was
        self._backoff = Backoff(runtime, cap_s=5.0)
        self._not_before = runtime.mono() + TICK_S
        self._is_full = False
        self._is_refused = False
        self.sender: asyncio.Task[None] | None = None

    async def has_news(self) -> bool:
        """Whether a sender should be started."""
        if self._is_refused or self.sender is not None or self._runtime.mono() < self._not_before:
            return False
        return await self._files.log_size() != self._looked_at

    async def send_news(self) -> None:
        """What the log holds now was sent, or the next attempt to do so is put off."""
        try:
            size = await self._text.look()
            while chunk := await self._next_chunk():
                await self._send(chunk)
            self._looked_at = size
            self._backoff.reset()
        except (ServiceError, TimeoutError) as error:
            if isinstance(error, ServiceError) and not error.retryable:
                # Settled or superseded: the heartbeat or the finish hears it with its reason.
                self._is_refused = True
            self._not_before = self._runtime.mono() + self._backoff.next_s(error)
        finally:
            self.sender = None

    def rewind(self, offset: int) -> None:
        """The server holds only the bytes before `offset`."""
        self._sent = offset
        if offset == 0:  # hash again what is sent again, should the job have rewritten it
            self._hash, self._hashed = sha256(), 0
            self._text.seek(0)

    async def settle(self) -> LogSummary:
        """The job has ended: all but a last piece was sent, and this says what it all was.

        Any error of append_log may come out; call again to go on.
        """
        if self.sender is not None:
            await asyncio.wait([self.sender])
        await self._text.end()
        if self._is_full:
            return await self._cut()
        while True:
            chunk = await self._next_chunk()
            size = sum(map(len, chunk))
            if size <= INLINE_LOG_BYTES:
                break
            await self._send(chunk)
        return LogSummary(
            size_bytes=self._sent + size,
            sha256=self._hash.hexdigest(),
            tail_offset=self._sent,
            tail=b"".join(chunk),
            lost_bytes=self._text.lost_bytes
            + max(self._text.unread_bytes, self._most_held - self._text.out),
        )

    def fill(self) -> None:
        """The server takes no more of this log: what it holds is the log, the rest is lost."""
        self._is_full = True

    async def _cut(self) -> LogSummary:
        """What the server holds, and how much it does not."""
        held = sha256()
        self._text.seek(0)
        while self._text.out < self._sent:
            left = self._sent - self._text.out
            piece = await self._text.read()
            if not piece:
                break
            held.update(piece[:left])
            await self._runtime.sleep(0)  # gigabytes: others have a turn
        return LogSummary(
            size_bytes=self._sent,
            sha256=held.hexdigest(),
            tail_offset=self._sent,
            tail=b"",
            lost_bytes=max(0, await self._files.log_size() - self._sent),
        )

    async def _send(self, chunk: Sequence[bytes]) -> None:
        """The chunk was sent, or the server said where to go on."""
        ask = LogChunk(
            attempt_id=self._attempt_id,
            worker_id=self._worker_id,
            fence=self._fence,
            offset=self._sent,
            size_bytes=sum(map(len, chunk)),
        )
        try:
            async with asyncio.timeout(CALL_TIMEOUT_S):
                reply = await self._gateway.append_log(ask, _each(chunk))
        except LogOffsetMismatch as error:
            self._go_on_at(int(error.facts["resume_at"]), ask)
        except TooLarge:
            self.fill()
            raise
        else:
            if reply.cancel_requested:
                self._cancel()
            self._go_on_at(reply.next_offset, ask)

    def _go_on_at(self, offset: int, sent: LogChunk) -> None:
        """The server holds the bytes before `offset`. Unavailable: it took nothing of the chunk,
        which sent again at once might go on for ever."""
        self._sent = offset
        if offset == sent.offset:
            raise Unavailable(f"the server took nothing of the log at {offset}")

    async def _next_chunk(self) -> list[bytes]:
        """What follows on what the server holds, about CHUNK_BYTES at most; none: there is none."""
        self._text.seek(self._sent)
        chunk: list[bytes] = []
        size = 0
        while size < CHUNK_BYTES:
            place = self._text.out
            piece = await self._text.read()
            if not piece:
                break
            fresh = self._text.out - self._hashed
            if fresh > 0:
                self._hash.update(piece[-fresh:])
                self._hashed = self._text.out
            piece = piece[max(0, self._sent - place) :]  # the server holds what is before
            if piece:
                chunk.append(piece)
                size += len(piece)
        if self._text.out < self._sent:
            # It holds more than we can read. What we sent is what counts: the finish will say so.
            log.warning("log.cut_short", attempt_id=self._attempt_id, offset=self._text.out)
            self._most_held = max(self._most_held, self._sent)
            self._sent = self._text.out
        return chunk


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
            free = SENDERS - sum(stream.sender is not None for stream in self._open)
            for stream in list(self._open):
                if free > 0 and await stream.has_news():
                    stream.sender = group.create_task(stream.send_news(), name="log")
                    free -= 1
                    if stream in self._open:  # the next turn is for the others
                        self._open[stream] = self._open.pop(stream)


async def _each(chunk: Sequence[bytes]) -> AsyncIterator[bytes]:
    for piece in chunk:
        yield piece
