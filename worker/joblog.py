"""The log of an attempt, opened where its job can reach it and put something else in its place."""

import ctypes
import errno
import os
import stat
from pathlib import PurePath
from typing import Final

from worker.ports import CannotStart, WorkerAtFault

KEEP_SIZE: Final = 0x01  # <linux/falloc.h>
PUNCH_HOLE: Final = 0x02

_libc = ctypes.CDLL(None, use_errno=True)

NO_FILE: Final = frozenset({errno.ENXIO, errno.ELOOP, errno.EISDIR})  # a pipe, a link, a folder


def open_log(path: PurePath, access: int) -> int:
    """The log, to be written at its end. CannotStart: it is not a regular file, or cannot be had.

    `access`: O_WRONLY or O_RDWR.
    """
    # O_NONBLOCK: opening a pipe that nobody reads must not hang; it means nothing for files.
    flags = os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        fd = os.open(path, access | flags, 0o600)
    except OSError as error:
        if error.errno in NO_FILE:
            raise _not_a_file() from error
        if error.errno == errno.ENOENT:
            raise WorkerAtFault(f"the worker's folder {path.parent} is gone") from error
        raise CannotStart(f"cannot open the log: {error.strerror}") from error
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise _not_a_file()
    os.set_blocking(fd, True)  # a job that looks at its stdout finds it as usual
    return fd


def punch(fd: int, start: int, stop: int) -> None:
    """The bytes read as zeros and take no room, where the file system can do that."""
    # glibc has off_t in 64 bits here; os.posix_fallocate has no modes.
    _libc.fallocate(fd, KEEP_SIZE | PUNCH_HOLE, ctypes.c_int64(start), ctypes.c_int64(stop - start))


def _not_a_file() -> CannotStart:
    return CannotStart("cannot open the log: it is not a regular file")
