"""A process tree below its keeper, as the worker sees it."""

import asyncio
import os
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import structlog

from shared.ids import AttemptId
from shared.protocol.gateway import Usage
from worker.launcher import wire
from worker.launcher.client import ANSWER_S, Keeper
from worker.ports import Breach, CannotStart, Exit, LeaseOver, WorkerAtFault
from worker.runners.marks import kill_marked

# With a keeper that was told to kill; then it is killed itself. Half of what is left of a lease of
# 30 s when the fence kills (worker/lease.py).
PATIENCE_S: Final = 1.0

log = structlog.get_logger()


class KeptProcess:
    """A process tree below its keeper. `keeper` is None when it ended before we came."""

    def __init__(
        self,
        keeper: Keeper | None,
        attempt_id: AttemptId | None,
        released: Callable[["KeptProcess"], None] = lambda _: None,
    ) -> None:
        self.pid = 0
        self.attempt_id = attempt_id
        self.was_left = keeper is None  # its end is in a file
        self._keeper = keeper
        self._released = released
        loop = asyncio.get_running_loop()
        self._started: asyncio.Future[None] = loop.create_future()
        self._exit: asyncio.Future[Exit] = loop.create_future()
        self._patience: asyncio.TimerHandle | None = None  # with a keeper that is to kill
        if keeper is not None:
            keeper.link.listen(self._hear)

    @property
    def has_ended(self) -> bool:
        return self._exit.done()

    async def wait(self) -> Exit:
        return await asyncio.shield(self._exit)

    def terminate(self) -> None:
        self._say(b"term")

    def kill(self) -> None:
        self._say(b"kill")
        if self._patience is None and not self._exit.done():
            loop = asyncio.get_running_loop()
            self._patience = loop.call_later(PATIENCE_S, self._slay_keeper)

    def permit(self, until: float) -> None:
        self._say(b"until", f"{until:.6f}".encode())

    async def reap(self) -> None:
        if not self._exit.done():
            self.kill()
            await self.wait()
        if not self.attempt_id:  # nobody asks for it again
            self.release()

    def release(self) -> None:
        if self._exit.done():
            self._released(self)
            if self._keeper is not None:
                self._keeper.give_back(self.attempt_id)
                self._keeper = None

    async def started(self) -> None:
        """CannotStart, with the facts of an OSError where it was one."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                await asyncio.shield(self._started)
        except TimeoutError:
            await self._started_late()

    async def _started_late(self) -> None:
        """The same on a machine that is very busy; or a job has stopped its keeper before that
        could tell of the start: then it is ended, and counts as started."""
        for _ in range(round(ANSWER_S / PATIENCE_S)):
            if self._keeper is not None and self._keeper.is_stopped():
                self._begin()
                self._slay_keeper()
                return
            with suppress(TimeoutError):
                async with asyncio.timeout(PATIENCE_S):
                    await asyncio.shield(self._started)
                    return
        self._slay_keeper()
        with suppress(TimeoutError):  # nobody else borrows it before it is gone
            async with asyncio.timeout(ANSWER_S):
                await self.wait()
        raise WorkerAtFault(f"the keeper did not answer within {ANSWER_S:g} s")

    def end(self, ended: list[bytes]) -> None:
        """How it ended is known."""
        code, wall_s, cpu_s, peak, kind, message, *remarks = ended
        number = int(code)
        is_lost = kind == b"lost"
        if self._patience is not None:
            self._patience.cancel()
        if self._exit.done():
            return
        self._exit.set_result(
            Exit(
                exit_code=number if number >= 0 and not is_lost else None,
                signal=-number if number < 0 and not is_lost else None,
                usage=Usage(wall_s=float(wall_s), cpu_s=float(cpu_s), max_rss_bytes=int(peak)),
                lost=message.decode() if is_lost else "",
                breach=Breach(kind.decode(), message.decode()) if kind and not is_lost else None,
                remarks=tuple(line.decode() for line in remarks),
            )
        )

    def _slay_keeper(self) -> None:
        """A job can stop its keeper, which then neither kills nor tells of an end."""
        if not self._exit.done() and self._keeper is not None:
            log.warning("runner.tree_lingers", pid=self.pid)
            self._keeper.slay()

    def _say(self, *parts: bytes) -> None:
        if self._keeper is not None:
            self._keeper.link.say(*parts)

    def _hear(self, parts: list[bytes], files: list[int]) -> None:
        match parts:
            case [b"started", pid]:
                self.pid = int(pid)
                self._begin()
            case [b"failed", wire.LATE]:
                self._fail(LeaseOver())
            case [b"failed", why]:
                self._fail(
                    OSError(int(why), os.strerror(int(why)))
                    if why.isdigit()
                    else ValueError(why.decode())
                )
            case [b"kept", attempt, pid]:
                self.attempt_id, self.pid = AttemptId(attempt.decode()), int(pid)
                self._begin()
            case [b"idle"]:
                self._fail(ValueError("it keeps nothing"))
            case [b"ended", *ended]:
                self._fail(WorkerAtFault("its keeper was killed"))
                self.end(ended)
            case []:
                # Its launcher has gone as well, or it would have spoken in its place.
                if self.attempt_id:
                    kill_marked([self.attempt_id])
                self._fail(WorkerAtFault("its keeper has ended"))
                self.end([b"-9", b"0", b"0", b"0", b"lost", b"its keeper has ended"])

    def _begin(self) -> None:
        if not self._started.done():  # else its word and the end of our patience came together
            self._started.set_result(None)

    def _fail(self, why: OSError | ValueError | CannotStart) -> None:
        if not self._started.done():
            self._started.set_exception(why)
            self._started.exception()  # retrieved: nobody may wait for it
