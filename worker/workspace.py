"""Where attempts keep their files on a real disk: one log each, and a folder where one is needed.

Below the root: `<attempt>.log`, and `<attempt>/` for a job that names no working directory. Most
jobs therefore cost one file, made by the runner that opens it.
"""

import os
import re
import shutil
import stat
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Sequence
from contextlib import suppress
from pathlib import Path

from shared.ids import AttemptId
from shared.protocol.gateway import ArtifactEntry
from shared.protocol.pipeline import CacheSpec
from shared.runtime import Runtime
from shared.services import PIECE_BYTES
from worker import tree
from worker.artifacts.caches import Caches
from worker.artifacts.collecting import BLOCK_BYTES, collect
from worker.artifacts.store import Store
from worker.joblog import open_log, punch
from worker.ports import (
    USUAL_LIMITS,
    ArtifactLimits,
    CannotCollect,
    CannotStart,
    WorkerAtFault,
)
from worker.spares import Spares

SAFE_ID = re.compile(r"[0-9A-Za-z][0-9A-Za-z_-]{0,99}")


class Shelf:
    """What attempts may want that earlier ones had."""

    def __init__(self, root: Path, runtime: Runtime) -> None:
        self.store = Store(root / "store", runtime)
        self.caches = Caches(root / "caches", self.store, runtime)


class DiskFiles:
    """`AttemptFiles` on a real disk.

    Looks at the log are made in the event loop: they take microseconds, a thread ten times that.
    """

    def __init__(
        self,
        log: Path,
        cwd: Path,
        scratch: Path | None,
        spares: Spares,
        shelf: "Shelf",
        runtime: Runtime,
    ) -> None:
        self.log = log
        self.cwd = cwd
        self.scratch = scratch
        self._spares = spares
        self._shelf = shelf
        self._runtime = runtime
        self._inode: int | None = None  # of the log, when it was looked at last

    async def log_size(self) -> int:
        try:
            found = os.lstat(self.log)
        except OSError:
            return 0
        if not stat.S_ISREG(found.st_mode):
            return 0
        known, self._inode = self._inode, found.st_ino
        return found.st_size if known in (None, found.st_ino) else 0

    async def read_log(self, offset: int, limit: int) -> bytes:
        # The job can reach it, and put a folder, a pipe or a link in its place.
        try:
            fd = os.open(self.log, tree.FILE)
        except OSError:
            return b""
        try:
            is_log = stat.S_ISREG(os.fstat(fd).st_mode)
            return os.pread(fd, limit, offset) if is_log else b""
        except OSError:  # the disk fails: what is missing is counted in the end
            return b""
        finally:
            os.close(fd)

    async def drop_log(self, start: int, stop: int) -> None:
        with suppress(CannotStart):
            fd = open_log(self.log, os.O_RDWR)
            try:
                punch(fd, start, stop)
            finally:
                os.close(fd)

    async def append_log(self, line: str) -> None:
        fd = open_log(self.log, os.O_RDWR)
        try:
            size = os.fstat(fd).st_size
            begins = size == 0 or os.pread(fd, 1, size - 1) == b"\n"
            os.write(fd, f"{'' if begins else chr(10)}{line}\n".encode("utf-8", "replace"))
        except OSError as error:
            raise CannotStart(f"cannot write to the log: {error.strerror}") from error
        finally:
            os.close(fd)

    async def place_input(self, entry: ArtifactEntry, body: AsyncIterator[bytes]) -> None:
        await self._place(entry.path, self._shelf.store.keeping(entry, body))

    async def place_known(self, entry: ArtifactEntry) -> bool:
        if not self._shelf.store.has(entry.sha256):
            return False
        try:
            await self._place(entry.path, self._shelf.store.read(entry.sha256))
        except CannotCollect:  # fetched anew, it is placed; or the same error comes for good
            return False
        return True

    async def restore_cache(
        self, pipeline: str, cache: CacheSpec, is_stopped: Callable[[], bool]
    ) -> tuple[str, str | None]:
        caches, cwd = self._shelf.caches, str(self.cwd)
        key = await caches.key_of(cache, cwd)
        return key, await caches.restore(pipeline, cache, key, cwd, is_stopped)

    async def save_cache(self, pipeline: str, cache: CacheSpec, key: str) -> int | None:
        return await self._shelf.caches.save(pipeline, cache, key, str(self.cwd))

    async def _place(self, path: str, body: AsyncIterator[bytes]) -> None:
        offload = self._runtime.offload
        temporary = f".{self.log.stem}.part"
        root = str(self.cwd)
        file = await offload(tree.create_file, root, path, temporary)
        is_whole = False
        try:
            async for piece in body:
                await offload(_write_all, file.fileno(), piece, path)
            is_whole = True
        finally:
            file.close()
            await offload(tree.publish_file, root, path, temporary, keep=is_whole)

    async def find_artifacts(
        self, globs: Sequence[str], limits: ArtifactLimits = USUAL_LIMITS
    ) -> list[ArtifactEntry]:
        return await self._runtime.offload(collect, str(self.cwd), globs, limits)

    async def read_artifact(self, path: str, offset: int = 0) -> AsyncGenerator[bytes, None]:
        file = await self._runtime.offload(tree.open_file, str(self.cwd), path)
        try:
            file.seek(offset)
            while block := await self._runtime.offload(file.read, BLOCK_BYTES):
                for start in range(0, len(block), PIECE_BYTES):
                    yield block[start : start + PIECE_BYTES]
        except OSError as error:
            raise CannotCollect(f"{path!r}: {error.strerror}") from error
        finally:
            file.close()

    async def sync(self, artifacts: Sequence[str]) -> None:
        await self._runtime.offload(self._sync, tuple(artifacts))

    def _sync(self, artifacts: Sequence[str]) -> None:
        with suppress(FileNotFoundError):
            _fsync_file(self.log)
        for path in artifacts:
            with suppress(CannotCollect), tree.open_file(str(self.cwd), path) as file:
                os.fsync(file.fileno())
        _fsync(self.log.parent)

    async def remove(self) -> None:
        # A process that outlived its job and still writes may use its folder as well.
        is_left_alone = self._spares.keep_log(self.log)
        if not is_left_alone:
            with suppress(OSError):  # what cannot be removed stays behind until the next start
                os.unlink(self.log)
        if self.scratch is None or (is_left_alone and self._spares.keep_folder(self.scratch)):
            return
        await self._runtime.offload(_remove_tree, self.scratch)


