"""The one HTTP server factory: limits, error bodies, health, and start/stop as for any service."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable
from http import HTTPStatus
from typing import Any, Final, Literal, TypeVar

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler
from pydantic import BaseModel, ValidationError

from shared.errors import (
    BadRequest,
    LogOffsetMismatch,
    Misconfigured,
    ServiceError,
    TooLarge,
    Unavailable,
    UnsupportedVersion,
    to_wire,
)
from shared.http.admission import Admission, Rank
from shared.http.connections import Connection, Connections
from shared.http.doorman import Doorman
from shared.http.openapi import About, describe_app
from shared.http.operation import Content, Key, operation, query_of, rank_of
from shared.http.wire import PROTOCOL, RANGE, RETRY_AFTER, STATE
from shared.protocol.gateway import MIN_BYTES_PER_S
from shared.services import PIECE_BYTES

log = structlog.get_logger()
M = TypeVar("M", bound=BaseModel)

SPOKEN: Final = "1"  # the version of the protocol
JSON: Final = {"Content-Type": "application/json"}
BODY_BYTES: Final = 8 * 1024 * 1024  # of a JSON message
HEADER_BYTES: Final = 8_190
KEEPALIVE_S: Final = 75.0  # longer than the client's, so that the client closes first
BACKLOG: Final = 1_024  # connections that the kernel keeps until they are accepted
SILENCE_S: Final = 30.0  # while a body is awaited
PATIENCE: Final = 4.0  # a body may take this much longer than its sender would go on sending it
MAX_MISTAKES: Final = 20


ADMISSION: Final = web.AppKey("admission", Admission)
_RANKS: Final = web.AppKey("ranks", dict[object, Rank])
_HELD: Final = web.RequestKey("held_bytes", int)  # what of its body is in memory


class Health(BaseModel):
    status: Literal["alive", "ready"]


class Server:
    """An application that listens. Port 0 takes a free one; `port` then tells which."""

    def __init__(
        self, app: web.Application, host: str, port: int, *, linger_s: float = 0.5
    ) -> None:
        self.host = host
        self.port = port
        # A client that is gone cancels its handler: a long poll nobody waits for claims nothing.
        self._runner = web.AppRunner(
            app, access_log=None, handler_cancellation=True, shutdown_timeout=linger_s
        )
        self._listener: asyncio.AbstractServer | None = None

    async def start(self) -> None:
        """The socket is open. Misconfigured: the address cannot be had."""
        await self._runner.setup()
        assert self._runner.server is not None
        door = self._runner.app.get(ADMISSION)
        connections = Connections(
            self._runner.server,
            None if door is None else Doorman(self._runner.app, door),
            access_log=None,
            keepalive_timeout=KEEPALIVE_S,
            max_line_size=HEADER_BYTES,
            max_field_size=HEADER_BYTES,
        )
        loop = asyncio.get_running_loop()
        try:
            self._listener = await loop.create_server(
                connections, self.host, self.port, backlog=BACKLOG
            )
        except OSError as error:
            await self._runner.cleanup()
            raise Misconfigured(
                f"cannot listen on {self.host}:{self.port}: {_plainly(error)}",
                host=self.host,
                port=self.port,
            ) from None
        self.port = self._listener.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """No request is served any more; those in progress had `linger_s` to end."""
        if self._listener is not None:
            self._listener.close()
        await self._runner.cleanup()

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"


def new_app(
    ready: Callable[[], Awaitable[object]],
    about: About | None = None,
    admission: Admission | None = None,
) -> web.Application:
    """An application with error bodies, `/healthz` and `/readyz`.

    `ready` raises the ServiceError that keeps this service from serving, if there is one. With
    `about`, the application tells at `/openapi.json` all that can be asked of it.
    """

    @operation(Key.NOBODY, {200: Health})
    async def healthz(_: web.Request) -> web.Response:
        return web.Response(body=b'{"status":"alive"}', headers=JSON)

    @operation(Key.NOBODY, {200: Health})
    async def readyz(_: web.Request) -> web.Response:
        await ready()
        return web.Response(body=b'{"status":"ready"}', headers=JSON)

    documents: list[bytes] = []  # made when first asked for: it takes a moment

    @operation(Key.NOBODY, {200: Content.ANY})
    async def openapi(request: web.Request) -> web.Response:
        """This document. No token is needed."""
        assert about is not None
        if not documents:
            documents.append(json.dumps(describe_app(request.app, about)).encode())
        return web.Response(body=documents[0], headers=JSON)

    app = web.Application(middlewares=[_answer_errors], client_max_size=BODY_BYTES)
    app[ADMISSION] = admission or Admission()
    app[_RANKS] = {}
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
    if about is not None:
        app.router.add_get("/openapi.json", openapi, allow_head=False)
    return app


@web.middleware
async def _answer_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """The one middleware: lets in, checks the protocol version, turns exceptions into bodies."""
    try:
        return await _let_in(request, handler)
    except web.HTTPException as error:  # aiohttp's own: no such path, no such method, …
        return _from_aiohttp(request, error)
    except ConnectionError:
        raise  # the caller is gone; nobody reads an answer
    except Exception as error:
        return error_response(as_service_error(error, f"{request.method} {_route(request)}"))


async def _let_in(request: web.Request, handler: Handler) -> web.StreamResponse:
    admission, ranks = request.app[ADMISSION], request.app[_RANKS]
    asked = request.match_info.handler
    rank = ranks.get(asked)
    if rank is None:
        # A handler that is made anew for each request, as for paths that do not exist, is not kept.
        rank = rank_of(asked)
        if request.match_info.http_exception is None:
            ranks[asked] = rank
    protocol = request.protocol
    connection = protocol if isinstance(protocol, Connection) else None
    if connection is None or not connection.has_entered():
        admission.enter(rank)
    if connection is not None:
        connection.begin()
    try:
        await admission.turn(rank)
        if request.headers.get(PROTOCOL, SPOKEN) != SPOKEN:
            raise UnsupportedVersion(supported=[SPOKEN])
        if request.query_string:
            _refuse_unknown(request.query, query_of(asked))
        return await handler(request)
    finally:
        if connection is not None:
            connection.end()
        admission.let_go(request.get(_HELD, 0))
        admission.leave(rank)


def _refuse_unknown(query: Iterable[str], known: frozenset[str] | None) -> None:
    """A filter that nobody heeds would be taken for one that lets everything through."""
    for name in query:
        if known is not None and name not in known:
            there_are = ", ".join(sorted(known)) or "none"
            raise BadRequest(f"no parameter {name[:100]!r}; there are: {there_are}")


def _route(request: web.Request) -> str:
    """The path without what stands in for its parts: a callback's secret is one of these."""
    resource = request.match_info.route.resource
    return request.path if resource is None else resource.canonical


