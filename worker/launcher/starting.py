"""The first process of a job: with files of its own as standard ones, in a session of its own."""

import errno
import os
import signal
from collections.abc import Sequence
from typing import Final

from worker.launcher.bounds import Bounds

# Python and launchers ignore some, and so may who started the worker (nohup, a shell's `&`).
CATCHABLE: Final = signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}


def start(
    argv: list[bytes],
    env: dict[bytes, bytes],
    cwd: bytes,
    files: Sequence[int],
    bounds: Bounds | None,
) -> int:
    """The pid; it runs the program. OSError: it could not be started; `filename` is the folder if
    that is to blame."""
    home = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.chdir(cwd)
        program = _find(argv[0], env, cwd)
        if bounds is not None:
            return _fork(program, argv, env, files, bounds)
        return os.posix_spawn(
            program,
            argv,
            env,
            file_actions=[(os.POSIX_SPAWN_DUP2, file, i) for i, file in enumerate(files)],
            setsid=True,
            setsigmask=[],
            setsigdef=CATCHABLE,
        )
    finally:
        os.fchdir(home)  # a keeper holds no folder but the launcher's
        os.close(home)


def _fork(
    program: bytes,
    argv: list[bytes],
    env: dict[bytes, bytes],
    files: Sequence[int],
    bounds: Bounds,
) -> int:
    """As posix_spawn(3), but limits are set on the way."""
    told, tell = os.pipe()  # closed by the start of the program, or holds what failed
    pid = os.fork()
    if pid == 0:
        failed = errno.EINVAL
        try:
            os.setsid()
            bounds.enter()
            for i, file in enumerate(files):
                os.dup2(file, i)
            for number in CATCHABLE:
                signal.signal(number, signal.SIG_DFL)
            os.execve(program, argv, env)
        except OSError as error:
            failed = error.errno or failed
        finally:
            os.write(tell, str(failed).encode())
            os._exit(127)
    os.close(tell)
    with open(told, "rb") as pipe:
        said = pipe.read()
    if said:
        os.waitpid(pid, 0)
        raise OSError(int(said), os.strerror(int(said)))
    return pid


def _find(command: bytes, env: dict[bytes, bytes], cwd: bytes) -> bytes:
    """The file of a bare command, in the job's own PATH."""
    if b"/" in command:
        return command
    for folder in env.get(b"PATH", os.fsencode(os.defpath)).split(b":"):
        file = os.path.join(cwd, folder, command)
        if os.path.isfile(file) and os.access(file, os.X_OK):
            return file
    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
