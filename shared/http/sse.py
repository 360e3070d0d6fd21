"""Sending server-sent events: a stream that shows it is alive."""

import asyncio
from collections.abc import AsyncIterator
from typing import Final

from aiohttp import web

from shared.errors import ServiceError
from shared.http.event_stream import EVENT_STREAM
from shared.http.server import break_off
from shared.runtime import Runtime

ALIVE_EVERY_S: Final = 10.0  # well within the client's IDLE_S


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
