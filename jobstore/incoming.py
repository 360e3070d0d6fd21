"""Artifacts that come in parts: what has arrived is kept, and goes on where it broke off.

Each belongs to the attempt that sends it, so that no other can put bytes of its own among them.
"""

import asyncio
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from shared.errors import BadRequest, PartOffsetMismatch
from shared.files import Files
from shared.ids import AttemptId
from shared.protocol.gateway import ArtifactEntry
from shared.runtime import Runtime
from shared.services import PIECE_BYTES, Body

if TYPE_CHECKING:
    from hashlib import _Hash

FOLDER: Final = "incoming"
WRITE_BYTES: Final = 1 << 20  # at a time: a thread for each 64 KiB takes longer than the disk


@dataclass(slots=True)
class Part:
    """The beginning of an artifact: its size, and the hash of what is there."""

    size: int
    digest: "_Hash"
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class Incoming:
    """The beginnings of artifacts, each a file of its own."""

    def __init__(self, files: Files, runtime: Runtime) -> None:
        self._files = files
        self._runtime = runtime
        self._parts: dict[str, Part] = {}

    async def append(
        self, attempt_id: AttemptId, entry: ArtifactEntry, offset: int, body: Body
    ) -> int:
        """How much of it is here now. PartOffsetMismatch: it goes on elsewhere."""
        path = path_of(attempt_id, entry.sha256)
        part = await self._find(path)
        if not entry.size_bytes:
            await self._files.append(path, 0, b"")  # nothing will come that makes the file
        held = bytearray()
        try:
            async for piece in body:
                if offset != part.size:
                    raise PartOffsetMismatch(resume_at=part.size)
                if offset + len(held) + len(piece) > entry.size_bytes:
                    raise BadRequest(f"artifact {entry.path!r} has more bytes than were announced")
                held += piece
                if len(held) >= WRITE_BYTES:
                    offset = await self._write(path, part, offset, bytes(held))
                    held.clear()
        finally:  # what came before the connection broke need not come again
            if held:
                offset = await self._write(path, part, offset, bytes(held))
        if offset != part.size:
            raise PartOffsetMismatch(resume_at=part.size)
        return part.size

    async def publish(self, attempt_id: AttemptId, entry: ArtifactEntry, target: str) -> None:
        """All of it is at `target`, durable. BadRequest: it is not what was announced."""
        path = path_of(attempt_id, entry.sha256)
        part = self._parts.pop(path, None)
        if part is None:
            return  # the same part came twice, and the other was quicker
        if part.digest.hexdigest() != entry.sha256:
            await self._files.remove(path)
            raise BadRequest(
                f"artifact {entry.path!r} is not what was announced: its SHA-256 differs"
            )
        await self._files.publish(path, target)

    async def sweep(self, is_live: Callable[[AttemptId], bool]) -> None:
        """What was begun by attempts that are over is gone."""
        for name in await self._files.names(FOLDER):
            attempt_id, dot, _ = name.partition(".")
            if dot and not is_live(AttemptId(attempt_id)):
                self._parts.pop(f"{FOLDER}/{name}", None)
                await self._files.remove(f"{FOLDER}/{name}")

    async def _write(self, path: str, part: Part, offset: int, data: bytes) -> int:
        async with part.lock:  # the same range may arrive twice at the same time
            if offset != part.size:
                raise PartOffsetMismatch(resume_at=part.size)
            size = await self._files.append(path, offset, data)
            await self._runtime.offload(part.digest.update, data)
            part.size = size
        return size

    async def _find(self, path: str) -> Part:
        part = self._parts.get(path)
        if part is None:
            part = Part(0, hashlib.sha256())
            while piece := await self._files.read(path, part.size, PIECE_BYTES):
                part.digest.update(piece)
                part.size += len(piece)
            part = self._parts.setdefault(path, part)
        return part


def path_of(attempt_id: AttemptId, sha256: str) -> str:
    return f"{FOLDER}/{attempt_id}.{sha256}"
