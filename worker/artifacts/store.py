"""Files that jobs may want again, by the hash of their content: inputs, and what caches keep.

Bounded: what was used longest ago goes first. Nobody relies on what is here; a file that was
damaged or removed is as good as one that was never kept.
"""

import hashlib
import os
import re
import shutil
from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, suppress
from pathlib import Path
from typing import BinaryIO, Final

import structlog

from shared.protocol.gateway import ArtifactEntry
from shared.runtime import Runtime
from shared.services import PIECE_BYTES
from worker.ports import CannotCollect

MOST_BYTES: Final = 10 << 30
PART_OF_DISK: Final = 0.1
BLOCK_BYTES: Final = 1 << 20
SHA256: Final = re.compile(r"[0-9a-f]{64}")

log = structlog.get_logger()


class Store:
    """Below `root`, which is this worker's alone. `open` comes first."""

    def __init__(self, root: Path, runtime: Runtime, most_bytes: int | None = None) -> None:
        self._root = root
        self._runtime = runtime
        self._most_bytes = most_bytes
        self._sizes: OrderedDict[str, int] = OrderedDict()  # the one used last is last
        self._total = 0
        self._names = 0

    def open(self) -> None:
        """What an earlier incarnation kept is known; what it began to write is gone."""
        self._root.mkdir(parents=True, exist_ok=True, mode=0o700)
        found = []
        for entry in os.scandir(self._root):
            if SHA256.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                at = entry.stat(follow_symlinks=False)
                found.append((at.st_mtime_ns, entry.name, at.st_size))
            elif entry.name.endswith(".part"):
                os.unlink(entry.path)
        self._sizes = OrderedDict((name, size) for _, name, size in sorted(found))
        self._total = sum(self._sizes.values())
        if self._most_bytes is None:
            disk = shutil.disk_usage(self._root).total
            self._most_bytes = min(MOST_BYTES, int(disk * PART_OF_DISK))
        self._make_room(0)

    def has(self, sha256: str) -> bool:
        return sha256 in self._sizes

    async def read(self, sha256: str) -> AsyncGenerator[bytes, None]:
        """The file's bytes. CannotCollect: it is not there, or not what it was any more; then it
        is gone."""
        path = self._root / sha256
        digest = hashlib.sha256()
        try:
            with await self._runtime.offload(_open, path) as file:
                while block := await self._runtime.offload(file.read, BLOCK_BYTES):
                    digest.update(block)
                    for start in range(0, len(block), PIECE_BYTES):
                        yield block[start : start + PIECE_BYTES]
        except OSError as error:
            self._forget(sha256)
            raise CannotCollect(f"the copy here cannot be read: {error.strerror}") from error
        if digest.hexdigest() != sha256:
            log.warning("store.damaged", sha256=sha256)
            self._forget(sha256)
            raise CannotCollect("the copy here was damaged")
        if sha256 in self._sizes:
            self._sizes.move_to_end(sha256)
            with suppress(OSError):
                os.utime(path)

    async def keeping(
        self, entry: ArtifactEntry, body: AsyncIterator[bytes]
    ) -> AsyncGenerator[bytes, None]:
        """The same bytes. When all have passed they are kept, if there is room for so many.

        `body` raises when they are not those of the entry. A full disk keeps nothing, and that
        is all.
        """
        assert self._most_bytes is not None, "it was opened"
        if entry.size_bytes > self._most_bytes or entry.sha256 in self._sizes:
            async for piece in body:
                yield piece
            return
        part = await self._part()
        try:
            async for piece in body:
                if part is not None and not await self._write(part, piece):
                    self._discard(part)
                    part = None
                yield piece
            if part is not None:
                self._adopt(part, entry.sha256, entry.size_bytes)
                part = None
        finally:
            if part is not None:
                self._discard(part)

    async def keep(self, body: AsyncGenerator[bytes, None]) -> tuple[str, int] | None:
        """Hash and size of the bytes, which are kept; None where they cannot be."""
        assert self._most_bytes is not None, "it was opened"
        digest, size = hashlib.sha256(), 0
        part = await self._part()
        if part is None:
            return None
        try:
            async with aclosing(body) as pieces:
                async for piece in pieces:
                    digest.update(piece)
                    size += len(piece)
                    if size > self._most_bytes or not await self._write(part, piece):
                        return None
            sha256 = digest.hexdigest()
            if sha256 in self._sizes:
                self._sizes.move_to_end(sha256)
            else:
                self._adopt(part, sha256, size)
            return sha256, size
        finally:
            self._discard(part)

    # -- files ---------------------------------------------------------------------------------

    async def _part(self) -> BinaryIO | None:
        self._names += 1
        try:
            return await self._runtime.offload(_create, self._root / f"{self._names}.part")
        except OSError as error:
            log.warning("store.unusable", error=error.strerror)
            return None

    async def _write(self, part: BinaryIO, piece: bytes) -> bool:
        try:
            await self._runtime.offload(part.write, piece)
        except OSError as error:
            log.warning("store.unusable", error=error.strerror)
            return False
        return True

    def _adopt(self, part: BinaryIO, sha256: str, size: int) -> None:
        self._make_room(size)
        try:
            part.close()  # what it still holds is written now
            os.rename(part.name, self._root / sha256)
        except OSError as error:
            log.warning("store.unusable", error=error.strerror)
            return
        if sha256 not in self._sizes:  # two jobs may have fetched it at the same time
            self._total += size
        self._sizes[sha256] = size

    def _discard(self, part: BinaryIO) -> None:
        with suppress(OSError):
            part.close()
        with suppress(OSError):
            os.unlink(part.name)

    def _make_room(self, size: int) -> None:
        assert self._most_bytes is not None
        while self._sizes and self._total + size > self._most_bytes:
            self._forget(next(iter(self._sizes)))

    def _forget(self, sha256: str) -> None:
        self._total -= self._sizes.pop(sha256, 0)
        with suppress(OSError):
            os.unlink(self._root / sha256)


def _open(path: Path) -> BinaryIO:
    return path.open("rb", buffering=0)


def _create(path: Path) -> BinaryIO:
    return path.open("wb", buffering=BLOCK_BYTES)
