"""Files that travelled with a pipeline, unpacked once on this worker, by their archive's hash."""

import asyncio
import hashlib
import io
import os
import shutil
import zipfile
from pathlib import Path
from typing import Final

import structlog

from shared.errors import ServiceError, Unavailable
from shared.protocol.execution import Scope
from shared.protocol.pipeline import MAX_BUNDLE_BYTES
from shared.runtime import Runtime
from shared.services import Execution
from worker.backoff import Backoff
from worker.ports import CannotCollect, CannotStart, TaskLaunch
from worker.tree import split_path

CALL_TIMEOUT_S: Final = 60.0
MAX_FILES: Final = 10_000
MAX_UNPACKED_BYTES: Final = 256 * 1024 * 1024  # an archive of 4 MiB can hold far more

log = structlog.get_logger()


class Bundles:
    """Folders below `root`, which is this worker's alone. Each is read only."""

    def __init__(self, root: Path, execution: Execution, runtime: Runtime) -> None:
        self._root = root
        self._execution = execution
        self._runtime = runtime
        self._opening: dict[str, asyncio.Lock] = {}

    def clear(self) -> None:
        """The root exists and is empty: what a crash left half written is not trusted."""
        if self._root.exists():
            _remove(self._root)
        self._root.mkdir(parents=True, mode=0o700)

    async def open(self, scope: Scope, sha256: str, launch: TaskLaunch) -> Path:
        """The folder with the files. CannotStart: they are not there, no archive, or too large."""
        folder = self._root / sha256
        async with self._opening.setdefault(sha256, asyncio.Lock()):
            if not folder.is_dir():
                packed = await self._fetch(scope, sha256, launch)
                try:
                    await self._runtime.offload(_unpack, packed, folder)
                except (ValueError, OSError, zipfile.BadZipFile, CannotCollect) as error:
                    raise CannotStart(f"the flow's files cannot be unpacked: {error}") from error
        return folder

    async def _fetch(self, scope: Scope, sha256: str, launch: TaskLaunch) -> bytes:
        """The archive, whole. It is asked for until somebody answers or the job is stopped."""
        backoff = Backoff(self._runtime)
        while True:
            try:
                async with asyncio.timeout(CALL_TIMEOUT_S):
                    return await self._read(scope, sha256)
            except (ServiceError, TimeoutError) as error:
                if isinstance(error, ServiceError) and not error.retryable:
                    raise CannotStart(f"the flow's files cannot be fetched: {error}") from error
                if launch.is_stopped():
                    raise CannotStart("stopped before the flow's files had come") from error
                if backoff.failures == 0:
                    log.warning("bundle.delayed", sha256=sha256, error=repr(error))
                await self._runtime.sleep(backoff.next_s(error))

    async def _read(self, scope: Scope, sha256: str) -> bytes:
        packed = bytearray()
        async for piece in self._execution.read_bundle(scope, sha256):
            packed += piece
            if len(packed) > MAX_BUNDLE_BYTES:
                raise CannotStart(f"the flow's files have more than {MAX_BUNDLE_BYTES} bytes")
        if hashlib.sha256(packed).hexdigest() != sha256:
            raise Unavailable("the flow's files arrived damaged")
        return bytes(packed)


def _unpack(packed: bytes, folder: Path) -> None:
    """The folder is there with all files in it, or not at all."""
    temporary = folder.with_suffix(".part")
    if temporary.exists():
        _remove(temporary)
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        entries = [entry for entry in archive.infolist() if not entry.is_dir()]
        if len(entries) > MAX_FILES or sum(e.file_size for e in entries) > MAX_UNPACKED_BYTES:
            raise ValueError(f"more than {MAX_FILES} files or {MAX_UNPACKED_BYTES} bytes")
        temporary.mkdir(parents=True, mode=0o700)
        for entry in entries:
            path = temporary.joinpath(*split_path(entry.filename))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(archive.read(entry))  # no more than it says: its CRC is checked
            path.chmod(0o444)  # also for whoever the task is in a container
    for where, _, _ in os.walk(temporary):
        os.chmod(where, 0o555)
    os.chmod(temporary, 0o700)  # a folder that cannot be written cannot be renamed everywhere
    os.rename(temporary, folder)
    os.chmod(folder, 0o555)


def _remove(folder: Path) -> None:
    for where, _, _ in os.walk(folder):
        os.chmod(where, 0o700)
    shutil.rmtree(folder)
