"""Logs that are streamed while the job runs: appended at an offset, hashed as they grow.

The server's copy is the truth about how far a log has come. A log that fits into its finish goes
into the database instead (docs/adr/0004).
"""

import asyncio
import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from shared.errors import LogOffsetMismatch, TooLarge
from shared.files import Files
from shared.ids import AttemptId
from shared.services import PIECE_BYTES, Body

if TYPE_CHECKING:
    from hashlib import _Hash


@dataclass(slots=True)
class OpenLog:
    """A log that still grows: its size, and the hash of what is there."""

    size: int
    digest: "_Hash"
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class Logs:
    """The log files of attempts."""

    def __init__(self, files: Files, *, max_bytes: int) -> None:
        self._files = files
        self._max_bytes = max_bytes
        self._open: dict[AttemptId, OpenLog] = {}

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
        async for piece in body:
            async with log.lock:  # the same range may arrive twice at the same time
                if offset != log.size:
                    raise LogOffsetMismatch(resume_at=log.size)
                log.size = await self._files.append(path_of(attempt_id), offset, piece)
                log.digest.update(piece)
                offset = log.size
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
                log.size = await self._files.append(path_of(attempt_id), 0, b"")
                log.digest = hashlib.sha256()
                return 0
            await self._files.sync(path_of(attempt_id))
        return None

    def close(self, attempt_id: AttemptId) -> None:
        """The log grows no more."""
        self._open.pop(attempt_id, None)

    async def read(self, attempt_id: AttemptId, offset: int) -> bytes:
        """The next piece from `offset`; empty at the end."""
        return await self._files.read(path_of(attempt_id), offset, PIECE_BYTES)

    async def _find(self, attempt_id: AttemptId) -> OpenLog:
        log = self._open.get(attempt_id)
        if log is None:
            log = OpenLog(0, hashlib.sha256())
            while piece := await self._files.read(path_of(attempt_id), log.size, PIECE_BYTES):
                log.digest.update(piece)
                log.size += len(piece)
            log = self._open.setdefault(attempt_id, log)
        return log


def path_of(attempt_id: AttemptId) -> str:
    """Spread over folders by the last digits, which are random in a UUIDv7."""
    return f"logs/{attempt_id[-2:]}/{attempt_id}"
