"""The processes below one, and their end.

Whoever calls is a child subreaper (prctl(2)): a process whose parent has ended becomes its child,
whatever session or group it went to. So nothing below it lives once it has no child left, and
only children are killed, whose numbers nobody else can have before they are waited for.
"""

import ctypes
import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

PR_SET_NAME: Final = 15
PR_SET_CHILD_SUBREAPER: Final = 36
KEEPERS_NAME: Final = b"drawbar-keeper"
PASSES: Final = 50  # of stopping what forks; what still gets away is killed in a later round

_LISTS_CHILDREN: Final = os.path.exists(f"/proc/self/task/{os.getpid()}/children")

_libc = ctypes.CDLL(None, use_errno=True)


def adopt_orphans(name: bytes) -> None:
    """This process, now called `name`, is the parent of every orphan below it."""
    if _libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        failed = ctypes.get_errno()
        raise OSError(failed, os.strerror(failed))
    _libc.prctl(PR_SET_NAME, name, 0, 0, 0)


def children(pid: int) -> list[int]:
    """Of all its threads. None when it has ended."""
    found: list[int] = []
    if not _LISTS_CHILDREN:
        return [one for one, parent in _parents() if parent == pid]
    with suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            found += _numbers(f"/proc/{pid}/task/{thread}/children")
    return found


def descendants(pid: int) -> Iterator[int]:
    """Everything below it, parents first."""
    below = children(pid)
    while below:
        one = below.pop()
        yield one
        below += children(one)


def kill_children(spared: frozenset[int] = frozenset()) -> None:
    """Everything below this process was stopped, and each of its children sent SIGKILL.

    Stopped first, parents before children, as what is stopped starts nothing more and waits for
    nobody: a tree that grows faster than it can be killed one by one comes to rest.
    """
    mine = [pid for pid in children(os.getpid()) if pid not in spared]
    stopped: set[int] = set()
    for _ in range(PASSES):
        fresh = [pid for one in mine for pid in (one, *descendants(one)) if pid not in stopped]
        if not fresh:
            break
        for pid in fresh:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGSTOP)
        stopped.update(fresh)
        mine = [pid for pid in children(os.getpid()) if pid not in spared]
    for pid in mine:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)


def _numbers(path: str) -> list[int]:
    with open(path, "rb") as file:
        return [int(word) for word in file.read().split()]


def _parents() -> Iterator[tuple[int, int]]:
    """Every process and its parent, for kernels without CONFIG_PROC_CHILDREN."""
    for name in os.listdir("/proc"):
        if name.isdecimal():
            with suppress(OSError), open(f"/proc/{name}/stat", "rb") as file:
                yield int(name), int(file.read().rpartition(b")")[2].split()[1])
