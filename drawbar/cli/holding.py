"""Having the data directory for oneself while a pipeline runs in this process, or for a look."""

import fcntl
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final

from drawbar.cli.failures import Interrupted, say
from drawbar.cli.places import data_dir
from shared.daemon import Signals
from shared.datadir import held
from shared.errors import Misconfigured
from shared.runtime import Runtime

LOOK_AGAIN_S: Final = 0.1  # flock can wait, but not in a way that a signal ends


@asynccontextmanager
async def held_for_run(
    given: Path | None, runtime: Runtime, signals: Signals
) -> AsyncIterator[Path]:
    """The data directory, which no other run uses meanwhile; waits for one that does.

    Misconfigured: a daemon serves from it. Interrupted: the person did not want to wait.
    """
    data = data_dir(given)
    with _opened(data / "run.lock") as lock:
        is_told = False
        while not _try_lock(lock):
            if not is_told:
                say(f"waiting for another 'drawbar run'{_holder(lock)} to leave {data}")
                is_told = True
            if signals.stop.is_set():
                raise Interrupted("stopped waiting; nothing was run")
            await runtime.sleep(LOOK_AGAIN_S)
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
        with ExitStack() as parts:
            for part in ("jobstore", "registry"):
                parts.enter_context(_held_from_daemons(data / part))
            yield data


@contextmanager
def held_to_look(data: Path) -> Iterator[bool]:
    """The job service's files stay as they are; False: a service works with them, ask that.

    Misconfigured: a run works with them, and cannot be asked.
    """
    with _opened(data / "run.lock") as lock, ExitStack() as stack:
        if not _try_lock(lock):
            raise Misconfigured(
                f"a 'drawbar run'{_holder(lock)} is using {data}: look again when it has ended"
            )
        try:
            stack.enter_context(held(data / "jobstore"))
            is_ours = True
        except Misconfigured as error:
            if "holder" not in error.facts:
                raise
            is_ours = False
        yield is_ours


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise Misconfigured(
            f"the data directory {path.parent} cannot be used: {(error.strerror or '').lower()}; "
            "name another with --data or DRAWBAR_DATA"
        ) from None
    try:
        yield lock
    finally:
        os.close(lock)


def _holder(lock: int) -> str:
    holder = os.pread(lock, 20, 0).decode("ascii", "replace").strip()
    return f" (process {holder})" if holder else ""


def _try_lock(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def _held_from_daemons(folder: Path) -> Iterator[None]:
    """Misconfigured: a daemon serves from this folder; other runs wait at the lock before it."""
    try:
        with held(folder):
            yield
    except Misconfigured as error:
        if "holder" not in error.facts:
            raise
        raise Misconfigured(
            f"{folder.parent} is in use by a running service (process {error.facts['holder']}): "
            "hand it the pipeline with 'drawbar submit FILE' or 'drawbar run FILE --server URL', "
            "or name another data directory with --data"
        ) from None
