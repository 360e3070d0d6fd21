"""Runs a command as a process in a session and group of its own.

The exit is watched through a pidfd in the event loop: no thread per process, no signal handler.
Whatever of the group outlives its first process is killed while that process is still a zombie,
which keeps the group's number from being given to somebody else.
"""

import asyncio
import os
import signal
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

import structlog

from shared.ids import AttemptId
from shared.protocol.gateway import Usage
from shared.runtime import Runtime
from worker.joblog import open_log
from worker.ports import CannotStart, Exit, Launch
from worker.runners.groups import GroupLedger, has_living_members
from worker.runners.spawn import Spawner

FIRST_LOOK_S: Final = 0.001
LONGEST_LOOK_S: Final = 0.1
LOOKS_BEFORE_PROC: Final = 4  # reading all of /proc is dear; most groups are empty by then

log = structlog.get_logger()


class ShellProcess:
    """A process group that was started, until it is reaped."""

    def __init__(
        self,
        pid: int,
        runtime: Runtime,
        ledger: GroupLedger | None,
    ) -> None:
        self.pid = pid
        self._runtime = runtime
        self._ledger = ledger
        self._record = ledger.note(self.pid) if ledger is not None else -1
        self._began = runtime.mono()
        self._loop = asyncio.get_running_loop()
        self._exit: asyncio.Future[Exit] = self._loop.create_future()
        self._is_reaped = False
        self._pidfd = os.pidfd_open(self.pid)
        self._loop.add_reader(self._pidfd, self._ended)

    async def wait(self) -> Exit:
        return await asyncio.shield(self._exit)

    def terminate(self) -> None:
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        self._signal(signal.SIGKILL)

    async def reap(self) -> None:
        self.kill()
        await self.wait()
        look_s = FIRST_LOOK_S
        looks = 0
        while not self._is_reaped:
            if self._is_empty(ask_proc=looks >= LOOKS_BEFORE_PROC):
                self._is_reaped = True
                if self._ledger is not None:
                    self._ledger.forget(self._record)
                return
            looks += 1
            if looks == 100:
                log.warning("runner.group_lingers", pid=self.pid)
            self._signal_group(signal.SIGKILL)
            await self._runtime.sleep(look_s)
            look_s = min(2 * look_s, LONGEST_LOOK_S)

    def release(self) -> None:
        """Nothing is kept of it in any case."""

    def _ended(self) -> None:
        """The first process is a zombie: end the rest, then take its status."""
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        self._signal_group(signal.SIGKILL)
        _, status, used = os.wait4(self.pid, 0)
        code = os.waitstatus_to_exitcode(status)
        self._exit.set_result(
            Exit(
                exit_code=code if code >= 0 else None,
                signal=-code if code < 0 else None,
                usage=Usage(
                    wall_s=self._runtime.mono() - self._began,
                    cpu_s=used.ru_utime + used.ru_stime,
                    max_rss_bytes=used.ru_maxrss * 1024,  # Linux counts in KiB
                ),
            )
        )

    def _signal(self, number: signal.Signals) -> None:
        """Only while the first process holds the group's number."""
        if not self._exit.done():
            self._signal_group(number)

    def _signal_group(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)

    def _is_empty(self, *, ask_proc: bool) -> bool:
        try:
            os.killpg(self.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            pass  # it lives, as somebody else
        return ask_proc and not has_living_members(self.pid)


class ShellRunner:
    """`Runner` for commands of this machine."""

    def __init__(self, runtime: Runtime, ledger: GroupLedger | None = None) -> None:
        self._runtime = runtime
        self._ledger = ledger
        self._spawner = Spawner()
        self._null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)

    def close(self) -> None:
        """No more starts. Safe to repeat."""
        if self._null >= 0:
            os.close(self._null)
            self._null = -1
        if self._ledger is not None:
            self._ledger.close()

    async def start(self, launch: Launch) -> ShellProcess:
        output = open_log(launch.log, os.O_WRONLY)
        stdin = self._null
        try:
            if launch.stdin:
                stdin = _in_memory(launch.stdin)
            return await self.start_wired(launch, stdin, output, output)
        finally:
            os.close(output)
            if stdin != self._null:
                os.close(stdin)

    async def attach(self, attempt_id: AttemptId) -> ShellProcess | None:
        """None: what this runner starts is its own child, and cannot be another's."""
        return None

    def permit(self, until: Mapping[AttemptId, float]) -> None:
        """Nothing to do: no worker, no processes."""

    async def start_wired(
        self, launch: Launch, stdin: int, stdout: int, stderr: int
    ) -> ShellProcess:
        """The process runs with these three descriptors, which stay the caller's."""
        if not launch.argv:
            raise CannotStart("there is no command")
        try:
            # Returns when the new program runs: 0.4 ms, less than it would cost to wait elsewhere.
            pid = self._spawner.spawn(
                launch.argv,
                launch.env,
                str(launch.cwd),
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
            )
        except (OSError, ValueError) as error:  # ValueError: a NUL byte in argv or env
            raise CannotStart(_why(error, launch)) from error
        try:
            return ShellProcess(pid, self._runtime, self._ledger)
        except OSError as error:  # out of file descriptors, or of disk
            os.killpg(pid, signal.SIGKILL)
            os.waitpid(pid, 0)  # noqa: ASYNC222 - it was killed a moment ago
            raise CannotStart(f"cannot watch the process: {error.strerror}") from error


def _in_memory(data: bytes) -> int:
    """A file without a name, to be read from its beginning."""
    fd = os.memfd_create("stdin", os.MFD_CLOEXEC)
    with open(fd, "wb", closefd=False) as file:
        file.write(data)
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


def _why(error: OSError | ValueError, launch: Launch) -> str:
    command = launch.argv[0] if launch.argv else ""
    if isinstance(error, ValueError):
        return f"cannot start {command!r}: {error}"
    if not os.path.isdir(launch.cwd):
        return f"the working directory {str(launch.cwd)!r} does not exist"
    if isinstance(error, FileNotFoundError):
        return f"no such command: {command!r}"
    return f"cannot start {command!r}: {error.strerror}"
