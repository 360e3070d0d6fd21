"""A line's near end: calls leave in the order in which they are made, answers come when they can.

A request of HTTP costs its two ends more work than most of our verbs do. Here a call costs a
frame each way, and an idle line is as quick as a busy one. Deadlines are the caller's business.
"""

import asyncio
from contextlib import suppress
from itertools import count
from typing import Final

import aiohttp
from pydantic import ValidationError

from shared.protocol.line import GIVE_UP, AnswerHead, CallHead, pack, unpack
from shared.runtime import Runtime

GIVE_UP_S: Final = 1.0
CLOSE_S: Final = 1.0
SILENT_S: Final = 2.0  # a call given up after this, with nothing heard meanwhile, blames the line


class LineBroken(Exception):
    """The connection ended before the answer came."""


class Line:
    """One open connection. The error of a call is handed out as bytes, to be made whole."""

    PING_S: Final = 15.0  # where nothing comes for this long, and half of it, the line ends

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, runtime: Runtime) -> None:
        self._socket = socket
        self._runtime = runtime
        self._heard_at = runtime.mono()
        self._is_suspect = False
        self._is_broken = False
        self._numbers = count(1)
        self._waiting: dict[int, asyncio.Future[tuple[bool, bytes]]] = {}
        loop = asyncio.get_running_loop()
        self._listening = loop.create_task(self._listen(), name="line")

    @property
    def is_usable(self) -> bool:
        """Whether a new call should go here. Those on a suspect line may still be answered."""
        return not (self._is_suspect or self._is_broken or self._socket.closed)

    @property
    def has_ended(self) -> bool:
        return self._listening.done()

    async def call(self, verb: str, body: bytes, token: str | None) -> tuple[bool, bytes]:
        """Whether the answer is an error, and the answer. When given up, the other end is told."""
        number, asked_at = next(self._numbers), self._runtime.mono()
        answer: asyncio.Future[tuple[bool, bytes]] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        try:
            await self._send(CallHead.model_construct(number=number, verb=verb, token=token), body)
            return await answer
        except asyncio.CancelledError:
            if number in self._waiting:
                silent_s = self._runtime.mono() - max(asked_at, self._heard_at)
                self._is_suspect = self._is_suspect or silent_s >= SILENT_S
                await self._give_up(number)
            raise
        finally:
            self._waiting.pop(number, None)
            if self._is_suspect and not self._waiting:
                self._listening.cancel()

    async def close(self) -> None:
        """The connection is closed; every open call is LineBroken. Safe to repeat."""
        self._break()
        self._listening.cancel()
        await asyncio.wait([self._listening])
        await self._hang_up()

    async def _give_up(self, number: int) -> None:
        head = CallHead.model_construct(number=number, verb=GIVE_UP, token=None)
        # Who cannot hear that nobody waits will find out when the line ends.
        with suppress(LineBroken, TimeoutError):
            async with asyncio.timeout(GIVE_UP_S):
                await self._send(head, b"")

    async def _send(self, head: CallHead, body: bytes) -> None:
        if self._is_broken:
            raise LineBroken
        try:
            await self._socket.send_bytes(pack(head, body))
        except (ConnectionError, aiohttp.ClientError):
            raise LineBroken from None

    async def _listen(self) -> None:
        """Every answer was handed to its caller, until the connection ended."""
        try:
            async for frame in self._socket:
                if frame.type is not aiohttp.WSMsgType.BINARY:
                    return
                self._heard_at = self._runtime.mono()
                head, body = unpack(frame.data, AnswerHead)
                waiting = self._waiting.pop(head.number, None)
                if waiting is not None and not waiting.done():
                    waiting.set_result((head.is_error, body))
        except (ConnectionError, aiohttp.ClientError, ValidationError):
            return  # as good as closed
        finally:
            self._break()
            await self._hang_up()

    def _break(self) -> None:
        """Every open call, and every later one, is LineBroken."""
        self._is_broken = True
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(LineBroken())
                waiting.exception()  # its caller may have been cancelled at the same moment

    async def _hang_up(self) -> None:
        """The connection is closed, with the other end's consent if that comes soon."""
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_S):
                await self._socket.close()
