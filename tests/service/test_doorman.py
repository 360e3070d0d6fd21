"""Who is turned away before there is a request, on real sockets: as by a handler, but at once."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
import pytest
from aiohttp import web

from shared.http.admission import ALERT_AT_ONCE, BURST_S, Admission, Rank
from shared.http.connections import Connection
from shared.http.operation import Content, Key, flag, number, operation
from shared.http.server import new_app, read_bytes
from tests.support.http import Caller, serving

LONG_S = 60.0


@dataclass
class Full:
    """A service that has too much to do for as long as a test says, and what reached it."""

    wait_s: float = 0.0
    now: float = 0.0
    reached: list[str] = field(default_factory=list)
    bell: asyncio.Event = field(default_factory=asyncio.Event)  # one more reached it
    go_on: asyncio.Event = field(default_factory=asyncio.Event)
    call: Caller = field(init=False)

    def __post_init__(self) -> None:
        self.door = Admission(lambda: self.wait_s, lambda: self.now)

    async def overload(self) -> None:
        """Work has waited for longer than a burst may."""
        self.wait_s = LONG_S
        await self.call("GET", "/v1/runs")
        self.now += BURST_S
        assert (await self.call("GET", "/v1/runs")).status == 503
        self.reached.clear()

    async def until_reached(self, times: int) -> None:
        async with asyncio.timeout(5):
            while len(self.reached) < times:
                self.bell.clear()
                await self.bell.wait()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        host, port = self.call.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        yield reader, writer
        writer.close()
        await writer.wait_closed()


@pytest.fixture
async def full() -> AsyncIterator[Full]:
    it = Full()

    async def ready() -> None: ...

    @operation(Key.PERSON, {200: Content.EMPTY}, given=(flag("wait"), number("x")))
    async def runs(request: web.Request) -> web.Response:
        it.reached.append(f"{request.method} {request.path_qs}")
        it.bell.set()
        await read_bytes(request, 1_000)
        if "wait" in request.query:
            await it.go_on.wait()
        return web.Response(body=b"{}")

    @operation(Key.WORKER, {200: Content.EMPTY})
    async def vital(request: web.Request) -> web.Response:
        it.reached.append(request.path)
        return web.Response(body=b"{}")

    app = new_app(ready, None, it.door)
    app.router.add_get("/v1/runs", runs)
    app.router.add_post("/v1/runs", runs)
    app.router.add_get("/v1/runs/{run}", runs)
    app.router.add_post("/v1/vital", vital)
    async with serving(app) as it.call:
        yield it
        it.go_on.set()


def request(line: str, *heads: str, body: bytes = b"") -> bytes:
    lines = [f"{line} HTTP/1.1", "Host: x", f"Content-Length: {len(body)}", *heads, "", ""]
    return "\r\n".join(lines).encode() + body


async def answer(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], bytes]:
    async with asyncio.timeout(5):
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        status, *lines = head.strip().split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines)
        body = await reader.readexactly(int(headers["Content-Length"]))
    return int(status.split()[1]), headers, body


async def test_the_answer_is_as_complete_as_a_handlers(full: Full) -> None:
    await full.overload()

    at_the_door = await full.call("POST", "/v1/runs", data=b"{}")
    by_a_handler = await full.call("GET", "/v1/runs/1")

    assert full.reached == []
    assert "Server" not in at_the_door.headers
    assert "Server" in by_a_handler.headers
    for said in (at_the_door, by_a_handler):
        assert said.status == 503
        assert int(said.headers["Retry-After"]) >= 1
        assert said.json.keys() == {"code", "message", "facts", "retryable"}
        assert (said.json["code"], said.json["retryable"]) == ("overloaded", True)


async def test_a_connection_is_kept_and_used_again(full: Full) -> None:
    await full.overload()
    async with full.connection() as (reader, writer):
        for _ in range(3):
            writer.write(request("POST /v1/runs?x=1", body=b"{}"))
            assert (await answer(reader))[0] == 503
        full.wait_s, full.now = 0.0, full.now + LONG_S
        writer.write(request("POST /v1/runs", body=b"{}"))

        assert (await answer(reader))[0] == 200


async def test_who_asks_on_without_waiting_gets_the_answers_in_order(full: Full) -> None:
    await full.overload()
    async with full.connection() as (reader, writer):
        writer.write(request("POST /v1/vital") + request("GET /v1/runs") + request("GET /healthz"))

        assert [(await answer(reader))[0] for _ in range(3)] == [200, 503, 200]


async def test_what_follows_a_request_that_is_answered_slowly_is_answered_after_it(
    full: Full,
) -> None:
    async with full.connection() as (reader, writer):
        writer.write(request("GET /v1/runs?wait=1"))
        await full.until_reached(1)
        await full.overload()
        writer.write(request("GET /v1/runs"))
        while (await full.call("GET", "/v1/runs")).status != 503:
            pass
        full.go_on.set()

        assert [(await answer(reader))[0] for _ in range(2)] == [200, 503]


async def test_a_body_that_comes_later_is_not_taken_for_a_request(full: Full) -> None:
    await full.overload()
    async with full.connection() as (reader, writer):
        whole = request("POST /v1/runs", body=b"GET /v1/vital HTTP/1.1\r\n\r\n")
        head, body = whole[:-10], whole[-10:]
        writer.write(head)
        status, _, said = await answer(reader)
        writer.write(body + request("GET /healthz"))

        assert (status, json.loads(said)["code"]) == (503, "overloaded")
        assert (await answer(reader))[0] == 200
    assert full.reached == []


async def test_vital_calls_and_whoever_says_goodbye_are_seen_to_by_handlers(full: Full) -> None:
    await full.overload()

    async with full.connection() as (reader, writer):
        writer.write(request("POST /v1/vital"))
        assert (await answer(reader))[0] == 200
        writer.write(request("GET /v1/runs", "Connection: close"))
        assert (await answer(reader))[0] == 503
        assert await reader.read() == b""


async def test_who_is_let_in_at_the_door_is_counted_once(full: Full) -> None:
    await full.overload()
    full.wait_s = 0.0  # and the alert goes on: few are let in at a time
    async with asyncio.TaskGroup() as group:
        for _ in range(ALERT_AT_ONCE):
            group.create_task(full.call("GET", "/v1/runs?wait=1"))
        await full.until_reached(ALERT_AT_ONCE)

        assert (await full.call("GET", "/v1/runs")).status == 503
        full.go_on.set()

    assert (await full.call("GET", "/v1/runs")).status == 200


async def test_what_aiohttp_refuses_by_itself_takes_no_place(full: Full) -> None:
    await full.overload()
    full.wait_s = 0.0
    async with full.connection() as (reader, writer):
        for _ in range(ALERT_AT_ONCE + 1):
            writer.write(request("GET /v1/runs", "Expect: wonders"))
            assert (await answer(reader))[0] == 417

    assert (await full.call("GET", "/v1/runs")).status == 200


async def test_who_wants_another_protocol_is_answered_and_may_ask_on(full: Full) -> None:
    await full.overload()
    async with full.connection() as (reader, writer):
        for _ in range(2):
            writer.write(request("GET /v1/runs", "Connection: Upgrade", "Upgrade: websocket"))

            assert (await answer(reader))[0] == 503


async def test_who_leaves_before_the_handler_begins_takes_no_place_along(
    full: Full, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_in = Connection.let_in

    def and_lose(connection: Connection, rank: Rank) -> None:
        let_in(connection, rank)
        connection.abort()

    await full.overload()
    full.wait_s = 0.0
    with monkeypatch.context() as patch:
        patch.setattr(Connection, "let_in", and_lose)
        for _ in range(ALERT_AT_ONCE):
            with pytest.raises(aiohttp.ClientError):
                await full.call("POST", "/v1/runs", data=b"{}")
    assert full.reached == []

    assert (await full.call("POST", "/v1/runs", data=b"{}")).status == 200


async def test_who_asks_on_and_reads_no_answer_loses_the_connection(
    full: Full, monkeypatch: pytest.MonkeyPatch
) -> None:
    await full.overload()
    async with full.connection() as (reader, writer):
        writer.write(request("GET /v1/runs"))
        assert (await answer(reader))[0] == 503
        # As it is when more was sent than the kernel keeps.
        monkeypatch.setattr(Connection, "writing_paused", True)
        writer.write(request("GET /v1/runs"))

        async with asyncio.timeout(5):
            assert await reader.read() == b""
