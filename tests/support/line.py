"""A line's near end that sends whatever a test wants."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any

import aiohttp
from pydantic import BaseModel

from tests.support.http import Caller


@dataclass(frozen=True)
class Said:
    """An answer."""

    number: int
    is_error: bool
    json: Any

    @property
    def check(self) -> tuple[str, str | None]:
        """Which error it is, and the check that failed."""
        assert self.is_error
        return self.json["code"], self.json["facts"].get("check")


class BareLine:
    """Nothing is checked, nothing repeated."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self._numbers = count(100)

    async def send(
        self, number: int, verb: str, body: bytes = b"{}", token: str | None = None
    ) -> None:
        head = json.dumps({"number": number, "verb": verb, "token": token}).encode()
        await self.socket.send_bytes(head + b"\n" + body)

    async def answer(self) -> Said:
        head, _, body = (await self.socket.receive_bytes(timeout=5)).partition(b"\n")
        return Said(**json.loads(head), json=json.loads(body))

    async def ask(self, verb: str, ask: BaseModel | bytes, token: str | None) -> Said:
        """The answer to one call, when no other is open."""
        body = ask if isinstance(ask, bytes) else ask.model_dump_json().encode()
        number = next(self._numbers)
        await self.send(number, verb, body, token)
        said = await self.answer()
        assert said.number == number
        return said

    async def until_closed(self) -> None:
        async for _ in self.socket:
            pass


@asynccontextmanager
async def line_to(caller: Caller, token: str | None = None) -> AsyncIterator[BareLine]:
    """Open for as long as the block lasts. aiohttp.WSServerHandshakeError: it was turned away."""
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f"{caller.url}/v1/line", headers=headers) as socket,
    ):
        yield BareLine(socket)
