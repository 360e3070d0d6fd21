"""An in-memory network under unmodified aiohttp: ordered streams between simulated processes.

Streams behave like TCP: bytes arrive in order and unharmed or not at all, cut anywhere, after a
seeded delay. A cut link keeps segments until it heals, as retransmission would. A killed process
resets its connections; one that lost power says nothing until its machine is back.
"""

import asyncio
import collections
import hashlib
import random
import re
import socket
from collections.abc import Callable
from typing import Any, Final, Literal

from simulation.loop import SimulatedLoop
from simulation.process import Process

Kind = Literal["data", "fin", "rst"]
Link = tuple[str, str]  # names of the sending and the receiving machine

LATENCY_S: Final = (0.0002, 0.005)
CONNECT_GIVES_UP_S: Final = 60.0
SYN_AGAIN_S: Final = 0.5
WINDOW_BYTES: Final = 65_536
SPLIT_CHANCE: Final = 0.3


class Socket:
    """What the client's socket factory returns; the connection itself is a `Transport`."""

    family, type, proto = socket.AF_INET, socket.SOCK_STREAM, 6

    def __init__(self, *_: object) -> None:
        self.transport: Transport | None = None
        self.address: tuple[str, int] = ("0.0.0.0", 0)

    def setblocking(self, flag: bool) -> None: ...

    def setsockopt(self, *args: object) -> None: ...

    def bind(self, address: object) -> None: ...

    def fileno(self) -> int:
        return -1

    def getsockname(self) -> tuple[str, int]:
        return self.address

    def close(self) -> None:
        """Give up a connection that no protocol took over."""
        if self.transport is not None and self.transport.protocol is None:
            self.transport.abort()


class Listener(asyncio.AbstractServer):
    """An open port of one process."""

    def __init__(self, network: "Network", process: Process, port: int, factory: Any) -> None:
        self.process = process
        self.factory = factory
        self._network = network
        self._key = (process.name, port)
        if self._key in network.listeners:
            raise OSError(98, "Address already in use")
        network.listeners[self._key] = self
        process.at_death.append(self.close)
        listening = Socket()
        listening.address = (network.address_of(process.name), port)
        self.sockets = (listening,)

    def close(self) -> None:
        if self._network.listeners.get(self._key) is self:
            del self._network.listeners[self._key]

    def is_serving(self) -> bool:
        return self._network.listeners.get(self._key) is self

    def get_loop(self) -> asyncio.AbstractEventLoop:
        return self.process.loop

    async def start_serving(self) -> None: ...

    async def serve_forever(self) -> None: ...

    async def wait_closed(self) -> None: ...


