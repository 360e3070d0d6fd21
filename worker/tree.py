"""Files below one directory, reached so that no name and no symlink can lead out of it.

Every step is an `openat` relative to the folder before, with O_NOFOLLOW: a job that swaps a
folder for a symlink while we look gets an error, not our reach.
"""

import errno
import os
import stat
from contextlib import suppress
from typing import BinaryIO

from worker.ports import CannotCollect

MAX_PATH = 1_024
FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# O_NONBLOCK: opening a pipe that nobody writes to must not hang; it means nothing for files.
FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def split_path(path: str) -> list[str]:
    """The names of a relative path. CannotCollect: it is none, or leads out of its folder."""
    if not path or len(path) > MAX_PATH:
        raise CannotCollect(f"a path has 1 to {MAX_PATH} characters, this one {len(path)}")
    if any(ord(c) < 32 or ord(c) == 127 or 0xD800 <= ord(c) <= 0xDFFF for c in path):
        raise CannotCollect(f"{path!r} has a character that paths may not have")
    if path.startswith("/"):
        raise CannotCollect(f"{path!r} is absolute; say it relative to the working directory")
    names = [name for name in path.split("/") if name not in ("", ".")]
    if ".." in names or not names:
        raise CannotCollect(f"{path!r} leads out of the working directory")
    return names


def open_file(root: str, path: str) -> BinaryIO:
    """A regular file, open for reading. CannotCollect: it is not there or something else."""
    *folders, name = split_path(path)
    try:
        with Folder.at(root) as here:
            for folder in folders:
                here.enter(folder)
            file = here.open_regular(name)
    except OSError as error:
        raise CannotCollect(f"{path!r}: {_reason(error)}") from error
    if file is None:
        raise CannotCollect(f"{path!r} is not a regular file")
    return file


def create_file(root: str, path: str, temporary: str) -> BinaryIO:
    """A new file `temporary` in the folder of `path`, which exists afterwards."""
    *folders, _ = split_path(path)
    try:
        with Folder.at(root) as here:
            for folder in folders:
                here.make(folder)
                here.enter(folder)
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
            return os.fdopen(os.open(temporary, flags, 0o666, dir_fd=here.fd), "wb", buffering=0)
    except OSError as error:
        raise CannotCollect(f"{path!r}: {_reason(error)}") from error


def publish_file(root: str, path: str, temporary: str, *, keep: bool) -> None:
    """`temporary` in the folder of `path` is now `path`; or gone, unless `keep`."""
    *folders, name = split_path(path)
    try:
        with Folder.at(root) as here:
            for folder in folders:
                here.enter(folder)
            if keep:
                os.rename(temporary, name, src_dir_fd=here.fd, dst_dir_fd=here.fd)
            else:
                os.unlink(temporary, dir_fd=here.fd)
    except OSError as error:
        raise CannotCollect(f"{path!r}: {_reason(error)}") from error


class Folder:
    """An open folder. Leaving the `with` closes it."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    @classmethod
    def at(cls, path: str) -> "Folder":
        # The root itself may be, or lie behind, a symlink: it is the worker's or user's choice.
        try:
            return cls(os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
        except OSError as error:
            raise CannotCollect(f"the working directory: {error.strerror}") from error

    def __enter__(self) -> "Folder":
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.fd)

    def child(self, name: str) -> "Folder | None":
        """None when there is no such folder, also when it is a symlink."""
        try:
            return Folder(os.open(name, FOLDER, dir_fd=self.fd))
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                return None
            raise

    def enter(self, name: str) -> None:
        """This is now the folder `name` of what it was."""
        inner = os.open(name, FOLDER, dir_fd=self.fd)
        os.close(self.fd)
        self.fd = inner

    def make(self, name: str) -> None:
        with suppress(FileExistsError):
            os.mkdir(name, dir_fd=self.fd)

    def open_regular(self, name: str) -> BinaryIO | None:
        """None when there is no such file, or it is a symlink, pipe, device, …"""
        try:
            fd = os.open(name, FILE, dir_fd=self.fd)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ELOOP, errno.ENXIO, errno.ENOTDIR):
                return None
            raise
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            return None
        return os.fdopen(fd, "rb", buffering=0)

    def names(self) -> list[str]:
        return sorted(os.listdir(self.fd))


def _reason(error: OSError) -> str:
    if error.errno in (errno.ELOOP, errno.ENOTDIR):
        return "a part of it is a symbolic link or no folder"
    return error.strerror or repr(error)
