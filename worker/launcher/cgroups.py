"""Control groups for jobs with limits, where this process may make them (cgroups(7)).

Version 1 has a tree per controller, version 2 one for all; a machine may have both. A group is made
below the launcher's own, so it is bounded by whatever bounds the worker.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Final

from worker.launcher.trees import descendants

CONTROLLERS: Final = ("memory", "pids", "cpu")
PERIOD_US: Final = 100_000  # of the processor's time, of which a group gets a part
PREFIX: Final = "drawbar-"


class Groups:
    """Where groups can be made: a folder for each controller that can be used."""

    def __init__(self, folders: dict[str, str], unified: str | None) -> None:
        self._folders = folders
        self._unified = unified  # that of version 2, which kills a group at one stroke

    @property
    def controllers(self) -> frozenset[str]:
        return frozenset(self._folders)

    def make(self, name: str, limits: dict[str, float]) -> "Group":
        """A group with what it can hold of these limits. OSError: it cannot be made."""
        wanted = {c: f for c, f in self._folders.items() if _FIELDS[c] in limits}
        folders = {c: f"{folder}/{PREFIX}{name}" for c, folder in wanted.items()}
        if self._unified is not None and wanted:
            folders["kill"] = f"{self._unified}/{PREFIX}{name}"
        group = Group(folders, is_unified=lambda c: wanted.get(c) == self._unified)
        try:
            for folder in dict.fromkeys(folders.values()):
                os.mkdir(folder)
            group.set_limits(limits)
        except OSError:
            group.remove()
            raise
        return group


class Group:
    """One job's. Its processes are in a folder for each of the controllers that bound them."""

    def __init__(self, folders: dict[str, str], is_unified: Callable[[str], bool]) -> None:
        self._folders = folders
        self._is_unified = is_unified

    @property
    def controllers(self) -> frozenset[str]:
        return frozenset(self._folders) - {"kill"}

    def enter(self) -> None:
        """The calling process is in it, and so is whatever it starts."""
        for folder in dict.fromkeys(self._folders.values()):
            _write(folder, "cgroup.procs", "0")

    def kill(self) -> None:
        """Everything in it was killed at one stroke, where the kernel can (Linux 5.14)."""
        if "kill" in self._folders:
            with suppress(OSError):
                _write(self._folders["kill"], "cgroup.kill", "1")

    def remove(self) -> None:
        """It is gone: nothing lives in it."""
        for folder in dict.fromkeys(self._folders.values()):
            with suppress(OSError):
                os.rmdir(folder)

    def set_limits(self, limits: dict[str, float]) -> None:
        for controller in self.controllers:
            folder = self._folders[controller]
            value = limits[_FIELDS[controller]]
            if controller == "pids":
                _write(folder, "pids.max", f"{value:.0f}")
            elif controller == "cpu":
                quota = f"{value * PERIOD_US:.0f}"
                if self._is_unified(controller):
                    _write(folder, "cpu.max", f"{quota} {PERIOD_US}")
                else:
                    _write(folder, "cpu.cfs_period_us", str(PERIOD_US))
                    _write(folder, "cpu.cfs_quota_us", quota)
            elif self._is_unified(controller):
                _write(folder, "memory.max", f"{value:.0f}")
                with suppress(OSError):  # kernels without swap
                    _write(folder, "memory.swap.max", "0")
                _write(folder, "memory.oom.group", "1")
            else:
                _write(folder, "memory.limit_in_bytes", f"{value:.0f}")
                with suppress(OSError):  # kernels that do not count swap
                    _write(folder, "memory.memsw.limit_in_bytes", f"{value:.0f}")
                with suppress(OSError):
                    # What needs more then waits, and we can see who took how much before we
                    # end the job. The kernel would kill the largest one, and not say which.
                    _write(folder, "memory.oom_control", "1")

    def is_out_of_memory(self) -> bool:
        """It needs more than it may have, or did so and something of it was killed for that."""
        if "memory" not in self._folders:
            return False
        name = "memory.events" if self._is_unified("memory") else "memory.oom_control"
        facts = _facts(self._folders["memory"], name)
        return facts.get("under_oom", 0) > 0 or facts.get("oom_kill", 0) > 0

    def peak_memory(self) -> int | None:
        """Bytes; None where the kernel does not tell."""
        name = "memory.peak" if self._is_unified("memory") else "memory.max_usage_in_bytes"
        with suppress(OSError, KeyError), open(f"{self._folders['memory']}/{name}") as file:
            return int(file.read())
        return None

    def refused_starts(self) -> int:
        """How often it could not start a process because it had too many."""
        if "pids" not in self._folders:
            return 0
        return _facts(self._folders["pids"], "pids.events").get("max", 0)

    def processes(self) -> list[int]:
        folder = next(iter(self._folders.values()), "")
        return [int(pid) for pid in _words(f"{folder}/cgroup.procs")]


