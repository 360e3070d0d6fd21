"""The log of an attempt, opened where its job can reach it and put something else in its place."""

import errno
import os
import stat
from pathlib import PurePath
from typing import Final

from worker.ports import CannotStart

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
        raise CannotStart(f"cannot open the log: {error.strerror}") from error
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise _not_a_file()
    os.set_blocking(fd, True)  # a job that looks at its stdout finds it as usual
    return fd


def _not_a_file() -> CannotStart:
    return CannotStart("cannot open the log: it is not a regular file")
