"""The one HTTP client factory: connections, deadlines, tokens, and errors made whole.

A caller names a deadline for each call. Retries happen only where it asks for them, so that they
happen at one layer of a chain only. Small calls share one line (shared/http/line.py).
"""

import asyncio
import io
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import aiohttp
from multidict import CIMultiDictProxy
from pydantic import BaseModel, ValidationError
from yarl import URL

from shared.errors import (
    Forbidden,
    ServiceError,
    TooLarge,
    Unauthenticated,
    Unavailable,
    UnsupportedVersion,
)
from shared.http.line import Line, LineBroken
from shared.http.line_pool import LinePool
from shared.http.peer import Peer
from shared.http.retrying import persist
from shared.http.wire import PROTOCOL
from shared.ids import WorkerId
from shared.protocol.line import BODY_BYTES, LINE
from shared.retry_budget import RetryBudget
from shared.runtime import Runtime
from shared.services import PIECE_BYTES, Body

CALL_S: Final = 10.0  # the usual deadline of one call
CONNECT_S: Final = 5.0
IDLE_S: Final = 30.0  # of a stream: longer than the pauses between a server's signs of life
KEEPALIVE_S: Final = 30.0  # shorter than the server's
CONNECTIONS: Final = 4_096  # a gateway holds one for each long poll that it forwards
MOST_IDS: Final = 8  # of one worker, whose last tokens are kept
LARGE_BODY_BYTES: Final = 1_000_000  # aiohttp wants those as a file, which it sends in pieces

T = TypeVar("T")
# Why a line was not opened; the rest of what the other side said does not reach us.
TURNED_AWAY: Final = {
    error.status: error for error in (Unauthenticated, Forbidden, UnsupportedVersion)
}

SocketFactory = Callable[[aiohttp.AddrInfoType], Any]


@dataclass(frozen=True, slots=True)
class Answer:
    """A reply that is not an error."""

    status: int
    headers: CIMultiDictProxy[str]
    body: bytes


class Credential:
    """A token that comes later and changes: the worker's own. A Transport asks it every time.

    A worker that the registry has forgotten gets another id, and may still hold leases under the
    one before, whose last token opens them for as long as it lives.
    """

    def __init__(self) -> None:
        self.token: str | None = None
        self._by_worker: dict[WorkerId, str] = {}

    def __call__(self) -> str | None:
        return self.token

    def keep(self, worker_id: WorkerId, token: str) -> None:
        """It is the newest."""
        self.token = self._by_worker[worker_id] = token
        if len(self._by_worker) > MOST_IDS:
            del self._by_worker[next(iter(self._by_worker))]

    def of(self, worker_id: WorkerId) -> str | None:
        """The last that came for that id; None: none did."""
        return self._by_worker.get(worker_id)


