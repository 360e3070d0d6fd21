"""Logs and scratch folders that were left clean, to be used again.

To make and to remove an inode costs the worker half a millisecond on a disk on which a database
syncs, as ext4 looks for one that was not freed a moment ago; to rename one costs 10 µs.
"""

import fcntl
import os
import signal
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

KEPT: Final = 64  # of each kind
LOG_MODE: Final = stat.S_IFREG | 0o600  # as the runner makes them
FOLDER_MODE: Final = stat.S_IFDIR | 0o700


class Spares:
    """Empty files and folders below `root`, which is this worker's alone."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._made = 0
        self._logs: list[Path] = []
        self._folders: list[Path] = []

    def take_log(self, path: Path) -> None:
        """An empty file is at `path`, if there was a spare one."""
        if self._logs:
            with suppress(FileNotFoundError):  # somebody tidied up; the runner will make one
                os.rename(self._logs.pop(), path)

    def take_folder(self, path: Path) -> None:
        """An empty folder is at `path`. OSError: it cannot be made."""
        while self._folders:
            with suppress(FileNotFoundError):
                os.rename(self._folders.pop(), path)
                return
        os.mkdir(path, mode=stat.S_IMODE(FOLDER_MODE))

    def keep_log(self, path: Path) -> bool:
        """Whether the file is kept for another: it is as it was made, and nobody has it open.
        A process that outlived its job would write into the next one's log."""
        if len(self._logs) >= KEPT:
            return False
        with suppress(OSError):
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                is_clean = _is_ours_alone(fd)
                if is_clean:
                    os.ftruncate(fd, 0)
            finally:
                os.close(fd)
            if is_clean:
                self._logs.append(self._set_aside(path))
                return True
        return False

    def keep_folder(self, path: Path) -> bool:
        """Whether the folder is kept for another: it is empty, and as it was made."""
        if len(self._folders) >= KEPT:
            return False
        with suppress(OSError):
            if os.lstat(path).st_mode == FOLDER_MODE and _is_empty(path):
                self._folders.append(self._set_aside(path))
                return True
        return False

    def forget(self) -> None:
        """None is kept: the root was cleared."""
        self._logs.clear()
        self._folders.clear()

    def _set_aside(self, path: Path) -> Path:
        self._made += 1
        spare = self._root / f"{self._made}.spare"
        os.rename(path, spare)
        return spare


def _is_ours_alone(fd: int) -> bool:
    """Whether the open file has its one name and its mode, and no other opener (fcntl(2))."""
    found = os.fstat(fd)
    if found.st_mode != LOG_MODE or found.st_nlink != 1:
        return False
    # Who opens the file now breaks the lease. SIGIO would tell us of it, and end this process.
    fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGURG)  # which is ignored
    try:
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_WRLCK)
    except OSError:
        return False
    return True


def _is_empty(folder: Path) -> bool:
    with os.scandir(folder) as entries:
        return next(entries, None) is None
