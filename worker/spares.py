"""Logs and scratch folders that were left clean, to be used again.

To make and to remove an inode costs the worker half a millisecond on a disk on which a database
syncs, as ext4 looks for one that was not freed a moment ago; to rename one costs 10 µs.
"""

import fcntl
import os
import stat
from pathlib import Path
from typing import Final

KEPT: Final = 64  # of each kind
PRIVATE: Final = 0o700


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
            os.rename(self._logs.pop(), path)

    def take_folder(self, path: Path) -> None:
        """An empty folder is at `path`. OSError: it cannot be made."""
        if self._folders:
            os.rename(self._folders.pop(), path)
        else:
            os.mkdir(path, mode=PRIVATE)

    def keep_log(self, path: Path) -> bool:
        """Whether the file is kept for another. Not if somebody still has it open: a process
        that outlived its job would write into the next one's log."""
        if len(self._logs) >= KEPT:
            return False
        try:
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            return False
        try:
            fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_WRLCK)  # granted to a sole opener only
            if os.fstat(fd).st_size:
                os.ftruncate(fd, 0)
        except OSError:
            return False
        finally:
            os.close(fd)
        self._logs.append(self._set_aside(path))
        return True

    def keep_folder(self, path: Path) -> bool:
        """Whether the folder is kept for another: it is empty, and as it was made."""
        if len(self._folders) >= KEPT or stat.S_IMODE(os.lstat(path).st_mode) != PRIVATE:
            return False
        with os.scandir(path) as entries:
            if next(entries, None) is not None:
                return False
        self._folders.append(self._set_aside(path))
        return True

    def forget(self) -> None:
        """None is kept: the root was cleared."""
        self._logs.clear()
        self._folders.clear()

    def _set_aside(self, path: Path) -> Path:
        self._made += 1
        spare = self._root / f"{self._made}.spare"
        os.rename(path, spare)
        return spare