class Transport:
    """Speaks to one service. Every error is one of `shared/errors.py`."""

    def __init__(
        self,
        base_url: str,
        runtime: Runtime,
        *,
        token: Callable[[], str | None],
        service: str = "gateway",
        socket_factory: SocketFactory | None = None,
    ) -> None:
        self._base_url = base_url.rstrip("/")
        self._runtime = runtime
        self._token = token
        self._peer = Peer(service, self._base_url)
        self._socket_factory = socket_factory
        self._session: aiohttp.ClientSession | None = None
        self._lines = LinePool(self._connect_line)
        self._budget = RetryBudget(runtime)
        self._closed = False

    async def close(self) -> None:
        """No connection is open, and every later call is Unavailable. Safe to repeat."""
        self._closed = True
        await self._lines.close()
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def request(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        *,
        headers: dict[str, str] | None = None,
        token: str | None = None,
        timeout_s: float = CALL_S,
        retry_for_s: float = 0.0,
    ) -> Answer:
        """The answer to one call; retryable errors are met with more calls for `retry_for_s`.

        `token` goes before the transport's own.
        """

        async def send(limit_s: float) -> Answer:
            return await self._send(method, path, body, headers, token, limit_s)

        return await persist(self._runtime, self._budget, send, timeout_s, retry_for_s)

    async def call(
        self,
        verb: str,
        ask: BaseModel,
        read: Callable[[bytes], T],
        *,
        token: str | None = None,
        timeout_s: float = CALL_S,
        retry_for_s: float = 0.0,
    ) -> T:
        """What `read` makes of the answer to one call on the line, which is opened if there is
        none."""
        body = ask.__pydantic_serializer__.to_json(ask)
        if len(body) > BODY_BYTES:
            raise TooLarge(f"the {verb} has more than {BODY_BYTES} bytes", limit_bytes=BODY_BYTES)

        async def send(limit_s: float) -> bytes:
            try:
                async with asyncio.timeout(limit_s):
                    line = await self._lines.get()
                    is_error, answer = await line.call(verb, body, token or self._token())
            except (LineBroken, aiohttp.ClientError, OSError, TimeoutError) as error:
                raise self._peer.unavailable(error) from None
            if is_error:
                raise self._peer.error(500, answer)
            return answer

        answer = await persist(self._runtime, self._budget, send, timeout_s, retry_for_s)
        try:
            return read(answer)
        except ValidationError:
            raise self._peer.not_understood(verb) from None

    async def upload(
        self,
        method: str,
        path: str,
        body: Body,
        size_bytes: int,
        *,
        headers: dict[str, str],
        token: str | None = None,
        timeout_s: float = CALL_S,
    ) -> Answer:
        """The answer to a body of `size_bytes` that was sent piece by piece. Never retried."""
        failed: list[ServiceError] = []

        async def pieces() -> AsyncIterator[bytes]:
            left = size_bytes
            try:
                async for piece in body:
                    left -= len(piece)
                    yield piece
                if left > 0:  # the next request on this connection would be taken for the rest
                    raise Unavailable(f"a body ended {left} bytes before its end")
            except ServiceError as error:  # aiohttp would wrap it in an error of its own
                failed.append(error)
                raise

        headers = {**headers, "Content-Length": str(size_bytes)}
        try:
            return await self._send(method, path, pieces(), headers, token, timeout_s)
        except Unavailable:
            if failed:
                raise failed[0] from None
            raise

    async def stream(
        self, path: str, *, headers: dict[str, str] | None = None, token: str | None = None
    ) -> AsyncIterator[bytes]:
        """The body in pieces of at most 64 KiB, as they come. A silence of IDLE_S ends it."""
        timeout = aiohttp.ClientTimeout(sock_connect=CONNECT_S, sock_read=IDLE_S)
        try:
            async with self._open().get(
                URL(self._base_url + path, encoded=True),
                headers=self._with_token(headers, token),
                timeout=timeout,
                allow_redirects=False,
            ) as response:
                if response.status >= 300:
                    raise self._peer.error(response.status, await response.read(), response.headers)
                async for piece in response.content.iter_chunked(PIECE_BYTES):
                    yield piece
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise self._peer.unavailable(error) from None

    async def _connect_line(self) -> Line:
        try:
            async with asyncio.timeout(CONNECT_S):
                socket = await self._open().ws_connect(
                    URL(self._base_url + LINE, encoded=True),
                    headers=self._with_token(None, None),
                    heartbeat=Line.PING_S,
                    max_msg_size=0,  # an answer may be as long as with a request
                )
        except aiohttp.WSServerHandshakeError as error:
            if (turned_away := TURNED_AWAY.get(error.status)) is not None:
                raise turned_away from None
            raise self._peer.error(error.status, b"") from None
        line = Line(socket, self._runtime)
        if self._closed:
            await line.close()
            raise self._peer.closed()
        return line

    async def _turn_back(
        self, _session: object, _context: object, redirect: aiohttp.TraceRequestRedirectParams
    ) -> None:
        """A token goes nowhere else, and whoever opens a line gets the tokens of its calls."""
        redirect.response.close()
        raise self._peer.error(redirect.response.status, b"")

    async def _send(
        self,
        method: str,
        path: str,
        body: bytes | AsyncIterator[bytes] | None,
        headers: dict[str, str] | None,
        token: str | None,
        timeout_s: float,
    ) -> Answer:
        data: object = body
        if isinstance(body, bytes) and len(body) > LARGE_BODY_BYTES:
            data = io.BytesIO(body)
        try:
            async with self._open().request(
                method,
                URL(self._base_url + path, encoded=True),
                data=data,
                headers=self._with_token(headers, token),
                timeout=aiohttp.ClientTimeout(total=timeout_s, sock_connect=CONNECT_S),
                allow_redirects=False,  # a token goes nowhere else
            ) as response:
                content = await response.read()
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise self._peer.unavailable(error) from None
        if response.status >= 300:
            raise self._peer.error(response.status, content, response.headers)
        return Answer(response.status, response.headers, content)

    def _open(self) -> aiohttp.ClientSession:
        if self._closed:
            raise self._peer.closed()
        if self._session is None:
            no_detours = aiohttp.TraceConfig()  # ws_connect has no option for it
            no_detours.on_request_redirect.append(self._turn_back)
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=CONNECTIONS,
                    keepalive_timeout=KEEPALIVE_S,
                    socket_factory=self._socket_factory,
                ),
                headers={PROTOCOL: "1", "User-Agent": "drawbar"},
                skip_auto_headers={"Accept-Encoding"},
                cookie_jar=aiohttp.DummyCookieJar(),
                trace_configs=[no_detours],
            )
        return self._session

    def _with_token(self, headers: dict[str, str] | None, token: str | None) -> dict[str, str]:
        token = token or self._token()
        headers = dict(headers or ())
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        return headers
