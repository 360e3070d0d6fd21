"""One warm server, as its worker sees it: a process that was started, and a socket to it."""

import asyncio
import math
import os
import signal
import socket
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import structlog

from shared.ids import AttemptId
from shared.runtime import Runtime
from worker.ports import CannotStart, Process
from worker.warm.messages import receive, send
from worker.warm.process import WarmProcess

MARK: Final = "DRAWBAR_ATTEMPT_ID"
START_S: Final = 5.0  # for a copy to be made

log = structlog.get_logger()


class Unfit(Exception):
    """The flow cannot be kept warm; the message says why."""


class Gone(Exception):
    """The server makes no copies any more, or does not answer."""


class WarmServer:
    """Imports a flow, and then makes copies of itself. `on_end` is called when it has hung up."""

    def __init__(
        self,
        process: Process,
        link: socket.socket,
        folder: Path,
        runtime: Runtime,
        on_end: Callable[["WarmServer"], None],
    ) -> None:
        """Takes over the socket. `folder`: where it works, empty and its own."""
        link.setblocking(False)
        self.folder = folder
        self.resident_bytes = 0  # once it is ready
        self._process = process
        self._link = link
        self._runtime = runtime
        self._on_end = on_end
        self._loop = asyncio.get_running_loop()
        self._ready: asyncio.Future[None] = self._loop.create_future()
        self._starting: dict[int, asyncio.Future[tuple[int, int]]] = {}
        self._copies: dict[int, WarmProcess] = {}
        self._attempts: dict[str, int] = {}  # whose copy has which pid
        self._count = 0
        self._is_leaving = False
        self._loop.add_reader(link.fileno(), self._read)

    async def ready(self) -> None:
        """The flow is imported. Unfit: it cannot be, or copies of it would not be as new."""
        await asyncio.shield(self._ready)

    async def start(
        self, cwd: str, env: Mapping[str, str], until: float, descriptors: Sequence[int]
    ) -> WarmProcess:
        """A copy runs with these descriptors, which stay the caller's.

        Gone; CannotStart: no such folder, no room for a process, …
        """
        self._count += 1
        number = self._count
        answer = self._starting[number] = self._loop.create_future()
        try:
            ask = {"start": number, "cwd": cwd, "env": dict(env)}
            send(self._link, ask | {"until": _time(until)}, descriptors)
            async with asyncio.timeout(START_S):
                pid, pidfd = await answer
        except (OSError, TimeoutError) as error:
            raise Gone(str(error) or "it does not answer") from error
        finally:
            del self._starting[number]
        copy = self._copies[pid] = WarmProcess(pid, pidfd, self, self._runtime)
        self._attempts[env[MARK]] = pid
        return copy

    def signal(self, pid: int, number: signal.Signals) -> bool:
        return self._tell({"signal": int(number), "pid": pid})

    def permit(self, until: Mapping[AttemptId, float]) -> None:
        """Copies for these attempts are killed at these times, also when the worker is stopped."""
        times = [
            (self._attempts[one], _time(at)) for one, at in until.items() if one in self._attempts
        ]
        if times:
            self._tell({"permit": times})

    def leave(self) -> None:
        """No more copies are wanted; it ends when those that run have ended."""
        self._is_leaving = True
        if not self._copies and not self._starting:
            self._hang_up()

    async def end(self) -> None:
        """Nothing of it lives, nor of its copies. Safe to repeat."""
        self._hang_up()
        self._process.kill()
        await self._process.reap()
        self._process.release()

    # -- what it says --------------------------------------------------------------------------

    def _read(self) -> None:
        try:
            received = receive(self._link)
        except BlockingIOError:
            return
        if received is None:
            self._hang_up()
            return
        said, descriptors = received
        if "ready" in said:
            self.resident_bytes = said["ready"]
            self._settle(None)
        elif "cold" in said:
            self._settle(Unfit(said["cold"]))
        elif "started" in said:
            self._started(said["started"], said["pid"], descriptors)
        elif "refused" in said:
            self._refused(said)
        else:
            self._ended(said)

    def _started(self, number: int, pid: int, descriptors: list[int]) -> None:
        answer = self._starting.get(number)
        if answer is not None and not answer.done():
            answer.set_result((pid, descriptors[0]))
            return
        for fd in descriptors:  # whoever asked has gone, and its pipes with it: it reads no start
            os.close(fd)

    def _refused(self, said: dict[str, Any]) -> None:
        answer = self._starting.get(said["refused"])
        if answer is None or answer.done():
            return
        if said.get("stale"):
            answer.set_exception(Gone("a module that it imported has changed"))
            self._is_leaving = True
        else:
            answer.set_exception(CannotStart(os.strerror(said["errno"])))

    def _ended(self, said: dict[str, Any]) -> None:
        copy = self._copies.pop(said["ended"], None)
        self._attempts = {who: pid for who, pid in self._attempts.items() if pid in self._copies}
        if copy is not None:
            copy.ended(said["status"], said["cpu_s"], said["max_rss"])
        if self._is_leaving:
            self.leave()

    def _tell(self, message: dict[str, Any]) -> bool:
        try:
            send(self._link, message)
        except OSError:
            return False
        return True

    def _hang_up(self) -> None:
        """Safe to repeat."""
        if self._link.fileno() < 0:
            return
        self._loop.remove_reader(self._link.fileno())
        self._link.close()
        self._process.kill()  # it may be busy with an import that never ends
        self._settle(Unfit("it ended while it was imported"))
        for answer in self._starting.values():
            if not answer.done():
                answer.set_exception(Gone("it has ended"))
        for copy in self._copies.values():
            copy.lost()
        self._copies.clear()
        self._on_end(self)

    def _settle(self, error: Unfit | None) -> None:
        if self._ready.done():
            return
        if error is None:
            self._ready.set_result(None)
        else:
            self._ready.set_exception(error)
            self._ready.exception()  # retrieved: perhaps nobody waits for it


def _time(at: float) -> float | None:
    """JSON knows no infinity."""
    return at if math.isfinite(at) else None
