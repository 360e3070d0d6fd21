"""A worker's folders on its machine's simulated disk: they outlive it, but not a loss of power."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Sequence
from contextlib import suppress
from fnmatch import fnmatchcase
from hashlib import sha256
from pathlib import PurePath
from typing import Final

from shared.ids import AttemptId
from shared.protocol.gateway import ArtifactEntry
from shared.protocol.pipeline import CacheSpec
from simulation.files import SimDisk
from worker.ports import USUAL_LIMITS, ArtifactLimits, CannotCollect

ROOT: Final = "attempts"


def log_of(attempt_id: str) -> str:
    return f"{ROOT}/{attempt_id}.log"


def attempt_of(path: str) -> str | None:
    """The attempt whose log this is; None: it is no log."""
    return path.removeprefix(f"{ROOT}/").removesuffix(".log") if path.endswith(".log") else None


def work_of(attempt_id: str, name: str) -> str:
    return f"{ROOT}/{attempt_id}/{name}"


class SimWorkspace:
    """The attempts' folders of one machine."""

    def __init__(self, disk: SimDisk) -> None:
        self.disk = disk

    async def open(self, attempt_id: AttemptId, working_dir: str | None) -> "SimFolder":
        self.disk.append(log_of(attempt_id), 0, b"")
        return SimFolder(self.disk, attempt_id)

    async def reopen(self, attempt_id: AttemptId, working_dir: str | None) -> "SimFolder":
        return SimFolder(self.disk, attempt_id)

    def clear(self, but: Collection[str]) -> None:
        """Nothing of an earlier incarnation is there but these attempts."""
        for path in self.disk.below(ROOT):
            if path.split("/")[1].removesuffix(".log") not in but:
                self.disk.remove(path)


class SimFolder:
    """`AttemptFiles` on a simulated disk."""

    def __init__(self, disk: SimDisk, attempt_id: AttemptId) -> None:
        self.attempt_id = attempt_id
        self.cwd = PurePath(ROOT, attempt_id)
        self.scratch: PurePath | None = None
        self.log = PurePath(log_of(attempt_id))
        self._disk = disk

    async def log_size(self) -> int:
        return len(self._disk.seen(str(self.log)))

    async def read_log(self, offset: int, limit: int) -> bytes:
        return self._disk.read(str(self.log), offset, limit)

    async def drop_log(self, start: int, stop: int) -> None:
        """The disk is large."""

    async def append_log(self, line: str) -> None:
        log = str(self.log)
        self._disk.append(log, len(self._disk.seen(log)), f"{line}\n".encode())

    async def place_input(self, entry: ArtifactEntry, body: AsyncIterator[bytes]) -> None:
        content = b"".join([piece async for piece in body])
        if len(content) != entry.size_bytes or sha256(content).hexdigest() != entry.sha256:
            raise CannotCollect(f"{entry.path}: not what was listed")
        self._disk.append(f"{self.cwd}/in/{entry.path}", 0, content)

    async def place_known(self, entry: ArtifactEntry) -> bool:
        return False

    async def restore_cache(
        self, pipeline: str, cache: CacheSpec, is_stopped: Callable[[], bool]
    ) -> tuple[str, str | None]:
        return cache.key, None

    async def save_cache(self, pipeline: str, cache: CacheSpec, key: str) -> int | None:
        return None

    async def find_artifacts(
        self, globs: Sequence[str], limits: ArtifactLimits = USUAL_LIMITS
    ) -> list[ArtifactEntry]:
        names = self._disk.names(str(self.cwd))
        found = [name for name in names if any(fnmatchcase(name, glob) for glob in globs)]
        if not found:
            raise CannotCollect(f"no file matches {globs[0]}")
        return [self._entry(name) for name in found]

    def _entry(self, name: str) -> ArtifactEntry:
        content = self._disk.seen(work_of(self.attempt_id, name))
        return ArtifactEntry(path=name, size_bytes=len(content), sha256=sha256(content).hexdigest())

    async def read_artifact(self, path: str, offset: int = 0) -> AsyncGenerator[bytes, None]:
        yield self._disk.seen(work_of(self.attempt_id, path))[offset:]

    async def sync(self, artifacts: Sequence[str]) -> None:
        for path in (str(self.log), *(work_of(self.attempt_id, name) for name in artifacts)):
            with suppress(FileNotFoundError):
                self._disk.sync(path)

    async def remove(self) -> None:
        self._disk.remove(str(self.log))
        for path in self._disk.below(str(self.cwd)):
            self._disk.remove(path)
