"""A line whose far end misbehaves."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from shared import errors
from shared.http.transport import Transport
from shared.protocol.line import FRAME_BYTES, AnswerHead, CallHead, pack, unpack
from tests.support.http import Caller, serving
from tests.support.runtime import ManualRuntime
from tests.support.verbs import Near, Verbs, Word, near_end

Far = Callable[[web.WebSocketResponse, int], Awaitable[object]]


class Script:
    """A far end that answers the calls of each new line as the next of `acts` does."""

    def __init__(self, *acts: Far) -> None:
        self.acts = list(acts)
        self.opened = 0

    async def serve(self, request: web.Request) -> web.WebSocketResponse:
        self.opened += 1
        act = self.acts.pop(0)
        line = web.WebSocketResponse(max_msg_size=2 * FRAME_BYTES)
        await line.prepare(request)
        async for frame in line:
            head, _ = unpack(frame.data, CallHead)
            await act(line, head.number)
        return line


@asynccontextmanager
async def far_end(*acts: Far) -> AsyncIterator[tuple[Near, Script]]:
    script = Script(*acts)
    app = web.Application()
    app.router.add_get("/v1/line", script.serve)
    async with serving(app) as caller:
        transport = Transport(caller.url, ManualRuntime(), token=lambda: "t")
        yield near_end(transport), script
        await transport.close()


def says(number: int, body: bytes = b'{"text":"said"}') -> bytes:
    return pack(AnswerHead(number=number, is_error=False), body)


async def behaves(line: web.WebSocketResponse, number: int) -> None:
    await line.send_bytes(says(number))


async def breaks_off(line: web.WebSocketResponse, _: int) -> None:
    line._req.transport.abort()  # type: ignore[union-attr]  # no close frame, as when it is killed


@pytest.mark.parametrize(
    "act",
    [
        breaks_off,
        lambda line, _: line.close(),
        lambda line, number: line.send_str(says(number).decode()),
        lambda line, _: line.send_bytes(b""),
        lambda line, _: line.send_bytes(b"\xff\n{}"),
        lambda line, _: line.send_bytes(b'{"number":1}\n{}'),
        lambda line, _: line.send_bytes(b"[" * 100_000),
    ],
    ids=["breaks off", "closes", "text", "empty", "no text", "half a head", "deep"],
)
async def test_calls_on_a_line_that_broke_are_unavailable_and_later_ones_open_another(
    act: Far,
) -> None:
    async def waits(_line: web.WebSocketResponse, _: int) -> None: ...

    acts = iter([waits, act])
    async with (
        asyncio.timeout(5),
        far_end(lambda line, number: next(acts)(line, number), behaves) as (ask, script),
    ):
        broken = await asyncio.gather(ask("a"), ask("b"), return_exceptions=True)

        assert [type(error) for error in broken] == [errors.Unavailable, errors.Unavailable]
        assert (await ask("c")).text == "said"
        assert script.opened == 2


async def test_an_answer_for_nobody_harms_nobody() -> None:
    async def answers_too_much(line: web.WebSocketResponse, number: int) -> None:
        for one in (0, number + 7, -1, number, number):
            await line.send_bytes(says(one))

    async with far_end(answers_too_much) as (ask, script):
        assert (await ask("a")).text == "said"
        assert (await ask("b")).text == "said"
        assert script.opened == 1


async def test_an_answer_may_be_longer_than_a_call() -> None:
    long = Word(text="x" * (FRAME_BYTES + 1)).model_dump_json().encode()
    async with far_end(lambda line, number: line.send_bytes(says(number, long))) as (ask, _):
        assert len((await ask("a")).text) == FRAME_BYTES + 1


@pytest.mark.parametrize("body", [b"", b"{", b'{"text":7}', b"\xff"])
async def test_an_answer_that_is_none_is_one_of_our_errors(body: bytes) -> None:
    async with far_end(lambda line, number: line.send_bytes(says(number, body))) as (ask, _):
        with pytest.raises(errors.ServiceError, match="something else"):
            await ask("a")


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (200, errors.ServiceError),
        (401, errors.Unauthenticated),
        (403, errors.Forbidden),
        (404, errors.ServiceError),
        (406, errors.UnsupportedVersion),
        (502, errors.Unavailable),
    ],
)
async def test_whatever_opens_no_line_the_caller_gets_one_of_our_errors(
    runtime: ManualRuntime, status: int, kind: type[errors.ServiceError]
) -> None:
    async def turn_away(_: web.Request) -> web.Response:
        return web.Response(status=status)

    app = web.Application()
    app.router.add_get("/v1/line", turn_away)
    async with serving(app) as caller:
        transport = Transport(caller.url, runtime, token=lambda: "t")
        with pytest.raises(errors.ServiceError) as raised:
            await near_end(transport)("a")
        await transport.close()

    assert type(raised.value) is kind


async def test_no_line_is_opened_where_a_redirect_leads(
    caller: Caller, verbs: Verbs, runtime: ManualRuntime
) -> None:
    async def redirect(_: web.Request) -> web.Response:
        return web.Response(status=307, headers={"Location": f"{caller.url}/v1/line"})

    app = web.Application()
    app.router.add_get("/v1/line", redirect)
    async with serving(app) as detour:
        transport = Transport(detour.url, runtime, token=lambda: "secret")
        with pytest.raises(errors.ServiceError, match="answered 307"):
            await near_end(transport)("echo")
        await transport.close()

    assert verbs.admitted == 0
