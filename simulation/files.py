"""The `Files` port on a simulated disk, which forgets what was not synced when power is lost."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from shared.runtime import Runtime

NAME_IS_LOST: Final = 0.7  # of a file that nobody synced, with all that is in it


@dataclass(slots=True)
class _Content:
    """A file's bytes: as processes see them, and as the disk has them for certain."""

    seen: bytes = b""
    synced: bytes | None = None  # None: not even the name is on the disk


class SimDisk:
    """The files of one machine. It outlives its processes."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._files: dict[str, _Content] = {}
        self.lost_bytes = 0  # by losses of power, so far

    def lose_power(self) -> list[str]:
        """Unsynced files are gone or torn: some prefix of what was appended got through. The
        paths of those that are not what they were."""
        before = {path: content.seen for path, content in self._files.items()}
        for path, content in list(self._files.items()):
            if content.synced is None and self._chance.random() < NAME_IS_LOST:
                self.lost_bytes += len(content.seen)
                del self._files[path]
                continue
            survives = content.synced or b""
            if content.seen.startswith(survives):
                survives = content.seen[: self._chance.randint(len(survives), len(content.seen))]
            self.lost_bytes += max(0, len(content.seen) - len(survives))
            content.seen = content.synced = survives
        return [path for path, seen in before.items() if self.seen(path) != seen]

    def append(self, path: str, at: int, data: bytes) -> int:
        content = self._files.setdefault(path, _Content())
        content.seen = content.seen[:at].ljust(at, b"\0") + data
        return len(content.seen)

    def read(self, path: str, offset: int, limit: int) -> bytes:
        return self.seen(path)[offset : offset + limit]

    def seen(self, path: str) -> bytes:
        content = self._files.get(path)
        return b"" if content is None else content.seen

    def exists(self, path: str) -> bool:
        return path in self._files

    def names(self, folder: str) -> list[str]:
        return sorted(path.rpartition("/")[2] for path in self._files if _folder(path) == folder)

    def below(self, folder: str) -> list[str]:
        """The paths of all files below it."""
        return sorted(path for path in self._files if path.startswith(folder + "/"))

    def sync(self, path: str) -> None:
        content = self._content_of(path)
        content.synced = content.seen

    def publish(self, temporary: str, path: str) -> None:
        content = self._content_of(temporary)
        content.synced = content.seen
        self._files[path] = self._files.pop(temporary)

    def remove(self, path: str) -> None:
        self._files.pop(path, None)

    def _content_of(self, path: str) -> _Content:
        if path not in self._files:
            raise FileNotFoundError(2, "No such file or directory", path)
        return self._files[path]


class SimFiles:
    """`Files` for one process: each call takes effect in one step, on virtual time."""

    def __init__(self, disk: SimDisk, runtime: Runtime) -> None:
        self._disk = disk
        self._runtime = runtime

    async def append(self, path: str, at: int, data: bytes) -> int:
        return await self._runtime.offload(self._disk.append, path, at, data)

    async def read(self, path: str, offset: int, limit: int) -> bytes:
        return await self._runtime.offload(self._disk.read, path, offset, limit)

    async def size(self, path: str) -> int:
        return len(await self._runtime.offload(self._disk.seen, path))

    async def exists(self, path: str) -> bool:
        return await self._runtime.offload(self._disk.exists, path)

    async def names(self, folder: str) -> Sequence[str]:
        return await self._runtime.offload(self._disk.names, folder)

    async def sync(self, path: str) -> None:
        await self._runtime.offload(self._disk.sync, path)

    async def publish(self, temporary: str, path: str) -> None:
        await self._runtime.offload(self._disk.publish, temporary, path)

    async def remove(self, path: str) -> None:
        await self._runtime.offload(self._disk.remove, path)


def _folder(path: str) -> str:
    return path.rpartition("/")[0]
