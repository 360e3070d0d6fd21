"""Server-sent events (WHATWG HTML section 9.2), both ends: a stream that shows it is alive."""

import asyncio
from collections.abc import AsyncIterator
from typing import Final

from aiohttp import web

from shared.errors import ServiceError, Unavailable
from shared.http.server import break_off
from shared.runtime import Runtime

ALIVE_EVERY_S: Final = 10.0  # well within the client's IDLE_S
EVENT_STREAM: Final = "text/event-stream"
MAX_LINE_BYTES: Final = 4 * 1024 * 1024


def wants_events(request: web.Request) -> bool:
    return EVENT_STREAM in request.headers.get("Accept", "")


async def send_events(
    request: web.Request, frames: AsyncIterator[bytes], runtime: Runtime
) -> web.StreamResponse:
    """Every frame was sent, and a comment in long silences. An error breaks the connection."""
    response = web.StreamResponse(
        headers={"Content-Type": EVENT_STREAM, "Cache-Control": "no-store"}
    )
    await response.prepare(request)

    async def show_life() -> None:
        while True:
            await response.write(b": alive\n\n")
            await runtime.sleep(ALIVE_EVERY_S)

    try:
        async with asyncio.TaskGroup() as group:
            alive = group.create_task(show_life(), name="show_life")
            async for one in frames:
                await response.write(one)
            alive.cancel()
        await response.write_eof()
    except* (ServiceError, ConnectionError) as failed:
        break_off(request, failed.exceptions[0])
    return response


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