def as_service_error(error: Exception, where: str) -> ServiceError:
    """What the caller is told. What the caller could not know of is logged."""
    if isinstance(error, ValidationError):
        return describe(error)
    if isinstance(error, OSError) and not isinstance(error, ConnectionError | TimeoutError):
        # A disk that is full or broken, as the service met it: nothing was acknowledged.
        log.error("request.disk_failed", where=where, error=str(error))
        return Unavailable(f"this service could not use its disk: {error.strerror}")
    if not isinstance(error, ServiceError):
        log.error("request.crashed", where=where, exc_info=error)
        return ServiceError("something broke inside; the service's log has more")
    if error.status >= 500 and not error.retryable:
        log.error("request.failed", where=where, error=error.code, message=error.message)
    return error


def error_body(error: ServiceError) -> bytes:
    return json.dumps(to_wire(error), default=str).encode()


def error_response(error: ServiceError) -> web.Response:
    """The error as its body, with the headers that its facts call for."""
    headers = dict(JSON)
    if error.retryable:
        headers[RETRY_AFTER] = str(max(1, round(error.facts.get("retry_after_s", 1))))
    if "state" in error.facts:
        headers[STATE] = str(error.facts["state"])
    if isinstance(error, LogOffsetMismatch):
        headers[RANGE] = f"0-{error.facts.get('resume_at', 0)}"
    return web.Response(status=error.status, body=error_body(error), headers=headers)


def describe(error: ValidationError) -> BadRequest:
    """Every field that is wrong and why; never its value, which may be a secret."""
    mistakes: list[dict[str, str]] = []
    for found in error.errors(include_url=False, include_input=False, include_context=False):
        where = ".".join(str(step) for step in found["loc"])
        mistakes.append({"field": where[:200], "problem": found["msg"][:500]})
        if len(mistakes) == MAX_MISTAKES:
            break
    said = "; ".join(
        f"{m['field']}: {m['problem']}" if m["field"] else m["problem"] for m in mistakes
    )
    if error.error_count() > len(mistakes):
        said += f"; and {error.error_count() - len(mistakes)} more"
    return BadRequest(said, mistakes=mistakes)


async def read_message(request: web.Request, model: type[M], limit: int = BODY_BYTES) -> M:
    """The body as a message, of exactly the types that it has. An empty body is an empty object."""
    return model.model_validate_json(await _read_body(request, limit) or b"{}", strict=True)


