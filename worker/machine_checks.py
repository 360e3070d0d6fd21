"""What can be wrong with a worker's machine: its disk, its memory, its clock, its processes."""

import os
from collections.abc import Awaitable, Callable, Mapping
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Final

from shared.errors import ServiceError
from shared.protocol.registry import Finding
from shared.runtime import Runtime
from worker.health import Check
from worker.memory import available_bytes
from worker.ports import CannotStart, Launch, Process, Runner
from worker.settings import HealthLimits

MIB: Final = 1024 * 1024
FEWEST_FILES: Final = 1_000  # that can still be made
STEPPED_S: Final = 0.5  # a clock that moved so far while it was compared was set meanwhile


def machine_checks(
    data: Path, runner: Runner, limits: HealthLimits, runtime: Runtime
) -> list[Check]:
    """All that concern this machine alone."""
    return [
        DiskCheck(data, limits.min_disk_bytes, runtime),
        MemoryCheck(limits.min_memory_bytes),
        RunnerCheck(data, runner),
    ]


class DiskCheck:
    """A file can be written where the worker keeps its data, and there is room to spare."""

    name = "disk"

    def __init__(self, folder: Path, min_bytes: int, runtime: Runtime) -> None:
        self._folder = folder
        self._min_bytes = min_bytes
        self._runtime = runtime

    async def look(self) -> Finding:
        return await self._runtime.offload(self._look)

    def _look(self) -> Finding:
        """OSError: nothing can be written, which is what is wrong then."""
        probe = self._folder / "health.probe"
        try:
            probe.write_bytes(b"?")
        finally:
            probe.unlink(missing_ok=True)
        found = os.statvfs(self._folder)
        free = found.f_bavail * found.f_frsize
        if found.f_files and found.f_favail < FEWEST_FILES:  # 0: it makes inodes as they are needed
            says = f"room for {found.f_favail} more files; needs {FEWEST_FILES}"
            return Finding(name=self.name, is_good=False, says=says)
        return _enough(self.name, free, self._min_bytes)


class MemoryCheck:
    """There is memory for more processes, on the machine and in our part of it."""

    name = "memory"

    def __init__(self, min_bytes: int, proc: Path = Path("/proc")) -> None:
        self._min_bytes = min_bytes
        self._proc = proc

    async def look(self) -> Finding | None:
        free = available_bytes(self._proc)
        return None if free is None else _enough(self.name, free, self._min_bytes)


class ClockCheck:
    """This machine's clock and the gateway's agree.

    The gateway's answer names a whole second in which it was sent, somewhere between our question
    and now; only what no such second can explain counts as a difference.
    """

    name = "clock"

    def __init__(
        self, ask: Callable[[], Awaitable[Mapping[str, str]]], max_skew_s: float, runtime: Runtime
    ) -> None:
        """`ask` gives the headers of an answer that was made just now."""
        self._ask = ask
        self._max_skew_s = max_skew_s
        self._runtime = runtime

    async def look(self) -> Finding | None:
        asked_at, began = self._runtime.now(), self._runtime.mono()
        try:
            headers = await self._ask()
            there = parsedate_to_datetime(headers["Date"])
        except (ServiceError, KeyError, ValueError):
            return None
        took_s = self._runtime.mono() - began
        moved_s = (self._runtime.now() - asked_at).total_seconds()
        if abs(moved_s - took_s) > STEPPED_S or there.tzinfo is None:
            return None
        behind_s = (there - asked_at).total_seconds()  # how far we are behind, if it came at once
        least, most = behind_s - took_s, behind_s + 1.0
        skew_s = least if least > 0 else min(most, 0.0)
        if abs(skew_s) <= self._max_skew_s:
            return Finding(name=self.name, is_good=True, says=f"{_side(skew_s)}")
        says = f"{_side(skew_s)}; may be {self._max_skew_s:g} s: tokens would not be believed"
        return Finding(name=self.name, is_good=False, says=says)


class RunnerCheck:
    """A process can be started, and its end is noticed."""

    name = "runner"

    def __init__(self, folder: Path, runner: Runner) -> None:
        self._folder = folder
        self._runner = runner

    async def look(self) -> Finding:
        output = self._folder / "health.log"
        launch = Launch(
            argv=("/bin/sh", "-c", ":"),
            env={"PATH": os.defpath},
            cwd=self._folder,
            log=output,
        )
        try:
            process = await self._runner.start(launch)
            return await self._end_of(process)
        except CannotStart as error:
            says = f"cannot start a process: {error}"
            return Finding(name=self.name, is_good=False, says=says[:500])
        finally:
            output.unlink(missing_ok=True)

    async def _end_of(self, process: Process) -> Finding:
        try:
            ended = await process.wait()
        finally:
            process.kill()
            await process.reap()
            process.release()
        if ended.exit_code == 0:
            return Finding(name=self.name, is_good=True, says="processes start and end")
        how = f"exit code {ended.exit_code}" if ended.signal is None else f"signal {ended.signal}"
        return Finding(name=self.name, is_good=False, says=f"a process that does nothing: {how}")


def _enough(name: str, free: int, needed: int) -> Finding:
    if free >= needed:
        return Finding(name=name, is_good=True, says=f"{_size(free)} free")
    return Finding(name=name, is_good=False, says=f"{_size(free)} free; needs {_size(needed)}")


def _size(size_bytes: int) -> str:
    if size_bytes >= 1024 * MIB:
        return f"{size_bytes / (1024 * MIB):.1f} GiB"
    return f"{size_bytes / MIB:.0f} MiB"


def _side(skew_s: float) -> str:
    if abs(skew_s) < 1:
        return "as the gateway's"
    side = "behind" if skew_s > 0 else "ahead of"
    return f"{abs(skew_s):.0f} s {side} the gateway's"
