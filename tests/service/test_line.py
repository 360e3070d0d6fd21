"""A line: many calls on one connection, whatever happens to them, to it, or at its two ends."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from pydantic import BaseModel

from shared import errors
from shared.http import line_server
from shared.http.line import SILENT_S
from shared.http.line_server import add_line
from shared.http.server import Server, new_app
from shared.http.transport import CALL_S, Transport
from shared.protocol.line import BODY_BYTES, FRAME_BYTES, AnswerHead, CallHead, pack, unpack
from tests.support.http import Caller, serving
from tests.support.line import line_to
from tests.support.runtime import ManualRuntime


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


@pytest.fixture
def runtime() -> ManualRuntime:
    return ManualRuntime()


@pytest.fixture
def verbs() -> Verbs:
    return Verbs()


@pytest.fixture
async def caller(verbs: Verbs) -> AsyncIterator[Caller]:
    async with serving(verbs.app()) as caller:
        yield caller


@pytest.fixture
async def transport(caller: Caller, runtime: ManualRuntime) -> AsyncIterator[Transport]:
    transport = Transport(caller.url, runtime, token=lambda: "mine", service="gateway")
    yield transport
    await transport.close()


@pytest.fixture
def ask(transport: Transport) -> Near:
    return near_end(transport)


# -- calls ------------------------------------------------------------------------------------


async def test_calls_share_a_line_and_are_answered_when_they_can_be(
    ask: Near, verbs: Verbs
) -> None:
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        slow = group.create_task(ask("until", "slow"))
        quick = await asyncio.gather(*(ask("echo", str(n)) for n in range(50)))
        assert not slow.done()
        verbs.told.set()

    assert [word.text for word in quick] == [str(n) for n in range(50)]
    assert slow.result().text == "slow"
    assert verbs.admitted == 1


async def test_each_call_carries_its_own_token(transport: Transport, verbs: Verbs) -> None:
    await transport.call("echo", Word(), bytes)
    await transport.call("echo", Word(), bytes, token="theirs")

    assert verbs.tokens == ["mine", "theirs"]


@pytest.mark.parametrize("kind", [errors.BY_CODE[code] for code in sorted(errors.BY_CODE)])
async def test_the_error_that_was_raised_there_is_raised_here(
    ask: Near, verbs: Verbs, kind: type[errors.ServiceError]
) -> None:
    verbs.trouble = [kind("because", state="lost", message="a fact of that name")]

    with pytest.raises(kind) as raised:
        await ask("echo")

    assert type(raised.value) is kind
    assert raised.value.message == "because"
    assert raised.value.facts["state"] == "lost"


@pytest.mark.parametrize("bug", [KeyError("x"), ConnectionResetError(), TimeoutError()])
async def test_a_verb_that_breaks_is_answered_and_takes_no_other_call_along(
    ask: Near, verbs: Verbs, bug: Exception
) -> None:
    verbs.trouble = [bug]

    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        other = group.create_task(ask("until", "other"))
        with pytest.raises(errors.ServiceError, match="something broke inside"):
            await ask("echo")
        verbs.told.set()

    assert other.result().text == "other"


async def test_a_retryable_error_is_met_with_another_call_where_asked(
    ask: Near, verbs: Verbs, runtime: ManualRuntime
) -> None:
    verbs.trouble = [errors.Overloaded(), errors.Overloaded(retry_after_s=20)]

    with pytest.raises(errors.Overloaded):
        await ask("echo", "once")
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        asking = group.create_task(ask("echo", "again", retry_for_s=30))
        await runtime.until_asleep()
        await runtime.advance(19.9)
        assert not asking.done()
        await runtime.advance(1)

    assert verbs.asked == ["once", "again", "again"]


async def test_a_body_over_the_limit_is_not_sent(ask: Near, verbs: Verbs) -> None:
    with pytest.raises(errors.TooLarge):
        await ask("echo", "x" * BODY_BYTES)

    assert verbs.admitted == 0


async def test_a_body_up_to_the_limit_goes_there_and_back(ask: Near) -> None:
    text = "x" * (BODY_BYTES - len(Word().model_dump_json()))

    assert (await ask("echo", text)).text == text


# -- calls that are given up ----------------------------------------------------------------------


async def test_a_call_that_is_cancelled_is_given_up_at_the_far_end(ask: Near, verbs: Verbs) -> None:
    calling = asyncio.ensure_future(ask("hang"))
    async with asyncio.timeout(5):
        await verbs.hanging.wait()

        calling.cancel()

        await verbs.gone.wait()
    assert (await ask("echo", "next")).text == "next"
    assert verbs.admitted == 1


async def test_a_call_that_is_out_of_time_is_unavailable_and_given_up(
    ask: Near, verbs: Verbs
) -> None:
    with pytest.raises(errors.Unavailable, match="no answer in time"):
        await ask("hang", timeout_s=0.05)

    async with asyncio.timeout(5):
        await verbs.gone.wait()


async def test_calls_go_elsewhere_when_a_line_was_silent_for_long(
    ask: Near, verbs: Verbs, runtime: ManualRuntime
) -> None:
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        waiting = group.create_task(ask("until", "late"))
        calling = group.create_task(ask("hang"))
        await verbs.hanging.wait()
        await runtime.advance(SILENT_S)
        calling.cancel()
        await verbs.gone.wait()

        await ask("echo")
        assert verbs.admitted == 2
        verbs.told.set()  # the silent line was only slow: who still waits there is answered

    assert waiting.result().text == "late"


async def test_a_line_that_was_heard_meanwhile_is_kept(
    ask: Near, verbs: Verbs, runtime: ManualRuntime
) -> None:
    async with asyncio.timeout(5):
        calling = asyncio.ensure_future(ask("hang"))
        await verbs.hanging.wait()
        await runtime.advance(SILENT_S)
        await ask("echo")
        calling.cancel()
        await verbs.gone.wait()
        await ask("echo")

    assert verbs.admitted == 1


# -- lines that end -------------------------------------------------------------------------------


async def test_closing_breaks_the_open_calls_and_refuses_later_ones(
    transport: Transport, ask: Near, verbs: Verbs
) -> None:
    async with asyncio.timeout(5):
        calling = asyncio.ensure_future(ask("hang"))
        await verbs.hanging.wait()

        await transport.close()

        with pytest.raises(errors.Unavailable, match="closed"):
            await calling
        with pytest.raises(errors.Unavailable, match="was closed"):
            await ask("echo")
        await verbs.gone.wait()


async def test_closing_while_a_line_is_opened_leaves_none(
    transport: Transport, ask: Near, verbs: Verbs
) -> None:
    calling = asyncio.ensure_future(ask("hang"))
    for _ in range(3):
        await asyncio.sleep(0)

    await transport.close()

    async with asyncio.timeout(5):
        with pytest.raises(errors.Unavailable):
            await calling


async def test_a_service_that_is_away_is_named(runtime: ManualRuntime) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        transport = Transport(url, runtime, token=lambda: "t", service="registry")

        with pytest.raises(errors.Unavailable, match=f"the registry at {url} cannot be reached"):
            await near_end(transport)("echo")
        await transport.close()


@asynccontextmanager
async def patient(verbs: Verbs) -> AsyncIterator[tuple[Near, Server]]:
    """A server that gives the calls in progress a minute when it stops."""
    server = Server(verbs.app(), "127.0.0.1", 0, linger_s=60)
    await server.start()
    transport = Transport(server.url, ManualRuntime(), token=lambda: "t")
    yield near_end(transport), server
    await transport.close()


async def test_a_server_that_stops_answers_what_is_open_and_takes_no_more(verbs: Verbs) -> None:
    async with asyncio.timeout(5), patient(verbs) as (ask, server):
        calling = asyncio.ensure_future(ask("until", "open"))
        await verbs.untold.wait()

        stopping = asyncio.ensure_future(server.stop())
        await asyncio.sleep(0.01)
        late = asyncio.ensure_future(ask("echo"))
        await asyncio.sleep(0.01)
        verbs.told.set()

        assert (await calling).text == "open"
        await stopping
        with pytest.raises(errors.Unavailable):
            await late
    assert verbs.asked == []


async def test_a_server_that_stops_does_not_wait_for_an_idle_line(verbs: Verbs) -> None:
    async with asyncio.timeout(5), patient(verbs) as (ask, server):
        await ask("echo")

        await server.stop()

        with pytest.raises(errors.Unavailable):
            await ask("echo")


async def test_a_server_that_stops_cuts_calls_that_do_not_end(runtime: ManualRuntime) -> None:
    verbs = Verbs()
    async with asyncio.timeout(5):
        async with serving(verbs.app()) as caller:
            transport = Transport(caller.url, runtime, token=lambda: "t")
            calling = asyncio.ensure_future(near_end(transport)("hang"))
            await verbs.hanging.wait()

        with pytest.raises(errors.Unavailable):
            await calling
        await verbs.gone.wait()
        await transport.close()


# -- a far end that misbehaves ------------------------------------------------------------------

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


# -- a near end that misbehaves -----------------------------------------------------------------


async def test_no_line_opens_without_a_token(caller: Caller, verbs: Verbs) -> None:
    with pytest.raises(aiohttp.WSServerHandshakeError) as turned_away:
        async with line_to(caller):
            pass

    assert turned_away.value.status == 401
    assert verbs.admitted == 0


async def test_a_request_that_is_no_handshake_is_400(caller: Caller) -> None:
    assert (await caller("GET", "/v1/line", token="t")).status == 400


async def test_a_verb_that_is_none_is_named(caller: Caller) -> None:
    async with line_to(caller, "t") as line:
        said = await line.ask("submit", b"{}", "t")

    assert said.json["code"] == "bad_request"
    assert said.json["facts"] == {"verbs": ["echo", "hang", "until"]}


async def test_a_bad_body_is_answered_with_its_mistakes(caller: Caller) -> None:
    async with line_to(caller, "t") as line:
        said = await line.ask("echo", b'{"text":7}', "t")
        next_said = await line.ask("echo", b"{}", "t")

    assert said.json["code"] == "bad_request"
    assert said.json["facts"]["mistakes"][0]["field"] == "text"
    assert not next_said.is_error


HANG = json.dumps({"number": 1, "verb": "hang"}).encode() + b"\n{}"


@pytest.mark.parametrize(
    "frame",
    [
        HANG.decode(),
        b"",
        b"\n",
        b"nonsense",
        b"\xff\xfe\n{}",
        b'{"verb":"echo"}\n{}',
        b'{"number":-1,"verb":"echo"}\n{}',
        b'{"number":9223372036854775808,"verb":"echo"}\n{}',
        b'{"number":2,"verb":"echo","token":7}\n{}',
        b"[" * 100_000,
        HANG,  # the number is in use
        b"x" * (FRAME_BYTES + 1),
    ],
    ids=lambda frame: repr(frame[:20]),
)
async def test_a_frame_that_is_none_ends_its_line_and_no_other(
    caller: Caller, verbs: Verbs, ask: Near, frame: bytes | str
) -> None:
    other = asyncio.ensure_future(ask("until", "other"))
    async with asyncio.timeout(5), line_to(caller, "t") as line:
        await line.socket.send_bytes(HANG)
        await verbs.hanging.wait()

        with suppress(ConnectionError):  # a long one may be cut off before it was sent
            if isinstance(frame, str):
                await line.socket.send_str(frame)
            else:
                await line.socket.send_bytes(frame)
        await line.until_closed()
        await verbs.gone.wait()
    verbs.told.set()
    assert (await other).text == "other"


async def test_giving_up_what_is_not_open_changes_nothing(caller: Caller) -> None:
    async with line_to(caller, "t") as line:
        await line.send(1, "give_up")
        await line.send(1, "echo")
        said = await line.answer()
        await line.send(1, "give_up")

        assert (said.number, said.is_error) == (1, False)
        assert not (await line.ask("echo", b"{}", "t")).is_error


async def test_a_number_may_be_used_again_once_it_was_answered(caller: Caller) -> None:
    async with line_to(caller, "t") as line:
        for _ in range(3):
            await line.send(1, "echo")
            assert not (await line.answer()).is_error


async def test_a_line_with_too_many_open_calls_sheds_the_next(
    caller: Caller, verbs: Verbs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(line_server, "MAX_OPEN", 2)
    async with line_to(caller, "t") as line:
        await line.send(1, "hang")
        await line.send(2, "hang")
        await line.send(3, "echo")
        shed = await line.answer()
        await line.send(1, "give_up")
        await verbs.gone.wait()

        assert (shed.number, shed.json["code"]) == (3, "overloaded")
        assert not (await line.ask("echo", b"{}", "t")).is_error


async def test_nothing_is_done_any_more_for_who_is_gone(caller: Caller, verbs: Verbs) -> None:
    async with asyncio.timeout(5):
        async with line_to(caller, "t") as line:
            await line.send(1, "hang")
            await verbs.hanging.wait()

        await verbs.gone.wait()


async def test_nothing_is_done_any_more_for_who_does_not_listen(
    verbs: Verbs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(line_server, "PING_S", 0.1)
    text = json.dumps({"text": "x" * 1_000_000}).encode()
    async with asyncio.timeout(5), serving(verbs.app()) as caller, line_to(caller, "t") as line:
        await line.send(1, "hang")
        for number in range(2, 30):
            await line.send(number, "echo", text)

        await verbs.gone.wait()  # the line was never read, and so no ping was answered
