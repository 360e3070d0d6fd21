"""Faults of whole messages: requests and responses of HTTP/1.1, and frames after an upgrade."""

from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from faults.passing import Passing
from faults.proxy.board import Board
from faults.proxy.http1 import Part, Piece, Splitter, is_data, path_of
from faults.proxy.lane import Cut
from faults.proxy.words import (
    Answered,
    BadResponse,
    DupRequest,
    KeepaliveRace,
    LateRequest,
    LostResponse,
    OfMessage,
    ReorderRequests,
)

KEPT_BYTES: Final = 16 * 1024 * 1024  # of a request that is sent twice, or late

Replay = Callable[[bytes, float], None]  # a whole request, on a connection of its own, after a time
Send = Callable[[bytes], Awaitable[None]]
Later = Callable[[Send, bytes, float], None]  # bytes that are sent after a time


@dataclass
class Exchange:
    """A request, and what becomes of its response."""

    path: str
    fault: OfMessage | None
    kept: bytearray
    response: OfMessage | None = None


class Messages:
    """Both directions of one connection. They must be used by one reader each."""

    def __init__(self, board: Board, passing: Passing, replay: Replay, later: Later) -> None:
        self._board = board
        self._passing = passing
        self._replay = replay
        self._later = later
        self._is_used = False  # a response has come
        self._is_cut = False  # in the middle of a response
        self._requests = Splitter(is_response=False)
        self._responses = Splitter(is_response=True)
        self._exchanges: deque[Exchange] = deque()
        self._path = "*"
        self._to_client: Send | None = None
        self._to_server: Send | None = None

    def wire(self, *, to_client: Send, to_server: Send) -> None:
        """Where to put bytes that do not come from the other side just now."""
        self._to_client, self._to_server = to_client, to_server

    # -- up ------------------------------------------------------------------------------------

    async def up(self, data: bytes) -> AsyncIterator[bytes]:
        """What goes on to the server."""
        for piece in self._requests.feed(data):
            match piece.part:
                case Part.HEAD:
                    self._begin(piece)
                case Part.FRAME:
                    async for frame in self._frame_up(piece.data):
                        yield frame
                    continue
                case Part.OPAQUE:
                    yield piece.data
                    continue
                case Part.BODY | Part.END:
                    pass
            exchange = self._exchanges[-1]
            if exchange.fault is not None and len(exchange.kept) < KEPT_BYTES:
                exchange.kept += piece.data
            if exchange.fault is None or isinstance(exchange.fault, DupRequest):
                yield piece.data
            if piece.part is Part.END:
                async for late in self._complete(exchange):
                    yield late
                self._passing.ring()

    def _begin(self, head: Piece) -> None:
        self._path = path_of(head.first_line)
        kinds = (DupRequest, LateRequest, ReorderRequests, Answered)
        fault = self._board.strike_message(self._path, *kinds)
        if fault is None and self._is_used:
            fault = self._board.strike_message(self._path, KeepaliveRace)
            if fault is not None:
                raise Cut(is_reset=True)
        if head.first_line.startswith(b"HEAD "):
            self._responses.bodiless = True
        self._exchanges.append(Exchange(self._path, fault, bytearray()))

    async def _complete(self, exchange: Exchange) -> AsyncIterator[bytes]:
        """The whole request was read; what was kept of it goes on, now or never."""
        whole = bytes(exchange.kept)
        match exchange.fault:
            case DupRequest(after_s=after_s):
                self._replay(whole, after_s)
            case LateRequest(after_s=after_s):
                self._replay(whole, after_s)
                raise Cut(is_reset=True)
            case ReorderRequests(hold_s=hold_s):
                await self._passing.another(hold_s)
                yield whole
            case Answered(kind=kind, retry_after_s=retry_after_s):
                self._exchanges.remove(exchange)
                assert self._to_client is not None
                await self._to_client(_answer(kind, retry_after_s))
            case _:
                pass

    async def _frame_up(self, frame: bytes) -> AsyncIterator[bytes]:
        fault = None
        if is_data(frame):
            fault = self._board.strike_message(self._path, DupRequest, LateRequest, ReorderRequests)
        match fault:
            case DupRequest():
                yield frame
                yield frame
            case LateRequest(after_s=wait_s) | ReorderRequests(hold_s=wait_s):
                assert self._to_server is not None
                self._later(self._to_server, frame, wait_s)
            case _:
                yield frame
        self._passing.ring()

    # -- down ----------------------------------------------------------------------------------

    async def down(self, data: bytes) -> AsyncIterator[bytes]:
        """What goes on to the client. Cut: and no more."""
        for piece in self._responses.feed(data):
            match piece.part:
                case Part.OPAQUE:
                    yield piece.data
                case Part.FRAME:
                    lost = is_data(piece.data) and self._board.strike_message(
                        self._path, LostResponse
                    )
                    if not lost:
                        yield piece.data
                case _:
                    exchange = self._exchanges[0] if self._exchanges else None
                    for part in self._response(piece, exchange):
                        yield part
                    if self._is_cut:
                        raise Cut(is_reset=False)

    def _response(self, piece: Piece, exchange: Exchange | None) -> list[bytes]:
        if exchange is None:  # an answer to nothing: the server's own idea
            return [piece.data]
        if piece.part is Part.HEAD:
            is_interim = b" 100 " in piece.first_line[:13]
            if b" 101 " in piece.first_line[:13]:
                self._requests.upgrade()
                self._responses.upgrade()
                return [piece.data]
            if not is_interim:
                exchange.response = self._board.strike_message(
                    exchange.path, LostResponse, BadResponse
                )
        if piece.part is Part.END and exchange.response is None:
            self._exchanges.popleft()
            self._is_used = True
        match exchange.response:
            case None:
                return [piece.data]
            case BadResponse(kind="truncated_body") if piece.part is Part.BODY:
                self._is_cut = True
                return [piece.data[: len(piece.data) // 2]]
            case BadResponse(kind=kind):
                return _spoiled(kind, piece)
            case _:
                if piece.part is Part.END:
                    raise Cut(is_reset=True)
                return []


def _answer(kind: str, retry_after_s: int) -> bytes:
    status = "429 Too Many Requests" if kind == "429" else "503 Service Unavailable"
    retry = f"Retry-After: {retry_after_s}\r\n" if retry_after_s else ""
    return f"HTTP/1.1 {status}\r\n{retry}Content-Length: 0\r\n\r\n".encode()


def _spoiled(kind: str, piece: Piece) -> list[bytes]:
    """What the client gets instead of this piece of a response. Cut: and no more."""
    match kind, piece.part:
        case "garbage_status_line", Part.HEAD:
            return [b"\x00\xffHTTP/9.9 what\r\n\r\n"]
        case "truncated_body", Part.HEAD:
            return [piece.data]
        case "wrong_length", Part.HEAD:
            return [_longer(piece.data)]
        case "wrong_length", Part.BODY:
            return [piece.data]
        case "bad_gzip", Part.HEAD:
            return [piece.data[:-2] + b"Content-Encoding: gzip\r\n\r\n"]
        case "bad_gzip", Part.BODY:
            return [bytes(byte ^ 0x5A for byte in piece.data)]
        case _, Part.END:
            raise Cut(is_reset=False)
        case _:
            return []


def _longer(head: bytes) -> bytes:
    """The head announces more than comes."""
    lines = head.split(b"\r\n")
    for n, line in enumerate(lines):
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length" and value.strip().isdigit():
            lines[n] = name + b": " + str(int(value) + 10).encode()
    return b"\r\n".join(lines)
