"""Server-sent events as bytes (WHATWG HTML section 9.2): written as frames, read back as data.

Apart from `sse.py`, so that a client need not import a web server.
"""

from collections.abc import AsyncIterator
from typing import Final

from shared.errors import Unavailable

EVENT_STREAM: Final = "text/event-stream"
MAX_LINE_BYTES: Final = 4 * 1024 * 1024


def frame(data: bytes, *, number: int | None = None, kind: str | None = None) -> bytes:
    """One event. `data` has no line breaks."""
    parts = []
    if number is not None:
        parts.append(b"id: %d\n" % number)
    if kind is not None:
        parts.append(b"event: %s\n" % kind.encode())
    return b"".join([*parts, b"data: ", data, b"\n\n"])


async def read_events(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The data of each event that `frame` made."""
    rest = b""
    async for piece in pieces:
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            if line.startswith(b"data: "):
                yield line[6:]
        if len(rest) > MAX_LINE_BYTES:
            raise Unavailable("the stream of events cannot be understood")
