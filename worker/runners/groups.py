"""Which process groups this worker has started, on disk, so that its successor can end them.

One small file of fixed records: a start costs one pwrite, an end another. It is not synced: it
has to survive the worker's death only, for a power cut ends the processes as well.
"""

import os
import signal
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

RECORD: Final = 64  # bytes; b"<pid> <start time> <boot id>", padded with blanks
BLANK: Final = b" " * (RECORD - 1) + b"\n"
MARK: Final = b"DRAWBAR_ATTEMPT_ID="
TICKS: Final = os.sysconf("SC_CLK_TCK")
ROUNDS: Final = 10  # of looking for processes that fork while they are being ended
SLACK_S: Final = 2  # between a start and its note; a number is not given twice in that time


class GroupLedger:
    """The groups that live, one record each."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip().replace("-", "")
        self._next = 0
        self._unused: list[int] = []

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def note(self, pid: int) -> int:
        """The group `pid` will be found by a successor. Returns what to `forget` later."""
        record = self._unused.pop() if self._unused else self._next
        if record == self._next:
            self._next += 1
        line = f"{pid} {ticks_since_boot()} {self._boot}".encode().ljust(RECORD - 1) + b"\n"
        os.pwrite(self._fd, line, record * RECORD)
        return record

    def forget(self, record: int) -> None:
        """That group is gone."""
        os.pwrite(self._fd, BLANK, record * RECORD)
        self._unused.append(record)

    def kill_leftovers(self) -> list[int]:
        """Every group that an earlier incarnation left alive was sent SIGKILL; their numbers."""
        killed = []
        for line in self._path.read_bytes().splitlines():
            match line.decode("ascii", "replace").split():
                case [pid, noted, boot] if boot == self._boot and (pid + noted).isdecimal():
                    if _is_ours(int(pid), int(noted)):
                        with suppress(ProcessLookupError, PermissionError):
                            os.killpg(int(pid), signal.SIGKILL)
                            killed.append(int(pid))
                case _:
                    pass
        os.ftruncate(self._fd, 0)
        return killed


def kill_marked(attempts: Iterable[str]) -> list[int]:
    """Every process that bears the mark of one of these attempts was sent SIGKILL; their numbers.

    The ledger cannot name all: a worker may die between a start and its note, and a process may
    leave its group.
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


def ticks_since_boot() -> int:
    """Now, on the clock in which proc(5) tells when a process started. Reading that file for each
    start instead would cost a tenth of a millisecond."""
    return int(time.clock_gettime(time.CLOCK_BOOTTIME) * TICKS)


def has_living_members(group: int) -> bool:
    """Whether a process of the group runs; those that wait to be reaped by init do not count."""
    return any(fields[2] == str(group) and fields[0] not in "ZX" for _, fields in _all_processes())


def _is_ours(group: int, noted: int) -> bool:
    """Whether the group is the one that was noted, and not a stranger with the same number."""
    leader = _stat(group)
    if leader:
        return abs(int(leader[19]) - noted) <= SLACK_S * TICKS
    # The leader is gone. Its number stays reserved while members live, unless all of them had
    # died in between; so each of them must also bear our mark.
    members = [pid for pid, fields in _all_processes() if fields[2] == str(group)]
    return bool(members) and all(_bears_mark(pid) for pid in members)


def _bears_mark(pid: int) -> bool:
    return any(entry.startswith(MARK) for entry in _environ(pid))


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
