"""The supervisor of one task: its pipes, its requests, and how it ended.

Heartbeats are the worker's, for all of its attempts at once; a lease that is lost stops the task
through `terminate` and `kill`, as it stops any job.
"""

import asyncio
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from typing import Final

import structlog

from shared.errors import BadRequest, TooLarge
from shared.faultpoints import through
from shared.protocol.task import FRAME_BYTES, BadFrame, encode_error
from shared.runtime import Runtime
from worker.ports import CannotStart, Exit, Process, TaskEnd
from worker.tasks.pipes import HalfFrame, Lines, LogPipe, Oversized, Writer
from worker.tasks.requests import Requests

OVERTIME_S: Final = 10.0  # for a runner to exit, after the task has ended
LINGER_S: Final = 30.0  # for requests that were under way when the runner exited
GRACE_S: Final = 5.0  # between SIGTERM and SIGKILL, of a task that we end ourselves
PYTHON_TOO_OLD: Final = 78  # drawbar/runner/__main__.py exits so; EX_CONFIG of sysexits(3)
MOST_COMPLAINTS: Final = 100
REQUEST, REPLY = "worker.task.request", "worker.task.reply"  # fault points

log = structlog.get_logger()


class TaskProcess:
    """A task runner that was started, until it is reaped."""

    def __init__(
        self,
        process: Process,
        requests: Requests,
        frames: Lines,
        replies: Writer,
        log: LogPipe,
        start: bytes,
        runtime: Runtime,
        then: Callable[[], Awaitable[None]],
    ) -> None:
        """`then` is awaited when the task has told how it ended."""
        self.pid = process.pid
        self._process = process
        self._requests = requests
        self._frames = frames
        self._replies = replies
        self._log = log
        self._start = start
        self._runtime = runtime
        self._then = then
        self._flaw: str | None = None
        self._is_over = asyncio.Event()  # the task has ended, or has to
        self._attending = asyncio.Lock()
        self._exit: Exit | None = None

    async def wait(self) -> Exit:
        async with self._attending:  # whoever comes first attends to the task, others wait for it
            if self._exit is None:
                self._exit = await self._attend()
        return self._exit

    def terminate(self) -> None:
        self._process.terminate()

    def kill(self) -> None:
        self._process.kill()

    async def reap(self) -> None:
        await self._process.reap()
        await self.wait()
        self._log.close()

    def release(self) -> None:
        self._process.release()

    def end(self, flaw: str) -> None:
        """The task cannot go on, and this is why. The first reason counts."""
        if self._flaw is None and self._requests.state is None:
            self._flaw = flaw
            self._log.note(flaw)
            self._is_over.set()
            self._process.terminate()

    async def _attend(self) -> Exit:
        """The runner has ended, and everything that it asked was answered. CannotStart: it never
        began, which shows late where it is in a container."""
        never_began: CannotStart | None = None
        try:
            async with asyncio.TaskGroup() as group:
                talk = group.create_task(self._talk(), name="task requests")
                watch = group.create_task(self._watch(), name="task overtime")
                try:
                    ended = await self._process.wait()
                except CannotStart as error:
                    never_began = error
                watch.cancel()
                self._frames.end()
                if never_began is None:
                    with suppress(TimeoutError):
                        async with asyncio.timeout(LINGER_S):
                            await asyncio.wait([talk])
                talk.cancel()
        finally:
            self._frames.close()
            self._replies.close()
        if never_began is not None:
            self._log.close()
            raise never_began
        told = TaskEnd(
            state=self._requests.state,
            flaw=self._flaw or _how(ended),
            artifacts=tuple(self._requests.artifacts),
        )
        return replace(ended, task=told)

    async def _talk(self) -> None:
        """Every frame is answered, one after the other, until there are no more."""
        await self._say(self._start)
        complaints = 0
        while True:
            try:
                line = await self._frames.next()
            except HalfFrame:
                self.end("the task runner ended in the middle of a frame")
                return
            if line is None:
                return
            if isinstance(line, Oversized):
                error = TooLarge(f"a frame may have {FRAME_BYTES} bytes", limit_bytes=FRAME_BYTES)
                reply = encode_error(None, error)
                complaints += 1
            else:
                try:
                    line = await through(REQUEST, line, attempt=self._requests.attempt_id)
                    reply = await self._requests.answer(line)
                except BadFrame as bad:
                    reply = encode_error(bad.id, BadRequest(str(bad)))
                    complaints += 1
                    if complaints == 1:
                        self._log.note(f"the task runner wrote what is no request: {bad}")
            if complaints >= MOST_COMPLAINTS:
                self.end(f"the task runner wrote {complaints} lines that are no requests")
                return
            await self._say(reply)
            if self._requests.state is not None and not self._is_over.is_set():
                self._is_over.set()
                await self._then()

    async def _say(self, line: bytes) -> None:
        await self._replies.write(await through(REPLY, line, attempt=self._requests.attempt_id))

    async def _watch(self) -> None:
        """A runner that does not exit when its task is over is made to."""
        await self._is_over.wait()
        await self._runtime.sleep(GRACE_S if self._flaw is not None else OVERTIME_S)
        log.warning("task.overtime", pid=self.pid)
        self._process.kill()


def _how(ended: Exit) -> str:
    """For a task that did not say how it ended."""
    if ended.lost:
        return ended.lost
    if ended.exit_code == PYTHON_TOO_OLD:
        return "the task runner needs Python 3.11 or newer, and found an older one"
    if ended.signal is None:
        how = f"exited with {ended.exit_code}"
    else:
        name = signal.Signals(ended.signal).name if ended.signal in _SIGNALS else "?"
        hint = "; was there no memory left?" if ended.signal == signal.SIGKILL else ""
        how = f"was ended by signal {ended.signal} ({name}{hint})"
    return f"the task runner {how} without saying how the task ended"


_SIGNALS: Final = frozenset(signal.Signals)
