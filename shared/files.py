"""Files as services see them: appended, read, made durable, published whole.

A port, so that a simulation can lose or tear what was not synced. Paths are relative, made by
the service itself, never by a job. The adapter for a real disk is `DiskFiles`.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from shared.runtime import Runtime


class Files(Protocol):
    """A folder of its own for one service."""

    async def append(self, path: str, at: int, data: bytes) -> int:
        """The new size. The file holds `data` from byte `at` on; what was beyond `at` is gone."""

    async def read(self, path: str, offset: int, limit: int) -> bytes:
        """Up to `limit` bytes; empty at the end or when there is no such file."""

    async def exists(self, path: str) -> bool: ...

    async def names(self, folder: str) -> Sequence[str]:
        """Of the files right in `folder`, in order; none when there is no such folder."""

    async def sync(self, path: str) -> None:
        """What was written survives a loss of power; so does the file's name."""

    async def publish(self, temporary: str, path: str) -> None:
        """`temporary`, synced, is now `path`: whole or not at all, and durable."""

    async def remove(self, path: str) -> None:
        """The file is gone. Safe to repeat."""


class DiskFiles:
    """`Files` on a real disk, below `root`."""

    def __init__(self, root: Path, runtime: Runtime) -> None:
        self._root = root
        self._runtime = runtime

    async def append(self, path: str, at: int, data: bytes) -> int:
        return await self._runtime.offload(_append, self._root / path, at, data)

    async def read(self, path: str, offset: int, limit: int) -> bytes:
        return await self._runtime.offload(_read, self._root / path, offset, limit)

    async def exists(self, path: str) -> bool:
        return await self._runtime.offload((self._root / path).exists)

    async def names(self, folder: str) -> Sequence[str]:
        return await self._runtime.offload(_names, self._root / folder)

    async def sync(self, path: str) -> None:
        await self._runtime.offload(_sync, self._root / path)

    async def publish(self, temporary: str, path: str) -> None:
        await self._runtime.offload(_publish, self._root / temporary, self._root / path)

    async def remove(self, path: str) -> None:
        await self._runtime.offload((self._root / path).unlink, missing_ok=True)


def _append(path: Path, at: int, data: bytes) -> int:
    path.parent.mkdir(parents=True, exist_ok=True)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        os.ftruncate(fd, at)
        done = 0
        while done < len(data):
            done += os.pwrite(fd, data[done:], at + done)
    finally:
        os.close(fd)
    return at + len(data)


def _read(path: Path, offset: int, limit: int) -> bytes:
    try:
        with path.open("rb", buffering=0) as file:
            file.seek(offset)
            return file.read(limit)
    except FileNotFoundError:
        return b""


def _names(folder: Path) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except FileNotFoundError:
        return []


def _sync(path: Path) -> None:
    _fsync(path)
    _fsync(path.parent)


def _publish(temporary: Path, path: Path) -> None:
    _fsync(temporary)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary.rename(path)
    _fsync(path.parent)
    _fsync(path.parent.parent)


def _fsync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
