"""Artifacts by content: a blob's name is its SHA-256, so the same bytes are stored once."""

import hashlib
from collections.abc import Iterable

from shared.errors import BadRequest, TooLarge
from shared.files import Files
from shared.protocol.gateway import ArtifactEntry
from shared.runtime import Runtime
from shared.services import PIECE_BYTES, Body


class Artifacts:
    """Blobs, verified before they can be seen."""

    def __init__(self, files: Files, runtime: Runtime, *, max_bytes: int) -> None:
        self._files = files
        self._runtime = runtime
        self._max_bytes = max_bytes

    async def put(self, entry: ArtifactEntry, body: Body) -> None:
        """The bytes are durable under their hash. BadRequest: they are not what was announced."""
        if entry.size_bytes > self._max_bytes:
            raise TooLarge(
                f"artifact {entry.path!r} has {entry.size_bytes} bytes, {self._max_bytes} may be",
                limit=self._max_bytes,
            )
        if await self.has(entry.sha256):
            return
        temporary = f"incoming/{self._runtime.new_id()}"
        try:
            await self._receive(entry, body, temporary)
            await self._files.publish(temporary, path_of(entry.sha256))
        except BaseException:
            await self._files.remove(temporary)
            raise

    async def missing(self, entries: Iterable[ArtifactEntry]) -> tuple[str, ...]:
        """Paths whose bytes are not here yet."""
        known: dict[str, bool] = {}
        for entry in entries:
            if entry.sha256 not in known:
                known[entry.sha256] = await self.has(entry.sha256)
        return tuple(entry.path for entry in entries if not known[entry.sha256])

    async def has(self, sha256: str) -> bool:
        return await self._files.exists(path_of(sha256))

    async def read(self, sha256: str) -> Body:
        """The blob's bytes, in pieces."""
        offset = 0
        while piece := await self._files.read(path_of(sha256), offset, PIECE_BYTES):
            yield piece
            offset += len(piece)

    async def _receive(self, entry: ArtifactEntry, body: Body, temporary: str) -> None:
        size, digest = 0, hashlib.sha256()
        await self._files.append(temporary, 0, b"")
        async for piece in body:
            if size + len(piece) > entry.size_bytes:
                raise BadRequest(f"artifact {entry.path!r} has more bytes than were announced")
            size = await self._files.append(temporary, size, piece)
            digest.update(piece)
        if size != entry.size_bytes or digest.hexdigest() != entry.sha256:
            raise BadRequest(
                f"artifact {entry.path!r} is not what was announced: {size} bytes arrived"
                f" of {entry.size_bytes}, or their SHA-256 differs"
            )


def path_of(sha256: str) -> str:
    return f"blobs/{sha256[:2]}/{sha256}"
