"""What callers of the one HTTP client see: errors as raised, retries where asked, deadlines."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiohttp import web

from shared import errors
from shared.http.server import error_response
from shared.http.transport import Credential, Transport
from tests.support.http import serving
from tests.support.runtime import ManualRuntime

Answering = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Script:
    """Answers each request with the next of `replies`; an exception breaks the connection."""

    def __init__(self) -> None:
        self.replies: list[Answering] = []
        self.seen: list[web.Request] = []

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.seen.append(request)
        return await self.replies.pop(0)(request)


def says(status: int = 200, body: bytes = b"{}", **headers: str) -> Answering:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(status=status, body=body, headers=headers)

    return answer


def fails(error: errors.ServiceError) -> Answering:
    async def answer(_: web.Request) -> web.StreamResponse:
        return error_response(error)

    return answer


async def hangs_up(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def says_nothing(_: web.Request) -> web.StreamResponse:
    await asyncio.Event().wait()
    raise AssertionError


@pytest.fixture
def runtime() -> ManualRuntime:
    return ManualRuntime()


@pytest.fixture
def script() -> Script:
    return Script()


@pytest.fixture
async def transport(script: Script, runtime: ManualRuntime) -> AsyncIterator[Transport]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", script.answer)
    async with serving(app) as call:
        opened = Transport(call.url, runtime, token=lambda: "mine", service="gateway")
        yield opened
        await opened.close()


async def test_a_request_carries_the_token_and_the_protocol_version(
    transport: Transport, script: Script
) -> None:
    script.replies = [says(), says()]

    await transport.request("GET", "/a")
    await transport.request("GET", "/a", token="theirs")

    assert [r.headers["Authorization"] for r in script.seen] == ["Bearer mine", "Bearer theirs"]
    assert script.seen[0].headers["Drawbar-Protocol"] == "1"


@pytest.mark.parametrize("kind", [errors.BY_CODE[code] for code in sorted(errors.BY_CODE)])
async def test_the_error_that_was_raised_there_is_raised_here(
    transport: Transport, script: Script, kind: type[errors.ServiceError]
) -> None:
    script.replies = [fails(kind("because", state="lost", message="a fact of that name"))]

    with pytest.raises(kind) as raised:
        await transport.request("GET", "/a")

    assert type(raised.value) is kind
    assert raised.value.message == "because"
    assert raised.value.facts["state"] == "lost"


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (says(502, b"<html>bad gateway"), errors.Unavailable),
        (says(429, b""), errors.Unavailable),
        (says(404, b"<html>no such page"), errors.ServiceError),
        (says(302, b"", Location="http://elsewhere/"), errors.ServiceError),
        (says(500, b"[1]"), errors.Unavailable),
        (says(500, b'{"code":1,"message":2,"facts":3,"retryable":4}'), errors.Unavailable),
        (
            says(503, b'{"code":"newer","message":"m","facts":{"self":1},"retryable":true}'),
            errors.Unavailable,
        ),
        (hangs_up, errors.Unavailable),
    ],
)
async def test_whatever_answers_the_caller_gets_one_of_our_errors(
    transport: Transport, script: Script, answer: Answering, kind: type[errors.ServiceError]
) -> None:
    script.replies = [answer]

    with pytest.raises(errors.ServiceError) as raised:
        await transport.request("POST", "/a", b"{}")

    assert type(raised.value) is kind


async def test_a_service_that_is_away_is_named(runtime: ManualRuntime) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        transport = Transport(url, runtime, token=Credential(), service="registry")

        with pytest.raises(errors.Unavailable) as raised:
            await transport.request("GET", "/a")
        await transport.close()

    assert str(raised.value).startswith(f"the registry at {url} cannot be reached: Connect")
    assert raised.value.facts == {"service": "registry"}


async def test_an_answer_that_does_not_come_is_given_up(
    transport: Transport, script: Script
) -> None:
    script.replies = [says_nothing]

    with pytest.raises(errors.Unavailable, match="no answer in time"):
        await transport.request("GET", "/a", timeout_s=0.05)


async def test_nothing_is_retried_unless_the_caller_asks(
    transport: Transport, script: Script
) -> None:
    script.replies = [fails(errors.Overloaded()), says()]

    with pytest.raises(errors.Overloaded):
        await transport.request("POST", "/a", b"{}")

    assert len(script.seen) == 1


async def test_a_retryable_error_is_met_with_another_call(
    transport: Transport, script: Script, runtime: ManualRuntime
) -> None:
    script.replies = [hangs_up, fails(errors.Overloaded()), says(body=b"at last")]

    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        asking = group.create_task(transport.request("POST", "/a", b"{}", retry_for_s=30))
        while not asking.done():
            await (runtime.advance(0.5) if runtime.asleep else asyncio.sleep(0))

    assert asking.result().body == b"at last"


async def test_a_final_error_is_not_retried(transport: Transport, script: Script) -> None:
    script.replies = [fails(errors.StaleFence()), says()]

    with pytest.raises(errors.StaleFence):
        await transport.request("POST", "/a", b"{}", retry_for_s=30)


async def test_retry_after_is_obeyed(
    transport: Transport, script: Script, runtime: ManualRuntime
) -> None:
    script.replies = [fails(errors.Overloaded(retry_after_s=20)), says()]

    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        group.create_task(transport.request("POST", "/a", b"{}", retry_for_s=30))
        await runtime.until_asleep()
        await runtime.advance(19.9)
        still = len(script.seen)
        await runtime.advance(1)

    assert still == 1
    assert len(script.seen) == 2


async def test_a_pause_that_would_end_too_late_is_not_begun(
    transport: Transport, script: Script
) -> None:
    script.replies = [fails(errors.Overloaded(retry_after_s=20)), says()]

    with pytest.raises(errors.Overloaded):
        await transport.request("POST", "/a", b"{}", retry_for_s=10)

    assert len(script.seen) == 1


async def test_an_upload_that_breaks_at_its_source_raises_what_broke(
    transport: Transport, script: Script
) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b"half"
        raise errors.BadRequest("the source was cut")

    async def drain(request: web.Request) -> web.StreamResponse:
        await request.read()
        return web.Response()

    script.replies = [drain]

    with pytest.raises(errors.BadRequest, match="the source was cut"):
        await transport.upload("PUT", "/a", body(), 8, headers={})


async def test_an_upload_is_sent_with_its_size(transport: Transport, script: Script) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b"hal"
        yield b"ves"

    async def echo(request: web.Request) -> web.StreamResponse:
        return web.Response(body=await request.read())

    script.replies = [echo]

    answer = await transport.upload("PUT", "/a", body(), 6, headers={})

    assert answer.body == b"halves"
    assert script.seen[0].headers["Content-Length"] == "6"
    assert "Transfer-Encoding" not in script.seen[0].headers


async def test_a_large_message_goes_through(transport: Transport, script: Script) -> None:
    async def count(request: web.Request) -> web.StreamResponse:
        size = 0
        while piece := await request.content.readany():
            size += len(piece)
        return web.Response(body=b"%d" % size)

    script.replies = [count]

    assert (await transport.request("POST", "/a", b"x" * 5_000_000)).body == b"5000000"


async def test_a_closed_client_asks_nothing(transport: Transport, script: Script) -> None:
    await transport.close()

    with pytest.raises(errors.Unavailable):
        await transport.request("GET", "/a")

    assert script.seen == []
