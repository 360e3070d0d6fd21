"""Logs that are streamed while the job runs: appended at an offset, hashed as they grow.

The server's copy is the truth about how far a log has come. A log that fits into its finish goes
into the database instead (docs/adr/0004). Beside a log lies when each part of it came.
"""

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import structlog

from jobstore.log_times import Arrival, packed, unpacked
from shared.errors import LogOffsetMismatch, TooLarge
from shared.files import Files
from shared.ids import AttemptId
from shared.runtime import Runtime
from shared.services import PIECE_BYTES, Body

if TYPE_CHECKING:
    from hashlib import _Hash

logger = structlog.get_logger()

WRITE_BYTES: Final = 1 << 20  # at a time: a thread for each 64 KiB takes longer than the disk
HELD_BYTES: Final = 64 << 20  # of all logs; beyond that each piece is written as it comes


@dataclass(slots=True)
class OpenLog:
    """A log that still grows: its size, and the hash of what is there."""

    size: int
    digest: "_Hash"
    times_size: int
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class Logs:
    """The log files of attempts."""

    def __init__(self, files: Files, runtime: Runtime, *, max_bytes: int) -> None:
        self._files = files
        self._runtime = runtime
        self._max_bytes = max_bytes
        self._open: dict[AttemptId, OpenLog] = {}
        self._held_bytes = 0

    def __len__(self) -> int:
        """How many logs grow."""
        return len(self._open)

    async def append(self, attempt_id: AttemptId, offset: int, size_bytes: int, body: Body) -> int:
        """The new size. LogOffsetMismatch: the log ends elsewhere. TooLarge: it may not grow
        that far. Nothing was appended then."""
        if offset + size_bytes > self._max_bytes:
            limit = self._max_bytes
            raise TooLarge(f"a log may have {limit} bytes", what="log", limit=limit)
        log = await self._find(attempt_id)
        held = bytearray()
        try:
            async for piece in body:
                if offset != log.size:
                    raise LogOffsetMismatch(resume_at=log.size)
                held += piece
                self._held_bytes += len(piece)
                if len(held) >= WRITE_BYTES or self._held_bytes > HELD_BYTES:
                    self._held_bytes -= len(held)
                    piece, held = bytes(held), bytearray()
                    offset = await self._write(attempt_id, log, offset, piece)
        finally:  # what came before the connection broke need not come again
            self._held_bytes -= len(held)
            if held:
                offset = await self._write(attempt_id, log, offset, bytes(held))
        if offset != log.size:
            raise LogOffsetMismatch(resume_at=log.size)
        return log.size

    async def complete(self, attempt_id: AttemptId, size: int, sha256: str) -> int | None:
        """None: the log is whole, verified and durable. Else: send it again from there."""
        log = await self._find(attempt_id)
        async with log.lock:
            if log.size < size:
                return log.size
            if log.size > size or log.digest.hexdigest() != sha256:
                await self._begin_anew(attempt_id, log)
                return 0
            try:
                await self._files.sync(path_of(attempt_id))
            except OSError as error:
                # What was written may be gone, and a second sync would not tell (Rebello et al.,
                # ATC 2020). The worker has it still, for a file that never failed.
                logger.error("log.not_synced", attempt_id=attempt_id, error=str(error))
                await self._files.remove(path_of(attempt_id))
                await self._begin_anew(attempt_id, log)
                return 0
        return None

    def close(self, attempt_id: AttemptId) -> None:
        """The log grows no more."""
        self._open.pop(attempt_id, None)

    async def read(self, attempt_id: AttemptId, offset: int) -> bytes:
        """The next piece from `offset`; empty at the end."""
        return await self._files.read(path_of(attempt_id), offset, PIECE_BYTES)

    async def arrivals(self, attempt_id: AttemptId, skip: int) -> Sequence[Arrival]:
        """When the parts of the log came, in order, without the first `skip`; not always all."""
        return await unpacked(self._files, times_path_of(attempt_id), skip)

    async def _begin_anew(self, attempt_id: AttemptId, log: OpenLog) -> None:
        """Nothing of the log is here."""
        log.size = await self._files.append(path_of(attempt_id), 0, b"")
        log.times_size = await self._files.append(times_path_of(attempt_id), 0, b"")
        log.digest = hashlib.sha256()

    async def _write(self, attempt_id: AttemptId, log: OpenLog, offset: int, data: bytes) -> int:
        """The new size of the log, which `data` is now a part of."""
        now = self._runtime.now()
        async with log.lock:  # the same range may arrive twice at the same time
            if offset != log.size:
                raise LogOffsetMismatch(resume_at=log.size)
            size = await self._files.append(path_of(attempt_id), offset, data)
            # Of the two files that one counts: a time too many is of a part that comes again.
            log.times_size = await self._files.append(
                times_path_of(attempt_id), log.times_size, packed(Arrival(offset, now))
            )
            if len(data) <= PIECE_BYTES:
                log.digest.update(data)
            else:
                await self._runtime.offload(log.digest.update, data)
            log.size = size
        return size

    async def _find(self, attempt_id: AttemptId) -> OpenLog:
        log = self._open.get(attempt_id)
        if log is None:
            log = OpenLog(0, hashlib.sha256(), 0)
            while piece := await self._files.read(path_of(attempt_id), log.size, PIECE_BYTES):
                log.digest.update(piece)
                log.size += len(piece)
            while piece := await self._files.read(
                times_path_of(attempt_id), log.times_size, PIECE_BYTES
            ):
                log.times_size += len(piece)
            log = self._open.setdefault(attempt_id, log)
        return log


def path_of(attempt_id: AttemptId) -> str:
    """Spread over folders by the last digits, which are random in a UUIDv7."""
    return f"logs/{attempt_id[-2:]}/{attempt_id}"


def times_path_of(attempt_id: AttemptId) -> str:
    return f"{path_of(attempt_id)}.times"