_FIELDS: Final = {"memory": "memory_bytes", "pids": "pids", "cpu": "cpus"}


def find_groups(worker: int, proc: str = "/proc/self") -> Groups:
    """Where this process may make groups; perhaps nowhere. Those of launchers that were killed
    are removed. `worker` is who started this launcher."""
    folders: dict[str, str] = {}
    unified: str | None = None
    own = dict(own_groups(proc))
    for kind, mount, options in own_mounts(proc):
        names = [""] if kind == "cgroup2" else [c for c in CONTROLLERS if c in options.split(",")]
        for name in names:
            if name not in own or ".." in own[name]:
                continue
            home = (mount + own[name]).removesuffix(f"/{PREFIX}worker").rstrip("/")
            if not _can_make(home):
                continue
            if kind == "cgroup":
                folders[name] = home
                continue
            wanted: list[str] = [
                c for c in CONTROLLERS if c in _words(f"{home}/cgroup.controllers")
            ]
            if wanted and _delegate(home, wanted, worker):
                folders |= dict.fromkeys(wanted, home)
            unified = home
    return Groups(folders, unified)


def _can_make(home: str) -> bool:
    """Whether groups can be made there. Those of launchers that have ended are gone."""
    probe = f"{home}/{PREFIX}{os.getpid()}-probe"
    try:
        os.mkdir(probe)
        os.rmdir(probe)
        names = os.listdir(home)
    except OSError:
        return False
    for name in names:
        pid = name.removeprefix(PREFIX).partition("-")[0]
        if name.startswith(PREFIX) and pid.isdecimal() and not os.path.exists(f"/proc/{pid}"):
            with suppress(OSError):  # something lives in it
                os.rmdir(f"{home}/{name}")
    return True


def _delegate(home: str, wanted: list[str], worker: int) -> bool:
    """Groups below `home` can have these controllers. With processes in it none can, so what is in
    it moves into a group below, as systemd asks of services with Delegate=yes; but only when all
    of it is our worker's."""
    enable = " ".join(f"+{c}" for c in wanted)
    with suppress(OSError):
        _write(home, "cgroup.subtree_control", enable)
        return True
    inside = [int(pid) for pid in _words(f"{home}/cgroup.procs")]
    launcher = os.getppid()
    ours = {worker, *descendants(worker), launcher, *descendants(launcher)}
    if 1 in ours or not {*inside} <= ours:
        return False
    try:
        inner = f"{home}/{PREFIX}worker"
        with suppress(FileExistsError):
            os.mkdir(inner)
        for pid in inside:
            with suppress(ProcessLookupError):
                _write(inner, "cgroup.procs", str(pid))
        _write(home, "cgroup.subtree_control", enable)
    except OSError:
        return False
    return True


def own_groups(proc: str) -> Iterator[tuple[str, str]]:
    """Of each controller, and of version 2 under no name, the group that this process is in."""
    with suppress(OSError), open(f"{proc}/cgroup") as file:
        for line in file:
            _, controllers, path = line.rstrip("\n").split(":", 2)
            for name in controllers.split(","):
                yield name, path


def own_mounts(proc: str) -> Iterator[tuple[str, str, str]]:
    with suppress(OSError), open(f"{proc}/mounts") as file:
        for line in file:
            _, mount, kind, options, *_ = line.split()
            if kind in ("cgroup", "cgroup2"):
                yield kind, mount, options


def _facts(folder: str, name: str) -> dict[str, int]:
    with suppress(OSError), open(f"{folder}/{name}") as file:
        return {word: int(number) for word, number in map(str.split, file)}
    return {}


def _words(path: str) -> list[str]:
    with suppress(OSError), open(path) as file:
        return file.read().split()
    return []


def _write(folder: str, name: str, text: str) -> None:
    fd = os.open(f"{folder}/{name}", os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)
