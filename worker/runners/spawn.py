"""Starting a program through posix_spawn(3), with the interpreter released meanwhile.

subprocess.Popen holds it for the quarter of a millisecond that loading a program takes, and so
holds up the store's thread in the same process: with it, 1,000 jobs took twice as long on a busy
machine.
"""

import ctypes
import errno
import os
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final

# <spawn.h> of glibc and musl; the opaque structs are smaller than these buffers.
SETSIGDEF: Final = 0x04
SETSIGMASK: Final = 0x08
SETSID: Final = 0x80
STRUCT_BYTES: Final = 1_024

_libc = ctypes.CDLL(None)
_CLOSES: Final = hasattr(_libc, "posix_spawn_file_actions_addclosefrom_np")  # glibc 2.34


class Spawner:
    """Starts programs as leaders of new sessions, with default signals and none blocked."""

    def __init__(self) -> None:
        if not _CLOSES:
            _keep_descriptors_to_ourselves()
        self._attributes = ctypes.create_string_buffer(STRUCT_BYTES)
        defaults = ctypes.create_string_buffer(STRUCT_BYTES)
        nothing = ctypes.create_string_buffer(STRUCT_BYTES)
        _libc.sigemptyset(defaults)
        _libc.sigemptyset(nothing)
        for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them
            _libc.sigaddset(defaults, number)
        _libc.posix_spawnattr_init(self._attributes)
        _libc.posix_spawnattr_setsigdefault(self._attributes, defaults)
        _libc.posix_spawnattr_setsigmask(self._attributes, nothing)
        _libc.posix_spawnattr_setflags(
            self._attributes, ctypes.c_short(SETSIGDEF | SETSIGMASK | SETSID)
        )

    def spawn(
        self,
        argv: Sequence[str],
        env: Mapping[str, str],
        cwd: str,
        *,
        stdin: int,
        stdout: int,
        stderr: int,
    ) -> int:
        """The new process's pid; it runs the program. OSError: it could not be started."""
        actions = ctypes.create_string_buffer(STRUCT_BYTES)
        _libc.posix_spawn_file_actions_init(actions)
        try:
            _libc.posix_spawn_file_actions_addchdir_np(actions, os.fsencode(cwd))
            for source, target in ((stdin, 0), (stdout, 1), (stderr, 2)):
                _libc.posix_spawn_file_actions_adddup2(actions, source, target)
            if _CLOSES:
                _libc.posix_spawn_file_actions_addclosefrom_np(actions, 3)
            pid = ctypes.c_int()
            failed = _libc.posix_spawn(
                ctypes.byref(pid),
                os.fsencode(_find(argv[0], env, cwd)),
                actions,
                self._attributes,
                _strings([os.fsencode(word) for word in argv]),
                _strings([os.fsencode(f"{name}={value}") for name, value in env.items()]),
            )
        finally:
            _libc.posix_spawn_file_actions_destroy(actions)
        if failed:
            raise OSError(failed, os.strerror(failed))
        return pid.value


def _keep_descriptors_to_ourselves() -> None:
    """No program inherits what was open when this process was started; what Python opens is
    closed on exec anyway (PEP 446)."""
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2:
            with suppress(OSError):  # the listing's own is closed by now
                os.set_inheritable(int(name), False)


def _find(command: str, env: Mapping[str, str], cwd: str) -> str:
    """The file of a bare command, in the job's own PATH. (posix_spawnp would use the worker's.)"""
    if "/" in command:
        return command
    for folder in env.get("PATH", os.defpath).split(os.pathsep):
        file = os.path.join(cwd, folder, command)
        if os.path.isfile(file) and os.access(file, os.X_OK):
            return file
    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), command)


def _strings(words: Sequence[bytes]) -> "ctypes.Array[ctypes.c_char_p]":
    if any(b"\0" in word for word in words):
        raise ValueError("embedded null byte")
    return (ctypes.c_char_p * (len(words) + 1))(*words, None)
