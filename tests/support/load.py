"""People who submit runs: as many as the service takes, or at a pace that does not care.

They cost little themselves, so that what is measured is the service: a request is bytes that are
ready, an answer its status, and connections are kept. How long an answer took counts from when
its request was due, also where it had to wait for a connection.
"""

import asyncio
import json
import os
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from statistics import quantiles
from time import monotonic
from typing import Final

JOBS: Final = 20  # of each run
LIMIT_S: Final = 30.0
CONNECTIONS: Final = 1_000  # far more than calls of people are let in at once


@dataclass
class Tally:
    """What became of the submits of one phase."""

    seconds: float = 0.0
    accepted_s: list[float] = field(default_factory=list)  # how long each took
    rejected_s: list[float] = field(default_factory=list)
    other: list[str] = field(default_factory=list)  # neither: errors, and no answer in time
    late_s: list[float] = field(default_factory=list)  # how late we were ourselves

    @property
    def goodput(self) -> float:
        """Runs that were taken, a second."""
        return len(self.accepted_s) / self.seconds

    def __str__(self) -> str:
        return (
            f"{self.goodput:.0f} runs/s taken ({percentiles(self.accepted_s)}),"
            f" {len(self.rejected_s) / self.seconds:.0f}/s turned away"
            f" ({percentiles(self.rejected_s)}), {len(self.other)} other"
        )


class Connection(asyncio.Protocol):
    """One that is kept, with at most one request on it."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[bytes] | None = None
        self._got = b""

    @property
    def is_open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    async def ask(self, request: bytes) -> bytes:
        """The head of the answer, once all of it has come. ConnectionError: it never will."""
        if self._transport is None:
            raise ConnectionResetError
        self._got, self._answer = b"", asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._answer

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._got += data
        head, ends, body = self._got.partition(b"\r\n\r\n")
        is_whole = bool(ends) and len(body) >= int(header(head, b"content-length") or 0)
        if is_whole and self._answer is not None and not self._answer.done():
            self._answer.set_result(head)

    def connection_lost(self, _: Exception | None) -> None:
        self._transport = None
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ConnectionResetError())


class People:
    """Submitters of one job service, who do not ask again when they are turned away."""

    def __init__(self, host: str, port: int, token: str) -> None:
        self._host, self._port = host, port
        self._numbers = count()
        self._idle: deque[Connection] = deque()
        self._places = asyncio.Semaphore(CONNECTIONS)
        jobs = [{"id": f"j{n}", "command": "true"} for n in range(JOBS)]
        body = json.dumps({"pipeline": {"name": "load", "jobs": jobs}})
        self._request = (
            f"POST /v1/runs HTTP/1.1\r\nHost: {host}:{port}\r\nAuthorization: Bearer {token}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
            f"Idempotency-Key: load-%d\r\n\r\n"
        ).encode()
        self._body = body.encode()

    async def as_many_as_go(self, seconds: float, submitters: int = 16) -> Tally:
        """Each submits again as soon as it was answered."""
        tally, began = Tally(), monotonic()

        async def submit_on() -> None:
            while monotonic() - began < seconds:
                await self.submit(tally, monotonic())

        async with asyncio.TaskGroup() as group:
            for _ in range(submitters):
                group.create_task(submit_on())
        tally.seconds = monotonic() - began
        return tally

    async def at_a_pace(self, seconds: float, a_second: float) -> Tally:
        """So many a second, whatever becomes of them."""
        tally, began, sent = Tally(), monotonic(), 0
        async with asyncio.TaskGroup() as group:
            while (passed := monotonic() - began) < seconds:
                for _ in range(int(passed * a_second) - sent):
                    due_at = began + sent / a_second
                    tally.late_s.append(monotonic() - due_at)
                    group.create_task(self.submit(tally, due_at))
                    sent += 1
                await asyncio.sleep(0.002)
            tally.seconds = monotonic() - began
        return tally

    async def submit(self, tally: Tally, due_at: float) -> None:
        request = self._request % next(self._numbers) + self._body
        connection: Connection | None = None
        try:
            async with asyncio.timeout(LIMIT_S), self._places:
                connection = await self._connected()
                head = await connection.ask(request)
        except (OSError, TimeoutError) as error:
            tally.other.append(repr(error))
            if connection is not None:
                connection.close()
            return
        self._idle.append(connection)
        took_s, status = monotonic() - due_at, head[9:12]
        if status == b"201":
            tally.accepted_s.append(took_s)
        elif status == b"503" and header(head, b"retry-after") is not None:
            tally.rejected_s.append(took_s)
        else:
            tally.other.append(head.partition(b"\r\n")[0].decode())

    async def _connected(self) -> Connection:
        while self._idle:
            if (connection := self._idle.pop()).is_open:
                return connection
        loop = asyncio.get_running_loop()
        return (await loop.create_connection(Connection, self._host, self._port))[1]

    def close(self) -> None:
        for connection in self._idle:
            connection.close()


def header(head: bytes, name: bytes) -> bytes | None:
    for line in head.split(b"\r\n")[1:]:
        key, _, value = line.partition(b":")
        if key.lower() == name:
            return value.strip()
    return None


@asynccontextmanager
async def people_at(url: str, token: str) -> AsyncIterator[People]:
    host, _, port = url.removeprefix("http://").rpartition(":")
    people = People(host, int(port), token)
    try:
        yield people
    finally:
        people.close()


def percentiles(times_s: list[float]) -> str:
    if len(times_s) < 2:
        return "-"
    cuts = quantiles(times_s, n=100)
    return f"p50 {cuts[49] * 1_000:.0f} ms, p99 {cuts[98] * 1_000:.0f} ms"


def resident_mib(pid: int) -> float:
    """proc(5), statm: the second number is pages of 4 KiB."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) / 256


def cpu_s(pid: int) -> float:
    """The processor time that it has taken. proc(5), stat: 14 and 15, in ticks."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
