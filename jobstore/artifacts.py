"""Artifacts by content: a blob's name is its SHA-256, so the same bytes are stored once."""

import asyncio
import hashlib
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

from jobstore.incoming import FOLDER, Incoming
from shared.errors import BadRequest, TooLarge, UnknownArtifact
from shared.files import Files
from shared.ids import AttemptId
from shared.protocol.gateway import ArtifactEntry, ArtifactManifest, ArtifactUpload
from shared.runtime import Runtime
from shared.services import PIECE_BYTES, Body


class Artifacts:
    """Blobs, verified before they can be seen.

    A blob that nothing uses can be discarded. Who is about to use one keeps it meanwhile: from
    looking whether it is there until the attempt that has it is in the database.
    """

    def __init__(self, files: Files, runtime: Runtime, *, max_bytes: int) -> None:
        self._files = files
        self._runtime = runtime
        self._max_bytes = max_bytes
        self._incoming = Incoming(files, runtime)
        self._kept: Counter[str] = Counter()
        self._leaving: dict[str, asyncio.Event] = {}

    @contextmanager
    def keep(self, hashes: Iterable[str]) -> Iterator[None]:
        """Meanwhile no discarding of these begins, and `has` tells the truth about them."""
        kept = list(hashes)
        self._kept.update(kept)
        try:
            yield
        finally:
            self._kept.subtract(kept)
            for sha256 in kept:
                if not self._kept[sha256]:
                    del self._kept[sha256]  # a counter deletes what it has not without a word

    async def put(self, entry: ArtifactEntry, body: Body) -> None:
        """The bytes are durable under their hash. BadRequest: they are not what was announced."""
        self._check_size(entry)
        with self.keep([entry.sha256]):
            if not await self.has(entry.sha256):
                await self._store(entry, body)

    async def put_part(self, upload: ArtifactUpload, body: Body) -> int:
        """How much of the artifact is here now; at its size, it is as `put` leaves it."""
        entry = upload.entry
        self._check_size(entry)
        with self.keep([entry.sha256]):
            if await self.has(entry.sha256):
                return entry.size_bytes
            size = await self._incoming.append(upload.attempt_id, entry, upload.offset, body)
            if size == entry.size_bytes:
                await self._incoming.publish(upload.attempt_id, entry, path_of(entry.sha256))
        return size

    async def missing(self, entries: Iterable[ArtifactEntry]) -> tuple[str, ...]:
        """Paths whose bytes are not here yet."""
        known: dict[str, bool] = {}
        for entry in entries:
            if entry.sha256 not in known:
                known[entry.sha256] = await self.has(entry.sha256)
        return tuple(entry.path for entry in entries if not known[entry.sha256])

    async def has(self, sha256: str) -> bool:
        if sha256 in self._leaving:
            await self._leaving[sha256].wait()
        return await self._files.exists(path_of(sha256))

    async def discard(self, sha256: str, is_used: Callable[[str], Awaitable[bool]]) -> bool:
        """The blob is gone, unless it is used. False: somebody keeps it; ask again later."""
        if self._kept[sha256] or sha256 in self._leaving:
            return False
        done = self._leaving[sha256] = asyncio.Event()
        try:
            if not await is_used(sha256):
                await self._files.remove(path_of(sha256))
        finally:
            del self._leaving[sha256]
            done.set()
        return True

    async def clear_incoming(self, is_live: Callable[[AttemptId], bool]) -> None:
        """What uploads left behind when the service was killed is gone, but for the parts that
        attempts that live go on with. For before the first."""
        await self.sweep(is_live)
        for name in await self._files.names(FOLDER):
            if "." not in name:
                await self._files.remove(f"{FOLDER}/{name}")

    async def sweep(self, is_live: Callable[[AttemptId], bool]) -> None:
        """What was begun by attempts that are over is gone."""
        await self._incoming.sweep(is_live)

    async def read(self, sha256: str, offset: int = 0) -> Body:
        """The blob's bytes from there on, in pieces."""
        while piece := await self._files.read(path_of(sha256), offset, PIECE_BYTES):
            yield piece
            offset += len(piece)

    def _check_size(self, entry: ArtifactEntry) -> None:
        if entry.size_bytes > self._max_bytes:
            raise TooLarge(
                f"artifact {entry.path!r} has {entry.size_bytes} bytes, {self._max_bytes} may be",
                limit=self._max_bytes,
            )

    async def _store(self, entry: ArtifactEntry, body: Body) -> None:
        temporary = f"incoming/{self._runtime.new_id()}"
        try:
            await self._receive(entry, body, temporary)
            await self._files.publish(temporary, path_of(entry.sha256))
        except BaseException:
            await self._files.remove(temporary)
            raise

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


def manifest_of(entries: Sequence[ArtifactEntry]) -> ArtifactManifest:
    """What a receipt says of them."""
    listed = "".join(f"{entry.sha256}  {entry.path}\n" for entry in entries)  # as sha256sum(1)
    return ArtifactManifest(
        count=len(entries),
        size_bytes=sum(entry.size_bytes for entry in entries),
        sha256=hashlib.sha256(listed.encode()).hexdigest(),
    )


def path_of(sha256: str) -> str:
    return f"blobs/{sha256[:2]}/{sha256}"


def entry_at(entries: Sequence[ArtifactEntry], path: str) -> ArtifactEntry:
    """The one at `path`. UnknownArtifact."""
    for entry in entries:
        if entry.path == path:
            return entry
    raise UnknownArtifact(f"there is no artifact {path!r}", path=path)


async def one_piece(piece: bytes) -> Body:
    """A body that is there already."""
    yield piece
