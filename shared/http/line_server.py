"""A line's far end: each call is answered by a task of its own, as soon as it can be."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Final

from aiohttp import WSCloseCode, WSMsgType, web
from pydantic import ValidationError

from shared.errors import BadRequest, Overloaded
from shared.http.server import as_service_error, error_body
from shared.http.wire import LINE
from shared.protocol.line import FRAME_BYTES, GIVE_UP, AnswerHead, CallHead, pack, unpack

PING_S: Final = 20.0
MAX_OPEN: Final = 20_000  # calls on one line: a gateway has a long poll on it for each worker

Answerer = Callable[[str | None, bytes], Awaitable[bytes]]  # of a token and a body


def add_line(
    app: web.Application, admit: Callable[[web.Request], object], verbs: Mapping[str, Answerer]
) -> None:
    """The application serves `verbs` on lines, to everybody whom `admit` does not turn away."""

    async def line(request: web.Request) -> web.WebSocketResponse:
        admit(request)
        socket = web.WebSocketResponse(heartbeat=PING_S, max_msg_size=FRAME_BYTES, compress=False)
        await socket.prepare(request)
        await _Line(socket, verbs).serve()
        return socket

    app.router.add_get(LINE, line, allow_head=False)


class _Line:
    """One connection, from its first call to its end."""

    def __init__(self, socket: web.WebSocketResponse, verbs: Mapping[str, Answerer]) -> None:
        self._socket = socket
        self._verbs = verbs
        self._open: dict[int, asyncio.Task[None]] = {}

    async def serve(self) -> None:
        """The connection has ended, and nothing is done any more for who asked on it."""
        async with asyncio.TaskGroup() as group:
            try:
                async for frame in self._socket:
                    if frame.type is not WSMsgType.BINARY or not self._take(group, frame.data):
                        await self._socket.close(code=WSCloseCode.UNSUPPORTED_DATA)
                        break
            finally:
                for task in self._open.values():
                    task.cancel()

    def _take(self, group: asyncio.TaskGroup, frame: bytes) -> bool:
        """Whether this was a frame of a line; if so, it is seen to."""
        try:
            call, body = unpack(frame, CallHead)
        except ValidationError:
            return False
        if call.verb != GIVE_UP:
            task = group.create_task(self._answer(call, body), name=call.verb)
            self._open[call.number] = task
            task.add_done_callback(lambda _: self._open.pop(call.number, None))
        elif (task_of := self._open.get(call.number)) is not None:
            task_of.cancel()
        return True

    async def _answer(self, call: CallHead, body: bytes) -> None:
        is_error = False
        try:
            answer = await self._answer_of(call, body)
        except ConnectionError:
            return
        except Exception as error:
            answer = error_body(as_service_error(error, f"the call {call.verb}"))
            is_error = True
        head = AnswerHead.model_construct(number=call.number, is_error=is_error)
        with suppress(ConnectionError):  # the caller is gone; nobody reads an answer
            await self._socket.send_bytes(pack(head, answer))

    async def _answer_of(self, call: CallHead, body: bytes) -> bytes:
        verb = self._verbs.get(call.verb)
        if verb is None:
            raise BadRequest(f"this line has no verb {call.verb[:50]!r}", verbs=sorted(self._verbs))
        if len(self._open) > MAX_OPEN:
            raise Overloaded(f"{MAX_OPEN} calls are open on this line")
        return await verb(call.token, body)
