"""A web server with a few pages, for what asks one."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from aiohttp import web


@asynccontextmanager
async def page_server(pages: Mapping[str, tuple[int, str]]) -> AsyncIterator[str]:
    """Its URL. Each path has a status and a body; others are not found."""

    async def answer(request: web.Request) -> web.Response:
        status, body = pages.get(request.path, (404, "not found"))
        return web.Response(status=status, text=body)

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