class Network:
    """All links, ports and connections of one universe."""

    def __init__(self, loop: SimulatedLoop) -> None:
        self.loop = loop
        self.listeners: dict[tuple[str, int], Listener] = {}
        self.cut: set[Link] = set()  # never iterated, so its order does not matter
        self.slow: dict[Link, tuple[float, float]] = {}
        self.chance = random.Random(f"network-{loop.seed}")
        self.segments = 0
        self._addresses: dict[str, str] = {}
        self._held: list[tuple[Transport, Kind, bytes]] = []
        self._last_port = 40_000
        loop.network = self

    def address_of(self, name: str) -> str:
        if re.fullmatch(r"[0-9.]+", name):
            return name
        return self._addresses.setdefault(name, f"10.0.0.{len(self._addresses) + 1}")

    def latency(self, source: str, target: str) -> float:
        return self.chance.uniform(*self.slow.get((source, target), LATENCY_S))

    def heal(self) -> None:
        """Every link works and is fast; what was held back is on its way."""
        self.cut.clear()
        self.slow.clear()
        held, self._held = self._held, []
        for transport, kind, data in held:
            transport.ship(kind, data)

    def close(self) -> None:
        """Nothing of it is referenced from here any more."""
        self.listeners.clear()
        self._held.clear()

    def hold(self, transport: "Transport", kind: Kind, data: bytes) -> None:
        self._held.append((transport, kind, data))

    def reset_connections(self, process: Process) -> None:
        """Both ends of every connection of `process` see a reset."""
        for transport in list(process.transports):
            transport.break_off()

    def process_died(self, process: Process) -> None:
        """The kernel resets the connections of a killed process; without power nobody does."""
        for transport in process.transports:
            if process.machine.is_powered:
                transport.ship("rst", b"")

    # -- connecting ---------------------------------------------------------------------------

    def listen(self, process: Process, port: int, factory: Callable[[], Any]) -> Listener:
        return Listener(self, process, port, factory)

    async def connect(self, process: Process, sock: Socket, address: tuple[str, int]) -> None:
        """`sock` is connected; the other process will accept when it runs."""
        me, peer = process.name, self._name_of(address[0])
        await asyncio.sleep(self.latency(me, peer))
        gives_up_at = self.loop.now + CONNECT_GIVES_UP_S
        while self._swallows_syn(me, peer):
            if self.loop.now > gives_up_at:
                raise TimeoutError(110, "Connection timed out")
            await asyncio.sleep(SYN_AGAIN_S)
        listener = self.listeners.get((peer, address[1]))
        await asyncio.sleep(self.latency(peer, me))
        if listener is None or not listener.process.is_alive:
            raise ConnectionRefusedError(111, f"Connect call failed {address}")
        self._last_port += 1
        sock.address = (self.address_of(me), self._last_port)
        sock.transport = Transport(self, process, sock.address)
        other = Transport(self, listener.process, listener.sockets[0].address)
        sock.transport.peer, other.peer = other, sock.transport
        arrives_at = self.loop.now + self.latency(me, peer)
        sock.transport.last_arrival = arrives_at
        self.loop.at(arrives_at, listener.process, other.accept, listener.factory)

    def attach(self, sock: Socket, factory: Callable[[], Any]) -> "tuple[Transport, Any]":
        """The connected `sock` has a protocol from now on."""
        assert sock.transport is not None
        protocol = factory()
        sock.transport.start(protocol)
        return sock.transport, protocol

    def _swallows_syn(self, me: str, peer: str) -> bool:
        machine = self.loop.machines.get(peer)
        is_off = machine is not None and not machine.is_powered
        return is_off or (me, peer) in self.cut or (peer, me) in self.cut

    def _name_of(self, address: str) -> str:
        return next((name for name, a in self._addresses.items() if a == address), address)


