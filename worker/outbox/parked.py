"""Results that wait for their receipt, each in a file that survives a loss of power."""

import os
from pathlib import Path

import structlog

from worker.outbox.journal import Step

log = structlog.get_logger()

SUFFIX = ".json"


class Parked:
    """One file per attempt, in a folder of its own. OSError: the disk does not take it.

    Blocking, for `Runtime.offload`: a sync takes milliseconds, on a busy disk a hundred times that.
    """

    def __init__(self, folder: Path, disk: Step = lambda _: None) -> None:
        self._folder = folder
        self._disk = disk
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def keep(self, key: str, body: bytes) -> None:
        """The body is there under this name: whole, or, after a crash meanwhile, not at all."""
        temporary = self._folder / f"{key}.part"
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            self._disk("park")
            done = 0
            while done < len(body):
                done += os.write(fd, body[done:])
            self._disk("sync")
            os.fsync(fd)
        finally:
            os.close(fd)
        os.rename(temporary, self._folder / f"{key}{SUFFIX}")
        self._sync_folder()

    def drop(self, key: str) -> None:
        """There is none of this name. Not synced: to replay what has its receipt does no harm."""
        (self._folder / f"{key}{SUFFIX}").unlink(missing_ok=True)

    def load(self) -> dict[str, bytes]:
        """All that can be read, by name; what was not written whole is removed."""
        found = {}
        for path in sorted(self._folder.iterdir()):
            try:
                if path.suffix == SUFFIX:
                    found[path.stem] = path.read_bytes()
                else:
                    path.unlink()
            except OSError as error:
                log.error("outbox.unreadable", file=str(path), error=error.strerror)
        return found

    def _sync_folder(self) -> None:
        fd = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
