"""One direction of one connection: bytes come in, and go out as the faults will have it."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Final, TypeVar

from faults.proxy.board import Active, Board
from faults.proxy.words import (
    Bandwidth,
    Corrupt,
    HalfOpen,
    Latency,
    LimitData,
    ResetMidway,
    Slicer,
    SlowClose,
    Stall,
    Way,
)
from shared.runtime import Runtime

PIECE: Final = 65_536
QUEUED: Final = 64  # pieces under way
DRAIN_S: Final = 3_600.0  # a receiver that takes nothing for this long is gone

Understand = Callable[[bytes], AsyncIterator[bytes]]
W = TypeVar(
    "W",
    Latency,
    Bandwidth,
    Slicer,
    LimitData,
    ResetMidway,
    Stall,
    HalfOpen,
    SlowClose,
    Corrupt,
)


class Cut(Exception):
    """The connection ends here."""

    def __init__(self, *, is_reset: bool) -> None:
        super().__init__()
        self.is_reset = is_reset


class Lane:
    """`read` and `write` run side by side, so that a delay does not narrow the stream."""

    def __init__(
        self,
        way: Way,
        source: asyncio.StreamReader,
        target: asyncio.StreamWriter,
        board: Board,
        runtime: Runtime,
    ) -> None:
        self._way = way
        self._source = source
        self._target = target
        self._board = board
        self._runtime = runtime
        self._queue: asyncio.Queue[tuple[float, bytes | Cut | None]] = asyncio.Queue(QUEUED)
        self._last_due = 0.0
        self._passed = 0
        self._since: dict[Active, int] = {}  # how much had passed when a fault was first met
        self._hit: dict[Active, bool] = {}

    async def read(self, understand: Understand) -> None:
        """Everything that came was queued, and then the end."""
        cut: Cut | None = None
        try:
            while data := await self._source.read(PIECE):
                async for piece in understand(data):
                    if piece:
                        await self.put(piece)
        except Cut as reason:  # what came before still goes out
            cut = reason
        await self._queue.put((self._runtime.mono(), cut))

    async def put(self, data: bytes) -> None:
        """These bytes go out when it is their time."""
        for piece in self._sliced(data):
            await self._queue.put((self._due(len(piece)), piece))

    async def write(self) -> None:
        """Everything that was queued went out. Cut: a fault ends the connection."""
        while True:
            due, piece = await self._queue.get()
            await self._runtime.sleep(max(0.0, due - self._runtime.mono()))
            await self._held_back()
            if isinstance(piece, Cut):
                raise piece
            if piece is None:
                await self._end()
                return
            await self._send(piece)

    def _mine(self, kind: type[W]) -> list[tuple[Active, W]]:
        """Faults of a kind that strike this direction; drawn once for a connection."""
        found = []
        for active in self._board.active:
            fault = active.fault
            if isinstance(fault, kind) and fault.way in (self._way, Way.BOTH):
                if active not in self._hit:
                    self._hit[active] = self._board.falls(active)
                    self._since[active] = self._passed
                if self._hit[active]:
                    found.append((active, fault))
        return found

    def _once(self, kind: type[W]) -> list[W]:
        """As `_mine`, and each counts as one strike for the connection."""
        known = set(self._hit)
        found = self._mine(kind)
        for active, _ in found:
            if active not in known:
                self._board.struck(active, way=self._way.value)
        return [fault for _, fault in found]

    def _sliced(self, data: bytes) -> list[bytes]:
        for fault in self._once(Slicer):
            pieces = []
            while data:
                size = self._board.rng.randint(1, fault.max_bytes)
                pieces.append(data[:size])
                data = data[size:]
            return pieces
        return [data]

    def _due(self, size: int) -> float:
        """When a piece goes out: never before the one ahead of it."""
        due = self._runtime.mono()
        for late in self._once(Latency):
            jitter = late.jitter_s * self._board.rng.uniform(-1, 1)
            due += max(0.0, late.latency_s + jitter)
        due = max(due, self._last_due)
        for _, slicer in self._mine(Slicer):
            due += slicer.gap_s
        for narrow in self._once(Bandwidth):
            due += size / narrow.bytes_per_s
        self._last_due = due
        return due

    async def _held_back(self) -> None:
        """No fault holds bytes back here any more."""
        noted: set[Active] = set()
        while True:
            change = self._board.change
            stalls: list[tuple[Active, Stall | HalfOpen]] = [
                *self._mine(Stall),
                *self._mine(HalfOpen),
            ]
            holding = [
                active
                for active, fault in stalls
                if self._passed - self._since[active] >= fault.after_bytes
            ]
            if not holding:
                return
            for active in holding:
                if active not in noted:
                    noted.add(active)
                    self._board.struck(active, way=self._way.value)
            if any(isinstance(active.fault, HalfOpen) for active in holding):
                await asyncio.get_running_loop().create_future()  # nothing comes through for ever
            await change.wait()

    async def _send(self, piece: bytes) -> None:
        for active, _ in self._mine(Corrupt):
            if self._board.falls(active):
                self._board.struck(active, way=self._way.value)
                piece = self._flipped(piece)
        limits: list[tuple[Active, LimitData | ResetMidway]] = [
            *self._mine(LimitData),
            *self._mine(ResetMidway),
        ]
        for active, fault in limits:
            room = fault.after_bytes - (self._passed - self._since[active])
            if len(piece) >= room and not active.is_spent:
                await self._out(piece[: max(0, room)])
                self._board.struck(active, way=self._way.value)
                raise Cut(is_reset=isinstance(fault, ResetMidway))
        await self._out(piece)

    def _flipped(self, piece: bytes) -> bytes:
        at = self._board.rng.randrange(len(piece))
        byte = piece[at] ^ 1 << self._board.rng.randrange(8)
        return piece[:at] + bytes([byte]) + piece[at + 1 :]

    async def _out(self, piece: bytes) -> None:
        self._target.write(piece)
        self._passed += len(piece)
        async with asyncio.timeout(DRAIN_S):
            await self._target.drain()

    async def _end(self) -> None:
        for slow in self._once(SlowClose):
            await self._runtime.sleep(slow.delay_s)
        if self._target.can_write_eof():
            self._target.write_eof()


def hang_up(writer: asyncio.StreamWriter, *, is_reset: bool) -> None:
    """The connection is closed; with a reset, the other end gets an error instead of an end."""
    if is_reset:
        connection = writer.get_extra_info("socket")
        if connection is not None:
            linger = struct.pack("ii", 1, 0)  # close(2) sends RST (socket(7), SO_LINGER)
            with suppress(OSError):  # it is closed already: the other end was quicker
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        writer.transport.abort()
    else:
        writer.close()
