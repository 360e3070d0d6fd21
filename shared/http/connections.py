"""The connections of one server: how many there may be, and what a slow reader may hold.

One more than there is room for takes the place of the one that has been idle longest; where none
is idle it is told so with a 503 that costs no request. Who does not read what was sent loses the
connection after SEND_S, or at once where too much is held for such callers.
"""

import asyncio
import resource
from typing import Any, Final

import structlog
from aiohttp import web

from shared.http.admission import Rank
from shared.http.doorman import Doorman, Parser

log = structlog.get_logger()

MAX_CONNECTIONS: Final = 10_000  # and at most half of the files that this process may open
SEND_S: Final = 30.0
UNREAD_BYTES: Final = 64 * 1024 * 1024  # sent and not read, in all
MAX_TURNED_AWAY: Final = 256  # that are being told so
TURN_AWAY_S: Final = 1.0

FULL: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nRetry-After: 1\r\n"
    b"Connection: close\r\nContent-Length: %d\r\n\r\n%b"
)
FULL_BODY: Final = (
    b'{"code":"overloaded","message":"too many connections are open","facts":{},"retryable":true}'
)


class Connection(web.RequestHandler):
    """One caller's."""

    __slots__ = ("_all", "_doorman", "_entered", "_patience", "served")

    def __init__(
        self,
        all_of_them: "Connections",
        server: web.Server,
        doorman: Doorman | None,
        **settings: Any,
    ) -> None:
        super().__init__(server, loop=asyncio.get_running_loop(), **settings)
        self._doorman = doorman
        self._entered: Rank | None = None  # and has not come as far as its handler
        if doorman is not None:
            self._parser = Parser(self._parser, doorman, self)  # type: ignore[assignment]  # its twin
        self._all = all_of_them
        self._patience: asyncio.TimerHandle | None = None
        self.served = 0  # requests that are being answered

    @property
    def unread_bytes(self) -> int:
        return 0 if self.transport is None else self.transport.get_write_buffer_size()

    @property
    def is_idle(self) -> bool:
        """All that was asked is answered, and the next request waited for."""
        return self._waiter is not None and not self._waiter.done()

    def let_in(self, rank: Rank) -> None:
        self._entered = rank

    def has_entered(self) -> bool:
        """Whether the request that comes now was let in at the door. It has to leave."""
        has, self._entered = self._entered is not None, None
        return has

    def turn_away(self, answer: bytes) -> None:
        """The answer to a request that was not let in is sent. Who asks on and reads none of the
        answers loses the connection: nothing here waits until they are read."""
        if self.writing_paused:
            self.abort()
        elif self.transport is not None:
            self.transport.write(answer)
        self._next_keepalive_close_time = self._loop.time() + self.keepalive_timeout
        self._all.note_served(self)

    def begin(self) -> None:
        """A request is being answered."""
        self.served += 1

    def end(self) -> None:
        self.served -= 1
        self._all.note_served(self)

    def abort(self) -> None:
        """The connection is gone, with all that was sent on it and not read."""
        if self.transport is not None:
            self.transport.abort()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._read_again()
        self._all.forget(self)
        super().connection_lost(exc)
        if self._doorman is not None and self._entered is not None:
            self._doorman.let_out(self._entered)
            self._entered = None

    def pause_writing(self) -> None:
        super().pause_writing()
        self._patience = asyncio.get_running_loop().call_later(SEND_S, self._lose_patience)
        self._all.note_slow(self)

    def resume_writing(self) -> None:
        self._read_again()
        super().resume_writing()

    def _read_again(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None
            self._all.note_quick(self)

    def _lose_patience(self) -> None:
        log.warning("connection.unread", unread_bytes=self.unread_bytes, after_s=SEND_S)
        self.abort()


class Connections:
    """A factory of protocols that knows which of its connections are open."""

    def __init__(self, server: web.Server, doorman: Doorman | None, **settings: Any) -> None:
        self._server = server
        self._doorman = doorman
        self._settings = settings
        self._open: dict[Connection, None] = {}  # who was served last is last
        self._slow: dict[Connection, None] = {}
        self._turned_away = 0
        self._room = min(MAX_CONNECTIONS, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2)

    def __call__(self) -> asyncio.Protocol:
        if len(self._open) >= self._room and not self._make_room():
            return _TurnedAway(self)
        connection = Connection(self, self._server, self._doorman, **self._settings)
        self._open[connection] = None
        return connection

    def forget(self, connection: Connection) -> None:
        self._open.pop(connection, None)

    def note_served(self, connection: Connection) -> None:
        if self._open.pop(connection, self) is None:
            self._open[connection] = None

    def note_slow(self, connection: Connection) -> None:
        """More was sent than the caller reads."""
        self._slow[connection] = None
        while sum(one.unread_bytes for one in self._slow) > UNREAD_BYTES:
            slowest = next(iter(self._slow))
            del self._slow[slowest]
            log.warning("connection.unread", unread_bytes=slowest.unread_bytes)
            slowest.abort()

    def note_quick(self, connection: Connection) -> None:
        self._slow.pop(connection, None)

    def turn_away(self, is_leaving: bool) -> bool:
        """Whether one more may be told that there is no room; who was told leaves."""
        self._turned_away += -1 if is_leaving else 1
        return self._turned_away <= MAX_TURNED_AWAY

    def _make_room(self) -> bool:
        for connection in self._open:
            if connection.served == 0:
                self.forget(connection)
                connection.force_close()
                return True
        return False


class _TurnedAway(asyncio.Protocol):
    """A caller for whom there is no room is told so, and not listened to."""

    def __init__(self, all_of_them: Connections) -> None:
        self._all = all_of_them
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        if not self._all.turn_away(is_leaving=False):
            transport.abort()
            return
        transport.write(FULL % (len(FULL_BODY), FULL_BODY))
        asyncio.get_running_loop().call_later(TURN_AWAY_S, transport.abort)

    def data_received(self, _: bytes) -> None:
        # Not before: a connection that is closed unread is reset, and the answer lost (RFC 2525).
        if self._transport is not None:
            self._transport.close()

    def connection_lost(self, _: Exception | None) -> None:
        self._all.turn_away(is_leaving=True)
