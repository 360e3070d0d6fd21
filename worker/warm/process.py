"""A task runner that is a copy of a warm server: its parent is the server, not this worker."""

import asyncio
import os
import signal
from contextlib import suppress
from typing import Final, Protocol

import structlog

from shared.protocol.gateway import Usage
from shared.runtime import Runtime
from worker.ports import Exit
from worker.runners.marks import has_living_members

FIRST_LOOK_S: Final = 0.001
LONGEST_LOOK_S: Final = 0.1
LOOKS_BEFORE_PROC: Final = 4

log = structlog.get_logger()


class Parent(Protocol):
    """Who can signal the group of a copy, as nobody else has its number before it is reaped."""

    def signal(self, pid: int, number: signal.Signals) -> bool:
        """Whether the server was told. Safe when the copy has ended."""


class WarmProcess:
    """A copy that was started, until it is reaped. `ended` and `lost` are its parent's to call."""

    def __init__(self, pid: int, pidfd: int, parent: Parent, runtime: Runtime) -> None:
        """Takes over the descriptor."""
        self.pid = pid
        self._pidfd = pidfd
        self._parent = parent
        self._runtime = runtime
        self._began = runtime.mono()
        self._loop = asyncio.get_running_loop()
        self._exit: asyncio.Future[Exit] = self._loop.create_future()

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
        while not self._is_empty(ask_proc=looks >= LOOKS_BEFORE_PROC):
            looks += 1
            if looks == 100:
                log.warning("runner.group_lingers", pid=self.pid)
            await self._runtime.sleep(look_s)
            look_s = min(2 * look_s, LONGEST_LOOK_S)

    def release(self) -> None:
        """Nothing of it is kept: it never outlives its worker."""

    def ended(self, status: int, cpu_s: float, max_rss_bytes: int) -> None:
        """It was reaped by its parent, and its group was sent SIGKILL before."""
        code = os.waitstatus_to_exitcode(status)
        self._end(
            Exit(
                exit_code=code if code >= 0 else None,
                signal=-code if code < 0 else None,
                usage=Usage(wall_s=self._wall_s(), cpu_s=cpu_s, max_rss_bytes=max_rss_bytes),
            )
        )

    def lost(self) -> None:
        """Its parent has died, and with it the knowledge of how this process ends: it is killed."""
        if not self._exit.done():
            self._signal_itself(signal.SIGKILL)
            self._loop.add_reader(self._pidfd, self._vanished)

    def _vanished(self) -> None:
        self._loop.remove_reader(self._pidfd)
        usage = Usage(wall_s=self._wall_s(), cpu_s=None, max_rss_bytes=None)
        self._end(Exit(exit_code=None, signal=signal.SIGKILL, usage=usage))

    def _end(self, ended: Exit) -> None:
        if not self._exit.done():
            os.close(self._pidfd)
            self._exit.set_result(ended)

    def _wall_s(self) -> float:
        return self._runtime.mono() - self._began

    def _signal(self, number: signal.Signals) -> None:
        if not self._exit.done() and not self._parent.signal(self.pid, number):
            self._signal_itself(number)

    def _signal_itself(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError, PermissionError):
            signal.pidfd_send_signal(self._pidfd, number)

    def _is_empty(self, *, ask_proc: bool) -> bool:
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            return True
        except PermissionError:
            pass  # it lives, as somebody else
        return ask_proc and not has_living_members(self.pid)