class Transport(asyncio.Transport):
    """One end of a connection, owned by one process."""

    def __init__(self, network: Network, process: Process, address: tuple[str, int]) -> None:
        super().__init__()
        self.protocol: Any = None
        self.peer: Transport = self  # set as soon as the other end exists
        self.last_arrival = 0.0
        self._network = network
        self._loop = network.loop
        self._process = process
        self._address = address
        self._in_flight = 0
        self._is_write_paused = False
        self._is_read_paused = False
        self._is_closing = False
        self._is_lost = False
        self._is_in_debt = False  # a dead machine owes this end a reset
        self._unread: collections.deque[tuple[Kind, bytes]] = collections.deque()
        process.transports[self] = None

    # -- the wire -----------------------------------------------------------------------------

    def ship(self, kind: Kind, data: bytes) -> None:
        """The other end gets this after everything that was shipped before."""
        source, target = self._process.name, self.peer._process.name
        if (source, target) in self._network.cut:
            self._network.hold(self, kind, data)
            return
        if not self.peer._process.is_alive:
            self._reach_a_dead_process()
            return
        latency = self._network.latency(source, target)
        self.last_arrival = max(self.last_arrival, self._loop.now + latency)
        if kind == "data":
            self._network.segments += 1
            digest = hashlib.blake2b(data, digest_size=6).hexdigest()
            self._loop.record(f"wire {source}>{target} {len(data)} {digest}")
        self._loop.at(self.last_arrival, self.peer._process, self.peer._arrive, kind, data)

    def _reach_a_dead_process(self) -> None:
        """The kernel over there answers with a reset, once it has power."""
        if self._is_in_debt or not self._process.is_alive:
            return
        self._is_in_debt = True
        machine = self.peer._process.machine
        if machine.is_powered:
            self.peer.ship("rst", b"")
        else:
            machine.at_power_on.append(lambda: self.peer.ship("rst", b""))

    def accept(self, factory: Callable[[], Any]) -> None:
        if not self._is_lost:
            self.start(factory())

    def start(self, protocol: Any) -> None:
        self.protocol = protocol
        protocol.connection_made(self)
        self._read_on()

    def _arrive(self, kind: Kind, data: bytes) -> None:
        if kind == "rst":
            self._lose(ConnectionResetError(104, "Connection reset by peer"))
        elif self.protocol is None or self._is_read_paused or self._unread:
            self._unread.append((kind, data))
            self._read_on()
        else:
            self._take(kind, data)

    def _read_on(self) -> None:
        while self._unread and self.protocol is not None and not self._is_read_paused:
            self._take(*self._unread.popleft())

    def _take(self, kind: Kind, data: bytes) -> None:
        if self._is_lost:
            if kind == "data":
                self.ship("rst", b"")  # nobody reads here any more
        elif kind == "data":
            self.peer._was_read(len(data))
            self.protocol.data_received(data)
        elif not self.protocol.eof_received():
            self.close()

    def _was_read(self, size: int) -> None:
        """The other end took `size` bytes; its window opens at once, a simplification."""
        self._in_flight -= size
        if self._is_write_paused and self._in_flight <= WINDOW_BYTES // 4 and not self._is_lost:
            self._is_write_paused = False
            self._loop.at(self._loop.now, self._process, self._resume_writing)

    def _resume_writing(self) -> None:
        if not self._is_lost:
            self.protocol.resume_writing()

    def _lose(self, error: Exception | None) -> None:
        if self._is_lost:
            return
        self._is_closing = self._is_lost = True
        self._process.transports.pop(self, None)
        if self.protocol is not None:
            lost = self.protocol.connection_lost
            self._loop.at(self._loop.now, self._process, lost, error)

    def break_off(self) -> None:
        """Something between the two resets the connection: both see it."""
        self.ship("rst", b"")
        self._loop.at(self._loop.now, self._process, self._arrive, "rst", b"")

    # -- what a protocol calls ----------------------------------------------------------------

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if not data or self._is_closing:
            return
        rest = bytes(data)
        self._in_flight += len(rest)
        chance = self._network.chance
        while rest:
            size = len(rest)
            if size > 1 and chance.random() < SPLIT_CHANCE:
                size = chance.randrange(1, size)
            self.ship("data", rest[:size])
            rest = rest[size:]
        if self._in_flight > WINDOW_BYTES and not self._is_write_paused:
            self._is_write_paused = True
            self.protocol.pause_writing()

    def close(self) -> None:
        if not self._is_closing:
            self.ship("fin", b"")
            self._lose(None)

    def abort(self) -> None:
        if not self._is_lost:
            self.ship("rst", b"")
            self._lose(None)

    def is_closing(self) -> bool:
        return self._is_closing

    def can_write_eof(self) -> bool:
        return False

    def pause_reading(self) -> None:
        self._is_read_paused = True

    def resume_reading(self) -> None:
        self._is_read_paused = False
        self._read_on()

    def is_reading(self) -> bool:
        return not self._is_read_paused

    def get_write_buffer_size(self) -> int:
        return self._in_flight

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...

    def set_protocol(self, protocol: Any) -> None:
        self.protocol = protocol

    def get_protocol(self) -> Any:
        return self.protocol

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return {"peername": self.peer._address, "sockname": self._address}.get(name, default)
