"""A folder of the data directory, held by one process at a time."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from shared.errors import Misconfigured

LOCK: Final = "lock"
REMEDY: Final = "name another data directory with --data or DRAWBAR_DATA"


@contextmanager
def held(folder: Path) -> Iterator[Path]:
    """The folder exists, can be written, and is this process's own until the block is left.

    Misconfigured: it cannot be used, or another process holds it. The kernel lets go of the lock
    when its holder dies, however that happens, so nothing stale is ever left behind.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise _unusable(folder, error) from None
    try:
        _take(lock, folder)
        yield folder
    finally:
        os.close(lock)


def _take(lock: int, folder: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)  # also shows that the disk takes writes
    except BlockingIOError:
        holder = os.pread(lock, 20, 0).decode("ascii", "replace").strip()
        by = f"process {holder}" if holder else "another process"
        raise Misconfigured(
            f"{folder} is in use by {by}: stop it, or {REMEDY}", path=str(folder), holder=holder
        ) from None
    except OSError as error:
        raise _unusable(folder, error) from None


def _unusable(folder: Path, error: OSError) -> Misconfigured:
    why = (error.strerror or str(error)).lower()
    return Misconfigured(f"{folder} cannot be used ({why}): mend it, or {REMEDY}", path=str(folder))
