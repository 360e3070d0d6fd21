"""The three pipes between a simulated task and its supervisor, which live in two processes.

Frames arrive in order, a moment later, and an end that dies is closed. What a task prints is in
its log as soon as its worker runs to read it; what a worker had not read when it died is lost.
"""

import asyncio
import random
from collections import deque
from typing import Final

from simulation.files import SimDisk
from simulation.history import History
from simulation.process import Process

HOP_S: Final = (1e-5, 1e-3)


class Pipe:
    """Lines from one process to another of the same machine."""

    def __init__(self, writer: Process, reader: Process, chance: random.Random) -> None:
        self._reader = reader
        self._chance = chance
        self._arrives_at = 0.0
        self._lines: deque[bytes] = deque()
        self._is_closed = False  # to whoever writes
        self._is_over = False  # for whoever reads, after what is left
        self._waiting: asyncio.Future[None] | None = None
        writer.at_death.append(self.close)

    async def write(self, line: bytes) -> None:
        """It is on its way, unless nothing goes through here any more."""
        if not self._is_closed:
            self._send(line)

    def close(self) -> None:
        """No more comes after what is on its way. Safe to repeat."""
        if not self._is_closed:
            self._is_closed = True
            self._send(None)

    end = close

    async def next(self) -> bytes | None:
        """None: there is no more."""
        while not self._lines:
            if self._is_over:
                return None
            self._waiting = asyncio.get_running_loop().create_future()
            await self._waiting
        return self._lines.popleft()

    def _send(self, line: bytes | None) -> None:
        loop = self._reader.loop
        self._arrives_at = max(self._arrives_at, loop.now + self._chance.uniform(*HOP_S))
        loop.at(self._arrives_at, self._reader, self._arrive, line)

    def _arrive(self, line: bytes | None) -> None:
        if line is None:
            self._is_over = True
        else:
            self._lines.append(line)
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)


class LogPipe:
    """What a task prints, on its way into the file of its attempt's log."""

    def __init__(
        self, worker: Process, disk: SimDisk, path: str, history: History, attempt_id: str
    ) -> None:
        self._worker = worker
        self._disk = disk
        self._path = path
        self._history = history
        self._attempt_id = attempt_id
        self._unread = b""
        self._is_open = True
        worker.at_death.append(self._break)

    def feed(self, data: bytes) -> None:
        """The task has printed this."""
        if self._is_open and data:
            self._unread += data
            loop = self._worker.loop
            loop.at(loop.now, self._worker, self._pass_on)

    def note(self, text: str) -> None:
        """A line of the supervisor's own."""
        self._pass_on()
        self._append(f"[drawbar] {text}\n".encode())

    def close(self) -> None:
        """All that was printed is in the file. Safe to repeat."""
        self._pass_on()
        self._is_open = False

    def _pass_on(self) -> None:
        data, self._unread = self._unread, b""
        if data:
            self._append(data)

    def _append(self, data: bytes) -> None:
        self._disk.append(self._path, len(self._disk.seen(self._path)), data)

    def _break(self) -> None:
        """The worker is dead: nobody reads what the task prints from now on."""
        if self._is_open:
            self._is_open = False
            self._history.event("log_torn", attempt=self._attempt_id)


class Wires:
    """All three, as they are laid for a start."""

    def __init__(
        self,
        worker: Process,
        host: Process,
        chance: random.Random,
        log: LogPipe,
    ) -> None:
        self.replies = Pipe(worker, host, chance)  # and before them the start frame
        self.requests = Pipe(host, worker, chance)
        self.log = log
