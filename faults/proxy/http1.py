"""Where messages begin and end in a stream of HTTP/1.1 (RFC 9112), and frames after an upgrade
to a WebSocket (RFC 6455). Bytes are handed on exactly as they came.
"""

import re
from collections.abc import Callable, Iterator
from enum import Enum, auto
from typing import Final, NamedTuple

MAX_HEAD: Final = 65_536
MAX_FRAME: Final = 16 * 1024 * 1024
METHOD: Final = re.compile(rb"[A-Z]{0,20}")
NO_BODY: Final = (b"204", b"304")


class Part(Enum):
    HEAD = auto()
    BODY = auto()
    END = auto()  # of a message; no bytes of its own
    FRAME = auto()  # a whole one
    OPAQUE = auto()  # what cannot be understood


class Piece(NamedTuple):
    part: Part
    data: bytes
    first_line: bytes = b""


State = Callable[[], "Piece | None"]


class Splitter:
    """One direction of a connection."""

    def __init__(self, *, is_response: bool) -> None:
        self._is_response = is_response
        self._buffer = b""
        self._state: State = self._head
        self._left = 0  # bytes of the body, or of a chunk and its line end
        self.bodiless = False  # the response under way answers a HEAD request

    def feed(self, data: bytes) -> Iterator[Piece]:
        """What is complete by now."""
        self._buffer += data
        while True:
            piece = self._state()
            if piece is None:
                return
            yield piece

    def upgrade(self) -> None:
        """From here on there are frames."""
        self._state = self._frame

    # -- states: each takes what it can from the buffer, None: wait for more ---------------------

    def _head(self) -> Piece | None:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0 or not self._may_be_http():
            if len(self._buffer) <= MAX_HEAD and self._may_be_http():
                return None
            self._state = self._opaque
            return self._opaque()
        head = self._take(end + 4)
        first, *lines = head[:-4].split(b"\r\n")
        headers = {}
        for line in lines:
            name, _, value = line.partition(b":")
            headers[name.strip().lower()] = value.strip()
        self._state = self._body_state(first, headers)
        return Piece(Part.HEAD, head, first)

    def _may_be_http(self) -> bool:
        """Whether a message begins like this. A database's does not, and is not waited for."""
        line, ended, _ = self._buffer.partition(b"\r\n")
        if self._is_response:
            return line[:5] == b"HTTP/"[: len(line)]
        method, spaced, _ = line.partition(b" ")
        if not METHOD.fullmatch(method) or (ended and not spaced):
            return False
        return not ended or line[-8:-1] == b"HTTP/1."

    def _body_state(self, first: bytes, headers: dict[bytes, bytes]) -> State:
        if self._is_response:
            status = first.split(b" ")[1] if b" " in first else b""
            if self.bodiless or status in NO_BODY or status.startswith(b"1"):
                return self._end
        if b"chunked" in headers.get(b"transfer-encoding", b"").lower():
            return self._chunk_size
        length = headers.get(b"content-length")
        if length is not None and length.isdigit():
            self._left = int(length)
            return self._counted
        return self._opaque if self._is_response else self._end

    def _counted(self) -> Piece | None:
        if self._left == 0:
            return self._end()
        data = self._take(self._left)
        self._left -= len(data)
        return Piece(Part.BODY, data) if data else None

    def _chunk_size(self) -> Piece | None:
        end = self._buffer.find(b"\r\n")
        if end < 0:
            return None
        digits = self._buffer[:end].partition(b";")[0].strip()
        try:
            size = int(digits, 16)
        except ValueError:
            self._state = self._opaque
            return self._opaque()
        self._left = size + 2
        self._state = self._chunk if size else self._trailers
        return Piece(Part.BODY, self._take(end + 2))

    def _chunk(self) -> Piece | None:
        data = self._take(self._left)
        self._left -= len(data)
        if self._left == 0:
            self._state = self._chunk_size
        return Piece(Part.BODY, data) if data else None

    def _trailers(self) -> Piece | None:
        end = self._buffer.find(b"\r\n")
        if end < 0:
            return None
        if end == 0:
            self._state = self._end
        return Piece(Part.BODY, self._take(end + 2))

    def _end(self) -> Piece:
        self._state = self._head
        self.bodiless = False
        return Piece(Part.END, b"")

    def _frame(self) -> Piece | None:
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        length, at = buffer[1] & 0x7F, 2
        if length >= 126:
            wide = 2 if length == 126 else 8
            if len(buffer) < 2 + wide:
                return None
            length, at = int.from_bytes(buffer[2 : 2 + wide], "big"), 2 + wide
        if buffer[1] & 0x80:
            at += 4
        if at + length > MAX_FRAME:
            self._state = self._opaque
            return self._opaque()
        if len(buffer) < at + length:
            return None
        return Piece(Part.FRAME, self._take(at + length))

    def _opaque(self) -> Piece | None:
        return Piece(Part.OPAQUE, self._take(len(self._buffer))) if self._buffer else None

    def _take(self, count: int) -> bytes:
        data, self._buffer = self._buffer[:count], self._buffer[count:]
        return data


def is_data(frame: bytes) -> bool:
    """Whether a frame carries text or bytes, and is no ping, pong or close."""
    return frame[0] & 0x0F in (0, 1, 2)


def path_of(first_line: bytes) -> str:
    """Of a request."""
    words = first_line.split(b" ")
    target = words[1] if len(words) > 1 else b""
    return target.partition(b"?")[0].decode("latin-1")