class DiskWorkspace:
    """`Workspace` below `root`, which is this worker's alone.

    Relative working directories are below `base_dir`; without one, in a scratch folder of the
    attempt, which goes with it.
    """

    def __init__(self, root: Path, base_dir: Path | None, runtime: Runtime) -> None:
        self._root = root
        self._base_dir = base_dir
        self._runtime = runtime
        self._spares = Spares(root)
        self._shelf = Shelf(root.parent, runtime)

    def left_behind(self) -> list[str]:
        """Attempts of an earlier incarnation that may have been started: their logs are here."""
        return sorted(path.stem for path in self._root.glob("*.log"))

    def clear(self, but: Collection[str] = ()) -> None:
        """The root exists, and holds nothing of an earlier incarnation but these attempts."""
        self._root.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._spares.forget()
        self._shelf.store.open()
        for entry in sorted(self._root.iterdir()):
            if entry.name.removesuffix(".log") in but:
                continue
            if entry.is_dir() and not entry.is_symlink():
                _remove_tree(entry)
            else:
                entry.unlink(missing_ok=True)

    async def open(self, attempt_id: AttemptId, working_dir: str | None) -> DiskFiles:
        cwd, scratch = self._place(attempt_id, working_dir)
        if scratch is None:
            _check_folder(cwd)
        else:
            self._make_scratch(scratch, cwd)
        log = self._log_of(attempt_id)
        self._spares.take_log(log)
        return DiskFiles(log, cwd, scratch, self._spares, self._shelf, self._runtime)

    async def reopen(self, attempt_id: AttemptId, working_dir: str | None) -> DiskFiles:
        cwd, scratch = self._place(attempt_id, working_dir)
        return DiskFiles(
            self._log_of(attempt_id), cwd, scratch, self._spares, self._shelf, self._runtime
        )

    def _log_of(self, attempt_id: AttemptId) -> Path:
        return self._root / f"{attempt_id}.log"

    def _place(self, attempt_id: AttemptId, working_dir: str | None) -> tuple[Path, Path | None]:
        """The working directory, and the scratch folder that it is in, if it is in one."""
        if not SAFE_ID.fullmatch(attempt_id):
            raise CannotStart(f"{attempt_id!r} cannot be the name of a folder")
        if working_dir is not None and "\0" in working_dir:
            raise CannotStart("the working directory has a NUL character in its name")
        if working_dir is not None and os.path.isabs(working_dir):
            return Path(working_dir), None
        if self._base_dir is not None:
            return self._base_dir / (working_dir or ""), None
        scratch = self._root / attempt_id
        if working_dir is None:
            return scratch, scratch
        try:
            return scratch.joinpath(*tree.split_path(working_dir)), scratch
        except CannotCollect as error:
            if os.path.normpath(working_dir) != ".":
                raise CannotStart(f"working directory: {error}") from error
            return scratch, scratch

    def _make_scratch(self, scratch: Path, cwd: Path) -> None:
        """An empty folder, and in it the one that the job names."""
        try:
            try:
                self._spares.take_folder(scratch)
            except FileNotFoundError:  # a job has removed the folder of all attempts
                self._root.mkdir(mode=0o700, exist_ok=True)
                self._spares.take_folder(scratch)
            if cwd != scratch:
                os.makedirs(cwd, mode=0o700)
        except FileNotFoundError as error:
            raise WorkerAtFault(f"the worker's folder {self._root.parent} is gone") from error
        except OSError as error:
            raise CannotStart(f"cannot make a working directory: {error.strerror}") from error


def _check_folder(cwd: Path) -> None:
    if not os.path.isdir(cwd):
        raise CannotStart(f"the working directory {str(cwd)!r} does not exist")


def _write_all(fd: int, data: bytes, path: str) -> None:
    done = 0
    try:
        while done < len(data):
            done += os.write(fd, data[done:])
    except OSError as error:
        raise CannotCollect(f"input {path!r}: {error.strerror}") from error


def _fsync_file(path: Path) -> None:
    """What a job has put in its place is not read, and need not be synced."""
    if stat.S_ISREG(os.lstat(path).st_mode):
        _fsync(path)


def _fsync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _remove_tree(path: Path) -> None:
    """The folder is gone, or what cannot be removed stays behind until the next start."""
    shutil.rmtree(path, ignore_errors=True)
