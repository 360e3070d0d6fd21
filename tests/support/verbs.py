"""Verbs that a line carries, and who asks for them."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from aiohttp import web
from pydantic import BaseModel

from shared import errors
from shared.http.line_server import add_line
from shared.http.server import new_app
from shared.http.transport import CALL_S, Transport


class Word(BaseModel):
    """What is asked and answered here."""

    text: str = ""


class Verbs:
    """The far end's. `until` answers when told to, `hang` never."""

    def __init__(self) -> None:
        self.admitted = 0
        self.asked: list[str] = []
        self.tokens: list[str | None] = []
        self.trouble: list[Exception] = []
        self.untold = asyncio.Event()
        self.told = asyncio.Event()
        self.hanging = asyncio.Event()
        self.gone = asyncio.Event()

    def app(self) -> web.Application:
        async def ready() -> None: ...

        app = new_app(ready)
        add_line(app, self.admit, {"echo": self.echo, "until": self.until, "hang": self.hang})
        return app

    def admit(self, request: web.Request) -> None:
        if "Authorization" not in request.headers:
            raise errors.Unauthenticated(check="missing")
        self.admitted += 1

    async def echo(self, token: str | None, body: bytes) -> bytes:
        self.tokens.append(token)
        self.asked.append(Word.model_validate_json(body).text)
        if self.trouble:
            raise self.trouble.pop(0)
        return body

    async def until(self, _: str | None, body: bytes) -> bytes:
        self.untold.set()
        await self.told.wait()
        return body

    async def hang(self, _: str | None, body: bytes) -> bytes:
        self.hanging.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.gone.set()
        return body


Near = Callable[..., Coroutine[Any, Any, Word]]


def near_end(transport: Transport) -> Near:
    async def ask(
        verb: str, text: str = "", *, timeout_s: float = CALL_S, retry_for_s: float = 0
    ) -> Word:
        return await transport.call(
            verb,
            Word(text=text),
            Word.model_validate_json,
            timeout_s=timeout_s,
            retry_for_s=retry_for_s,
        )

    return ask