async def read_bytes(request: web.Request, limit: int) -> bytes:
    """The body, whatever it is. TooLarge: it has more than `limit` bytes."""
    return await _read_body(request, limit)


def reply(message: BaseModel, status: int = 200) -> web.Response:
    return web.Response(
        status=status, body=message.__pydantic_serializer__.to_json(message), headers=JSON
    )


async def stream(request: web.Request, pieces: AsyncIterator[bytes]) -> web.StreamResponse:
    """Send the pieces as they come. An error before the first is an ordinary error reply; one
    after it breaks the connection off, so that nobody takes a part for the whole."""
    first = await anext(pieces, b"")
    response = web.StreamResponse(headers={"Content-Type": "application/octet-stream"})
    await response.prepare(request)
    try:
        await response.write(first)
        async for piece in pieces:
            await response.write(piece)
    except ServiceError as error:
        break_off(request, error)
        return response
    await response.write_eof()
    return response


def break_off(request: web.Request, error: Exception) -> None:
    """The connection is gone, before its body was complete: the other side can tell."""
    log.warning("stream.broken_off", path=request.path, error=repr(error))
    if request.transport is not None:
        request.transport.abort()


async def body_pieces(request: web.Request, size_bytes: int) -> AsyncGenerator[bytes, None]:
    """The body in pieces of at most 64 KiB. BadRequest: it is not `size_bytes` long."""
    got, ends_at = 0, _must_end_at(size_bytes)
    while piece := await _read_piece(request, ends_at):
        got += len(piece)
        if got > size_bytes:
            raise BadRequest(f"the body is longer than the {size_bytes} bytes announced")
        yield piece
    if got < size_bytes:
        raise BadRequest(f"the body ended after {got} of {size_bytes} bytes")


async def _read_body(request: web.Request, limit: int) -> bytes:
    if (request.content_length or 0) > limit:
        raise TooLarge(f"the body has more than {limit} bytes", limit_bytes=limit)
    body, ends_at = bytearray(), _must_end_at(limit)
    admission = request.app[ADMISSION]
    rank = request.app[_RANKS][request.match_info.handler]
    while piece := await _read_piece(request, ends_at):
        if len(body) + len(piece) > limit:
            raise TooLarge(f"the body has more than {limit} bytes", limit_bytes=limit)
        admission.hold(len(piece), rank)
        request[_HELD] = request.get(_HELD, 0) + len(piece)
        body += piece
    return bytes(body)


def _must_end_at(size_bytes: int) -> float:
    """Until when a body of that size is waited for, in the loop's time."""
    longest_s = PATIENCE * (SILENCE_S + size_bytes / MIN_BYTES_PER_S)
    return asyncio.get_running_loop().time() + longest_s


async def _read_piece(request: web.Request, ends_at: float) -> bytes:
    """Up to 64 KiB, empty at the end. Nobody may hold a handler by sending nothing, or little."""
    content = request.content
    if content.is_eof():  # all of it has arrived, as with most messages: no timer needed
        return await content.read(PIECE_BYTES)
    try:
        silent_at = asyncio.get_running_loop().time() + SILENCE_S
        async with asyncio.timeout_at(min(silent_at, ends_at)):
            return await content.read(PIECE_BYTES)
    except TimeoutError:
        if silent_at > ends_at:
            raise Unavailable("the body came too slowly") from None
        raise Unavailable(f"nothing of the body came for {SILENCE_S:g} s") from None
    except web.RequestPayloadError:
        raise BadRequest("the body is broken: its chunks cannot be understood") from None


def _from_aiohttp(request: web.Request, error: web.HTTPException) -> web.Response:
    facts: dict[str, Any] = {"method": request.method, "path": request.path}
    headers = dict(JSON)
    if isinstance(error, web.HTTPMethodNotAllowed):
        facts["allowed"] = sorted(error.allowed_methods)
        headers["Allow"] = ", ".join(facts["allowed"])
    phrase = HTTPStatus(error.status).phrase
    body = {
        "code": phrase.lower().replace(" ", "_"),
        "message": f"{phrase}: {request.method} {request.path}",
        "facts": facts,
        "retryable": False,
    }
    return web.Response(status=error.status, body=json.dumps(body).encode(), headers=headers)


def _plainly(error: OSError) -> str:
    """asyncio packs the reason into a sentence of its own; say only the reason."""
    text = (error.strerror or str(error)).rpartition(": ")[2].strip()
    return text or str(error)
