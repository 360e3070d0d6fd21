"""A line's far end: each call is answered by a task of its own, as soon as it can be."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Final

from aiohttp import WSCloseCode, WSMsgType, web
from pydantic import ValidationError

from shared.errors import BadRequest, Overloaded, ServiceError
from shared.http.admission import Admission, Rank
from shared.http.operation import Content, Key, operation
from shared.http.server import ADMISSION, as_service_error, error_body
from shared.protocol.line import (
    FRAME_BYTES,
    GIVE_UP,
    LINE,
    AnswerHead,
    CallHead,
    pack,
    unpack,
)

PING_S: Final = 20.0
CLOSE_S: Final = 1.0
MAX_OPEN: Final = 20_000  # calls on one line: a gateway has a long poll on it for each worker

Answerer = Callable[[str | None, bytes], Awaitable[bytes]]  # of a token and a body


def add_line(
    app: web.Application,
    admit: Callable[[web.Request], object],
    verbs: Mapping[str, Answerer],
    ranks: Mapping[str, Rank] | None = None,
) -> None:
    """The application serves `verbs` on lines, to everybody whom `admit` does not turn away.

    `ranks` names the verbs that are not vital.
    """
    lines: dict[_Line, None] = {}

    @operation(Key.WORKER, {101: Content.NONE})
    async def line(request: web.Request) -> web.WebSocketResponse:
        """101: a WebSocket that carries this service's small messages (docs/protocol.md)."""
        admit(request)
        socket = web.WebSocketResponse(heartbeat=PING_S, max_msg_size=FRAME_BYTES, compress=False)
        await socket.prepare(request)
        line = _Line(socket, verbs, app[ADMISSION], ranks or {})
        lines[line] = None
        try:
            await line.serve()
        finally:
            del lines[line]
        await _hang_up(request, socket)
        return socket

    async def leave(_: web.Application) -> None:
        for line in lines:
            line.leave()

    app.router.add_get(LINE, line, allow_head=False)
    app.on_shutdown.append(leave)


class _Line:
    """One connection, from its first call to its end."""

    def __init__(
        self,
        socket: web.WebSocketResponse,
        verbs: Mapping[str, Answerer],
        admission: Admission,
        ranks: Mapping[str, Rank],
    ) -> None:
        self._socket = socket
        self._verbs = verbs
        self._admission = admission
        self._ranks = ranks
        self._open: dict[int, asyncio.Task[None]] = {}
        self._reading: asyncio.Task[None] | None = None

    async def serve(self) -> None:
        """No more is read, and nothing is done any more for who asked."""
        async with asyncio.TaskGroup() as group:
            self._reading = group.create_task(self._read(group), name="line")

    def leave(self) -> None:
        """No more calls are taken; `serve` ends when the open ones are answered."""
        if self._reading is not None:
            self._reading.cancel()

    async def _read(self, group: asyncio.TaskGroup) -> None:
        async for frame in self._socket:
            if frame.type is not WSMsgType.BINARY or not await self._take(group, frame.data):
                break
        for task in self._open.values():  # nobody is there any more, or nobody to be trusted
            task.cancel()

    async def _take(self, group: asyncio.TaskGroup, frame: bytes) -> bool:
        """Whether this was a frame of a line; if so, it is seen to."""
        try:
            call, body = unpack(frame, CallHead)
        except ValidationError:
            return False
        namesake = self._open.get(call.number)
        if call.verb == GIVE_UP:
            if namesake is not None:
                namesake.cancel()
        elif namesake is not None:
            return False
        else:
            try:
                leave = self._enter(call, len(body))
            except ServiceError as error:
                # Nothing is read before this has left: who does not listen cannot go on asking.
                await self._refuse(call, error)
                return True
            task = group.create_task(self._answer(call, body), name=call.verb)
            self._open[call.number] = task
            task.add_done_callback(leave)
        return True

    def _enter(self, call: CallHead, size_bytes: int) -> Callable[[object], None]:
        """The call is let in; what has to be called when it ends."""
        if len(self._open) >= MAX_OPEN:
            raise Overloaded(f"{MAX_OPEN} calls are open on this line", retry_after_s=1)
        admission, rank = self._admission, self._ranks.get(call.verb, Rank.VITAL)
        admission.enter(rank)
        try:
            admission.hold(size_bytes, rank)
        except Overloaded:
            admission.leave(rank)
            raise

        def leave(_: object) -> None:
            self._open.pop(call.number, None)
            admission.let_go(size_bytes)
            admission.leave(rank)

        return leave

    async def _answer(self, call: CallHead, body: bytes) -> None:
        try:
            verb = self._verbs.get(call.verb)
            if verb is None:
                verbs = sorted(self._verbs)
                raise BadRequest(f"this line has no verb {call.verb[:50]!r}", verbs=verbs)
            answer = await verb(call.token, body)
        except Exception as error:
            await self._refuse(call, error)
        else:
            await self._send(AnswerHead.model_construct(number=call.number, is_error=False), answer)

    async def _refuse(self, call: CallHead, error: Exception) -> None:
        body = error_body(as_service_error(error, f"the call {call.verb[:50]}"))
        await self._send(AnswerHead.model_construct(number=call.number, is_error=True), body)

    async def _send(self, head: AnswerHead, body: bytes) -> None:
        with suppress(ConnectionError):  # the caller is gone; nobody reads an answer
            await self._socket.send_bytes(pack(head, body))


async def _hang_up(request: web.Request, socket: web.WebSocketResponse) -> None:
    """The connection is closed, and nothing kept for who does not read what was sent."""
    with suppress(TimeoutError):
        async with asyncio.timeout(CLOSE_S):
            await socket.close()
    if socket.close_code == WSCloseCode.ABNORMAL_CLOSURE and request.transport is not None:
        request.transport.abort()
