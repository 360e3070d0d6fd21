"""An application behind a real socket, and a bare client that sends whatever a test wants."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
from aiohttp import web
from yarl import URL

from shared.http.server import Server


@dataclass(frozen=True)
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes
    json: Any


class Caller:
    """Sends requests with nothing added but the token."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self.url = url
        self._session = session

    async def __call__(
        self,
        method: str,
        path: str,
        *,
        token: str | None = None,
        data: Any = None,
        headers: dict[str, str] | None = None,
    ) -> Reply:
        headers = dict(headers or {})
        if token is not None:
            headers.setdefault("Authorization", f"Bearer {token}")
        async with self._session.request(
            method, URL(self.url + path, encoded=True), data=data, headers=headers
        ) as response:
            body = await response.read()
            is_json = response.content_type == "application/json"
            answer = await response.json() if is_json else None
            return Reply(response.status, dict(response.headers), body, answer)


@asynccontextmanager
async def serving(app: web.Application) -> AsyncIterator[Caller]:
    server = Server(app, "127.0.0.1", 0, linger_s=0.05)
    await server.start()
    try:
        async with aiohttp.ClientSession() as session:
            yield Caller(session, server.url)
    finally:
        await server.stop()
