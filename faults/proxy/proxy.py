"""A TCP proxy that is a bad network: in front of a gateway, a database, an object store.

It listens on one port for one server. Faults are put up and taken down while it runs.
"""

import asyncio
import random
import socket
from collections.abc import AsyncIterator, Iterable
from contextlib import ExitStack, suppress
from typing import Any, Final, Literal

import structlog

from faults.passing import Passing
from faults.proxy.board import Board, Told
from faults.proxy.lane import Cut, Lane, hang_up
from faults.proxy.messages import Messages, Send
from faults.proxy.words import ProxyFault, ResetPeer, Way
from shared.runtime import Runtime

BACKLOG: Final = 128
CONNECT_S: Final = 10.0
REPLAY_S: Final = 10.0  # for the answer to a request that is sent again
MAX_LINKS: Final = 10_000

log = structlog.get_logger()


class Proxy:
    """Everything between `listen` and `upstream`. `protocol` tcp: bytes are not looked into."""

    def __init__(
        self,
        name: str,
        upstream: tuple[str, int],
        runtime: Runtime,
        rng: random.Random,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        protocol: Literal["http", "tcp"] = "http",
        told: Told = lambda kind, facts: None,
    ) -> None:
        self.name = name
        self.upstream = upstream
        self.host = host
        self.port = port
        self.protocol = protocol
        self.board = Board(rng, told)
        self._runtime = runtime
        self._passing = Passing()
        self._listener: socket.socket | None = None
        self._owner: asyncio.Task[None] | None = None
        self._group: asyncio.TaskGroup | None = None
        self._links: dict[asyncio.Task[Any], socket.socket | None] = {}  # until one is taken over

    async def start(self) -> None:
        """It listens; `port` is the one it got."""
        self._listener = _bound(self.host, self.port)
        self.port = self._listener.getsockname()[1]
        if self._listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 0:
            self._listener.listen(BACKLOG)
        ready = asyncio.Event()
        self._owner = asyncio.get_running_loop().create_task(self._own(ready), name="proxy")
        await ready.wait()

    async def stop(self) -> None:
        """Every connection is closed, and nobody listens."""
        if self._owner is not None:
            self._owner.cancel()
            await asyncio.wait([self._owner])
        if self._listener is not None:
            self._listener.close()

    def put(self, faults: Iterable[ProxyFault]) -> None:
        """These faults are on, and no others."""
        self.board.put(faults)

    # -- the door --------------------------------------------------------------------------------

    async def _own(self, ready: asyncio.Event) -> None:
        async with asyncio.TaskGroup() as group:
            self._group = group
            ready.set()
            while True:
                change = self.board.change
                if self.board.lasts("refuse"):
                    await self._shut(change)
                elif self.board.lasts("blackhole_syn", "backlog_full"):
                    await self._choke(change)
                else:
                    await self._accept_until(change)

    async def _accept_until(self, change: asyncio.Event) -> None:
        """Connections are taken as they come. (A cancelled sock_accept may lose one.)"""
        assert self._listener is not None
        loop = asyncio.get_running_loop()
        loop.add_reader(self._listener, self._accept, self._listener)
        try:
            await change.wait()
        finally:
            loop.remove_reader(self._listener)

    def _accept(self, listener: socket.socket) -> None:
        assert self._group is not None
        try:
            client, _ = listener.accept()
        except OSError:  # it is gone again, or there are no descriptors: then later
            return
        client.setblocking(False)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.board.strike("accept_then_close") or len(self._links) >= MAX_LINKS:
            client.close()
            return
        link = self._group.create_task(self._link(client), name="link")
        self._links[link] = client
        link.add_done_callback(self._forget)

    async def _shut(self, change: asyncio.Event) -> None:
        """Connecting is refused, and the port stays ours."""
        assert self._listener is not None
        self._listener.shutdown(socket.SHUT_RDWR)  # Linux: no listener any more, but still bound
        await change.wait()
        self._listener.listen(BACKLOG)

    async def _choke(self, change: asyncio.Event) -> None:
        """The backlog is full of our own connections, so that the kernel drops new ones."""
        assert self._listener is not None
        self._listener.listen(0)
        loop = asyncio.get_running_loop()
        with ExitStack() as plugs:
            with suppress(TimeoutError):
                for _ in range(8):
                    plug = plugs.enter_context(socket.socket(self._listener.family))
                    plug.setblocking(False)
                    async with asyncio.timeout(0.2):
                        await loop.sock_connect(plug, (self.host, self.port))
            await change.wait()
        self._listener.listen(BACKLOG)

    # -- a connection ----------------------------------------------------------------------------

    def _forget(self, link: asyncio.Task[None]) -> None:
        client = self._links.pop(link)
        if client is not None:  # it was cancelled before its first step
            client.close()

    async def _link(self, client: socket.socket) -> None:
        link = asyncio.current_task()
        assert link is not None
        self._links[link] = None
        near_reader, near_writer = await asyncio.open_connection(sock=client)
        far_writer = None
        is_reset = True
        try:
            async with asyncio.timeout(CONNECT_S):
                far_reader, far_writer = await asyncio.open_connection(*self.upstream)
            up = Lane(Way.UP, near_reader, far_writer, self.board, self._runtime)
            down = Lane(Way.DOWN, far_reader, near_writer, self.board, self._runtime)
            is_reset = await self._carry(up, down)
        except (OSError, TimeoutError) as error:
            log.info("proxy.unreachable", proxy=self.name, error=str(error))
        finally:
            for writer in (near_writer, far_writer):
                if writer is not None:
                    hang_up(writer, is_reset=is_reset)

    async def _carry(self, up: Lane, down: Lane) -> bool:
        """The connection has ended; whether by a reset."""
        if self.protocol == "http":
            messages = Messages(self.board, self._passing, self._replay, self._later)
            messages.wire(to_client=down.put, to_server=up.put)
            understand_up, understand_down = messages.up, messages.down
        else:
            understand_up = understand_down = _as_it_is
        is_reset = False
        try:
            async with asyncio.TaskGroup() as group:
                watch = group.create_task(self._reset_peer(), name="reset")
                lanes = [
                    group.create_task(up.read(understand_up), name="up.read"),
                    group.create_task(up.write(), name="up.write"),
                    group.create_task(down.read(understand_down), name="down.read"),
                    group.create_task(down.write(), name="down.write"),
                ]
                await asyncio.wait(lanes)
                watch.cancel()
        except* Cut as cuts:
            is_reset = any(cut.is_reset for cut in cuts.exceptions if isinstance(cut, Cut))
        except* (OSError, TimeoutError):
            is_reset = True
        return is_reset

    async def _reset_peer(self) -> None:
        """Cut, when a fault wants it."""
        drawn = {}
        while True:
            change = self.board.change
            for active in self.board.active:
                if isinstance(active.fault, ResetPeer):
                    if active not in drawn:
                        drawn[active] = self.board.falls(active)
                    if drawn[active]:
                        await self._runtime.sleep(active.fault.after_s)
                        self.board.struck(active)
                        raise Cut(is_reset=True)
            await change.wait()

    # -- requests that go their own way ----------------------------------------------------------

    def _replay(self, request: bytes, after_s: float) -> None:
        assert self._group is not None
        self._group.create_task(self._send_alone(request, after_s), name="replay")

    async def _send_alone(self, request: bytes, after_s: float) -> None:
        await self._runtime.sleep(after_s)
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(REPLAY_S):
                reader, writer = await asyncio.open_connection(*self.upstream)
                try:
                    writer.write(request)
                    await writer.drain()
                    await reader.read(1)  # the server is at its answer; nobody wants it
                finally:
                    writer.close()

    def _later(self, send: Send, data: bytes, after_s: float) -> None:
        async def wait() -> None:
            await self._runtime.sleep(after_s)
            await send(data)

        assert self._group is not None
        self._group.create_task(wait(), name="late")


async def _as_it_is(data: bytes) -> AsyncIterator[bytes]:
    yield data


def _bound(host: str, port: int) -> socket.socket:
    """A socket on this port, which stays its port also while it does not listen."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    if port == 0:
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, 0))
            port = probe.getsockname()[1]
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setblocking(False)
    listener.bind(
        (host, port)
    )  # a port that was asked for is kept (BINDPORT_LOCK), one of 0 is not
    return listener
