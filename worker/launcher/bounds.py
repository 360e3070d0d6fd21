"""What one job is held to, and how: by control groups where they can be made, else by resource
limits of its processes (getrlimit(2)) and by looking at them while they run.
"""

import os
import resource
import time
from contextlib import suppress
from typing import Final

from worker.launcher.cgroups import Group, Groups
from worker.launcher.trees import descendants

LOOK_S: Final = 0.1  # between two looks at a job with limits that need it
SCRATCH_SHARE: Final = 20  # of the time, at most one part goes into looking at a folder
BACKSTOP: Final = 4  # times the memory, for one process that grows faster than we look
MIB: Final = 1024 * 1024
CAP_SYS_RESOURCE: Final = 1 << 24
PAGE: Final = os.sysconf("SC_PAGE_SIZE")


def now() -> float:
    """Seconds on the clock that `Runtime.mono` reads. No Runtime comes into a keeper: one would
    bring asyncio with it."""
    return time.clock_gettime(time.CLOCK_MONOTONIC)


class Breach:
    """A limit that a job went beyond, for which it is ended."""

    def __init__(self, kind: str, message: str) -> None:
        self.kind = kind
        self.message = message


class Bounds:
    """The limits of one job, from before it starts until nothing of it lives."""

    def __init__(self, limits: dict[str, float], scratch: str, name: str, groups: Groups) -> None:
        self._limits = limits
        self._scratch = scratch
        self._root = os.getpid()
        self._group: Group | None = None
        self._largest = (0, 0, "")  # bytes, pid, name
        self._peak = 0
        self._next_walk = 0.0
        self.warnings: list[str] = []
        if groups.controllers:
            try:
                self._group = groups.make(name, limits)
            except OSError as error:
                self.warnings.append(f"no control group could be made: {error.strerror}")
        self._held = self._group.controllers if self._group is not None else frozenset()
        self._rlimits = self._choose_rlimits()
        self._warn_of_the_machine()

    @property
    def look_s(self) -> float | None:
        """Seconds between two looks. None: nothing has to be looked at."""
        watched = {"memory_bytes", "scratch_bytes"} | ({"pids"} - self._held)
        return LOOK_S if watched & self._limits.keys() else None

    def enter(self) -> None:
        """The calling process, and what it starts, is held to the limits."""
        if self._group is not None:
            self._group.enter()
        for kind, value in self._rlimits:
            resource.setrlimit(kind, (value, value))
        if "nice" in self._limits:
            os.nice(int(self._limits["nice"]))
        if "cpus" in self._limits and "cpu" not in self._held:
            usable = sorted(os.sched_getaffinity(0))
            os.sched_setaffinity(0, usable[: max(1, -int(-self._limits["cpus"] // 1))])

    def look(self, at: float) -> Breach | None:
        """The limit that the running job is beyond."""
        if "memory_bytes" in self._limits:
            self._measure()
            if self._is_out_of_memory():
                return self._out_of_memory()
        if "pids" in self._limits and "pids" not in self._held:
            count = sum(len(_tasks(pid)) for pid in descendants(self._root))
            if count > self._limits["pids"]:
                wanted = f"limit {self._limits['pids']:.0f}, found {count}"
                return Breach("pids", f"too many processes and threads: {wanted}")
        if "scratch_bytes" in self._limits and at >= self._next_walk:
            return self._look_at_scratch(at)
        return None

    def last_look(self, at: float) -> Breach | None:
        """The limit that it went beyond before it ended by itself."""
        if self._group is not None and self._group.is_out_of_memory():
            return self._out_of_memory()
        return self._look_at_scratch(at) if "scratch_bytes" in self._limits else None

    def remarks(self) -> list[str]:
        """What limits did to it short of its end."""
        count = self._group.refused_starts() if self._group is not None else 0
        times = "once" if count == 1 else f"{count} times"
        limit = f"pids {self._limits.get('pids', 0):.0f}"
        return [f"limit {limit} reached: a process or thread was refused {times}"] if count else []

    def kill(self) -> None:
        if self._group is not None:
            self._group.kill()

    def close(self) -> None:
        """Nothing lives that was held to them."""
        if self._group is not None:
            self._group.remove()

    # -- which way ---------------------------------------------------------------------------

    def _choose_rlimits(self) -> list[tuple[int, int]]:
        chosen = []
        if "open_files" in self._limits:
            most = _most_open_files()
            wanted = int(self._limits["open_files"])
            if wanted > most:
                self._warn("open_files", wanted, f"allows {most:,}, which holds")
            chosen.append((resource.RLIMIT_NOFILE, min(wanted, most)))
        if "file_size_bytes" in self._limits:
            chosen.append((resource.RLIMIT_FSIZE, int(self._limits["file_size_bytes"])))
        if "memory_bytes" in self._limits and "memory" not in self._held:
            backstop = min(BACKSTOP * int(self._limits["memory_bytes"]), 2**62)
            chosen.append((resource.RLIMIT_DATA, backstop))
        if "pids" in self._limits and "pids" not in self._held:
            most = _processes_of(os.getuid()) + int(self._limits["pids"])
            chosen.append((resource.RLIMIT_NPROC, most))
        return [(kind, _lowered(kind, value)) for kind, value in chosen]

    def _warn_of_the_machine(self) -> None:
        cpus = len(os.sched_getaffinity(0))
        memory = os.sysconf("SC_PHYS_PAGES") * PAGE
        if self._limits.get("cpus", 0) > cpus:
            self._warn("cpus", self._limits["cpus"], f"has {cpus}")
        elif "cpus" in self._limits and "cpu" not in self._held:
            self.warnings.append(
                "limit cpus: no control group can be made here, so the job is only kept to "
                f"{max(1, -int(-self._limits['cpus'] // 1))} of the processors"
            )
        if self._limits.get("memory_bytes", 0) > memory:
            self._warn("memory", f"{_mib(self._limits['memory_bytes'])}", f"has {_mib(memory)}")
        if "scratch_bytes" in self._limits and not self._scratch:
            self.warnings.append(
                "limit scratch: has no effect, as the job works in a folder that is not its own"
            )
            del self._limits["scratch_bytes"]

    def _warn(self, name: str, wanted: object, fact: str) -> None:
        self.warnings.append(f"limit {name} {wanted}: is beyond this machine, which {fact}")

    # -- looking -----------------------------------------------------------------------------

    def _measure(self) -> None:
        """How much its processes have resident, and which of them the most."""
        total = 0
        pids = descendants(self._root)
        for pid in pids if self._group is None else self._group.processes():
            size = _resident(pid)
            total += size
            if size > self._largest[0]:
                self._largest = (size, pid, _name(pid))
        self._peak = max(self._peak, total)

    def _is_out_of_memory(self) -> bool:
        if self._group is not None and "memory" in self._held:
            return self._group.is_out_of_memory()
        return self._peak > self._limits["memory_bytes"]

    def _out_of_memory(self) -> Breach:
        peak = self._group.peak_memory() if self._group is not None else None
        size, pid, name = self._largest
        largest = f"{name} (pid {pid}) with {_mib(size)}" if pid else "not seen"
        return Breach(
            "oom",
            f"out of memory: limit {_mib(self._limits['memory_bytes'])}, "
            f"peak {_mib(peak or self._peak)}, largest process {largest}",
        )

    def _look_at_scratch(self, at: float) -> Breach | None:
        began = _cpu_s()
        size = _size_of(self._scratch)
        self._next_walk = at + max(LOOK_S, SCRATCH_SHARE * (_cpu_s() - began))
        if size <= self._limits["scratch_bytes"]:
            return None
        most = _mib(self._limits["scratch_bytes"])
        return Breach("disk", f"too much in its folder: limit {most}, found {_mib(size)}")


def _lowered(kind: int, value: int) -> int:
    """What this process may set: only a privileged one goes above the present limit."""
    hard = resource.getrlimit(kind)[1]
    if hard == resource.RLIM_INFINITY or _may_raise():
        return value
    return min(value, hard)


def _may_raise() -> bool:
    """Whether this process may set limits above those that it has (capabilities(7))."""
    with open("/proc/self/status") as file:
        held = next(int(line.split()[1], 16) for line in file if line.startswith("CapEff:"))
    return bool(held & CAP_SYS_RESOURCE)


def _most_open_files() -> int:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if not _may_raise():
        return hard
    with open("/proc/sys/fs/nr_open") as file:
        return int(file.read())


def _processes_of(uid: int) -> int:
    """Processes and threads of a user, all of which count for RLIMIT_NPROC."""
    count = 0
    for name in os.listdir("/proc"):
        with suppress(OSError):
            if name.isdecimal() and os.stat(f"/proc/{name}").st_uid == uid:
                count += len(_tasks(int(name)))
    return count


def _tasks(pid: int) -> list[str]:
    with suppress(OSError):
        return os.listdir(f"/proc/{pid}/task")
    return []


def _resident(pid: int) -> int:
    with suppress(OSError, IndexError), open(f"/proc/{pid}/statm", "rb") as file:
        return int(file.read().split()[1]) * PAGE
    return 0


def _name(pid: int) -> str:
    with suppress(OSError), open(f"/proc/{pid}/comm", errors="replace") as file:
        return "".join(c if c.isprintable() else "?" for c in file.read().rstrip("\n"))
    return "?"


def _size_of(folder: str) -> int:
    """What its files take on the disk, so that holes cost nothing; each once, by all its names."""
    total = 0
    seen: set[int] = set()
    pending = [folder]
    while pending:
        with suppress(OSError), os.scandir(pending.pop()) as entries:
            for entry in entries:
                with suppress(OSError):
                    found = entry.stat(follow_symlinks=False)
                    if found.st_ino not in seen:
                        seen.add(found.st_ino)
                        total += found.st_blocks * 512
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(entry.path)
    return total


def _cpu_s() -> float:
    times = os.times()
    return times.user + times.system


def _mib(size: float) -> str:
    return f"{size / MIB:,.1f} MiB"
