"""Processes that bear the mark of an attempt: the variable that every job starts with."""

import os
import signal
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

MARK: Final = b"DRAWBAR_ATTEMPT_ID="
ROUNDS: Final = 10  # of looking for processes that fork while they are being ended


def kill_marked(attempts: Iterable[str]) -> list[int]:
    """Every process that bears the mark of one of these attempts was sent SIGKILL; their numbers.

    For what no keeper has: a keeper and its launcher can be killed as well.
    """
    marks = {MARK + attempt.encode() for attempt in attempts}
    killed: dict[int, None] = {}
    for _ in range(ROUNDS if marks else 0):
        found = [
            pid
            for pid, fields in _all_processes()
            if fields[0] not in "ZX" and pid != os.getpid() and not marks.isdisjoint(_environ(pid))
        ]
        if not found:
            break
        for pid in found:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
                killed[pid] = None
    return list(killed)


def has_living_members(group: int) -> bool:
    """Whether a process of the group runs; those that wait to be reaped by init do not count."""
    return any(fields[2] == str(group) and fields[0] not in "ZX" for _, fields in _all_processes())


def _environ(pid: int) -> list[bytes]:
    """What it was started with; nothing when it has ended or is not ours to look at."""
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return []


def _all_processes() -> list[tuple[int, list[str]]]:
    found = []
    for name in sorted(os.listdir("/proc")):
        if name.isdecimal():
            fields = _stat(int(name))
            if fields:
                found.append((int(name), fields))
    return found


def _stat(pid: int) -> list[str]:
    """proc(5) stat from the third field on: state, parent, group, …; [19] is the start time."""
    try:
        fd = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return []
    try:
        text = os.read(fd, 4_096)
    except OSError:  # it ended between open and read
        return []
    finally:
        os.close(fd)
    # The second field is the command in parentheses and may hold blanks and parentheses itself.
    return text[text.rindex(b")") + 2 :].decode("ascii", "replace").split()
