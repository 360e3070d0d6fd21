"""The proxy between a real client and a real server: what each fault does to them."""

import asyncio
import random
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from faults.proxy.board import Board
from faults.proxy.proxy import Proxy
from faults.proxy.words import PROXY_FAULTS, BlackholeSyn, Refuse
from shared.runtime import SystemRuntime

ANSWER = "x" * 500
BODY = b"y" * 3_000
Ask = Callable[[], Awaitable[str]]


class Served:
    """A server that counts, a proxy before it, and a client with one connection."""

    def __init__(self, proxy: Proxy, session: aiohttp.ClientSession, told: list[str]) -> None:
        self.proxy = proxy
        self.told = told
        self.bodies: list[bytes] = []
        self._session = session
        self._arrived = asyncio.Condition()

    def put(self, **fault: Any) -> None:
        self.proxy.put(PROXY_FAULTS.validate_python([fault]))

    async def ask(self, path: str = "/v1/x", timeout_s: float = 5.0) -> str:
        """The answer's text. Raises what the client raises."""
        url = f"http://127.0.0.1:{self.proxy.port}{path}"
        async with (
            asyncio.timeout(timeout_s),
            self._session.post(url, data=BODY) as response,
        ):
            text = await response.text()
            return text if response.status == 200 else str(response.status)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if request.path == "/v1/line":
            return await self._echo(request)
        body = await request.read()
        async with self._arrived:
            self.bodies.append(body)
            self._arrived.notify_all()
        return web.Response(text=ANSWER)

    async def arrived(self, count: int) -> None:
        """So many requests have reached the server."""
        async with asyncio.timeout(5), self._arrived:
            await self._arrived.wait_for(lambda: len(self.bodies) >= count)

    async def _echo(self, request: web.Request) -> web.WebSocketResponse:
        line = web.WebSocketResponse()
        await line.prepare(request)
        async for frame in line:
            await line.send_bytes(frame.data)
        return line


@asynccontextmanager
async def serving(protocol: Any = "http") -> AsyncIterator[Served]:
    told: list[str] = []
    app = web.Application()
    runner = web.AppRunner(app)
    session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1))
    served: Served | None = None

    async def handle(request: web.Request) -> web.StreamResponse:
        assert served is not None
        return await served.handle(request)

    app.router.add_route("*", "/{path:.*}", handle)
    await runner.setup()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        await web.SockSite(runner, listener).start()
        proxy = Proxy(
            "x",
            ("127.0.0.1", port),
            SystemRuntime(),
            random.Random(1),
            protocol=protocol,
            told=lambda kind, facts: told.append(kind),
        )
        await proxy.start()
        try:
            served = Served(proxy, session, told)
            yield served
        finally:
            await session.close()
            await proxy.stop()
            await runner.cleanup()


@pytest.mark.parametrize("protocol", ["http", "tcp"])
async def test_without_faults_everything_passes(protocol: str) -> None:
    async with serving(protocol) as served:
        assert [await served.ask() for _ in range(3)] == [ANSWER] * 3
        assert served.bodies == [BODY] * 3
        assert served.told == []


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("refuse", aiohttp.ClientConnectorError),
        ("accept_then_close", aiohttp.ClientError),
        ("reset_peer", aiohttp.ClientOSError),
        ("reset_mid_request", aiohttp.ClientOSError),
        ("reset_mid_response", aiohttp.ClientError),
        ("limit_data", aiohttp.ClientError),
        ("late_request", aiohttp.ClientOSError),
        ("lost_response", aiohttp.ClientOSError),
        ("truncated_body", aiohttp.ClientPayloadError),
        ("wrong_length", aiohttp.ClientPayloadError),
        ("bad_gzip", aiohttp.ClientPayloadError),
        ("garbage_status_line", aiohttp.ClientResponseError),
    ],
)
async def test_a_fault_is_felt_by_the_client_and_gone_when_it_is_taken_down(
    kind: str, error: type[Exception]
) -> None:
    async with serving() as served:
        served.put(kind=kind, **({"after_bytes": 100} if kind == "limit_data" else {}))
        with pytest.raises(error):
            await served.ask()
        served.proxy.put([])

        assert await until_answered(served) == ANSWER
        assert kind in served.told


async def until_answered(served: Served) -> str:
    """A port that was shut opens a moment after its fault was taken down."""
    while True:
        try:
            return await served.ask()
        except aiohttp.ClientConnectorError:
            await asyncio.sleep(0)


@pytest.mark.parametrize(
    "kind", ["blackhole_syn", "backlog_full", "partition", "timeout", "half_open"]
)
async def test_a_fault_leaves_the_client_without_an_answer(kind: str) -> None:
    async with serving() as served:
        served.put(kind=kind)
        if kind in ("blackhole_syn", "backlog_full"):
            await told(served, kind)
            await asyncio.sleep(0.5)  # the kernel's queue is full when our own plugs hang in it
        with pytest.raises(TimeoutError):
            await served.ask(timeout_s=0.3)

        assert kind in served.told


async def told(served: Served, kind: str) -> None:
    async with asyncio.timeout(5):
        while kind not in served.told:  # noqa: ASYNC110 - told by a plain call
            await asyncio.sleep(0)


async def test_what_a_partition_held_back_arrives_when_it_is_over() -> None:
    async with serving() as served:
        served.put(kind="partition_one_way", way="down")
        asking = asyncio.ensure_future(served.ask())
        await served.arrived(1)
        assert not asking.done()

        served.proxy.put([])

        assert await asking == ANSWER


@pytest.mark.parametrize("kind", ["5xx_burst", "429"])
async def test_the_proxy_answers_instead_of_the_server(kind: str) -> None:
    async with serving() as served:
        served.put(kind=kind, times=1)

        assert await served.ask() == {"5xx_burst": "503", "429": "429"}[kind]
        assert await served.ask() == ANSWER
        assert len(served.bodies) == 1


async def test_a_request_is_delivered_twice() -> None:
    async with serving() as served:
        served.put(kind="dup_request", times=1)

        assert await served.ask() == ANSWER
        await served.arrived(2)
        assert served.bodies == [BODY, BODY]


async def test_a_late_request_is_delivered_after_its_caller_has_given_up() -> None:
    async with serving() as served:
        served.put(kind="late_request", after_s=0.1, times=1)
        with pytest.raises(aiohttp.ClientOSError):
            await served.ask()
        assert served.bodies == []

        await served.arrived(1)
        assert served.bodies == [BODY]


async def test_a_held_request_is_overtaken_by_another() -> None:
    async with serving() as one, aiohttp.ClientSession() as other:
        one.put(kind="reorder_requests", path="/v1/first", hold_s=60)
        first = asyncio.ensure_future(one.ask("/v1/first"))
        await told(one, "reorder_requests")

        async with other.post(f"http://127.0.0.1:{one.proxy.port}/second", data=b"2"):
            pass

        assert await first == ANSWER
        assert one.bodies == [b"2", BODY]


async def test_a_connection_is_reset_when_it_is_used_again() -> None:
    async with serving() as served:
        served.put(kind="keepalive_race", times=1)
        assert await served.ask() == ANSWER

        with pytest.raises(aiohttp.ClientOSError):
            await served.ask()
        assert len(served.bodies) == 1


async def test_a_fault_of_messages_strikes_only_the_path_that_it_names() -> None:
    async with serving() as served:
        served.put(kind="5xx_burst", path="/v1/attempts/*/finish")

        assert await served.ask("/v1/claims") == ANSWER
        assert await served.ask("/v1/attempts/7/finish") == "503"


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "latency", "latency_s": 0.05},
        {"kind": "jitter", "latency_s": 0.05, "jitter_s": 0.02},
        {"kind": "bandwidth", "bytes_per_s": 50_000},
        {"kind": "slicer", "max_bytes": 7},
        {"kind": "slow_reader", "way": "down", "bytes_per_s": 5_000},
        {"kind": "slow_loris_body", "way": "up", "bytes_per_s": 30_000},
    ],
)
async def test_a_slow_network_changes_no_byte(fault: dict[str, Any]) -> None:
    loop = asyncio.get_running_loop()
    async with serving() as served:
        served.put(**fault)
        began = loop.time()

        assert await served.ask() == ANSWER
        assert served.bodies == [BODY]
        assert fault["kind"] in served.told
        if fault["kind"] != "slicer":
            assert loop.time() - began >= 0.05


async def test_the_end_of_a_stream_arrives_late() -> None:
    loop = asyncio.get_running_loop()
    async with serving("tcp") as served:
        served.put(kind="slow_close", delay_s=0.2)
        reader, writer = await asyncio.open_connection("127.0.0.1", served.proxy.port)
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        answer = await reader.readuntil(ANSWER.encode())
        began = loop.time()

        assert await reader.read() == b""
        assert loop.time() - began >= 0.15
        assert answer.startswith(b"HTTP/1.1 200")
        writer.close()


async def test_corruption_flips_one_bit_of_a_piece() -> None:
    async with serving("tcp") as served:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.proxy.port)
        head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3000\r\n\r\n"
        writer.write(head + BODY[:-1_000])
        await writer.drain()
        served.put(kind="corrupt", way="up")
        writer.write(BODY[-1_000:])

        await reader.readuntil(ANSWER.encode())
        [body] = served.bodies
        wrong = [a ^ b for a, b in zip(body, BODY, strict=True) if a != b]
        assert len(wrong) == served.told.count("corrupt") >= 1
        assert all(bits.bit_count() == 1 for bits in wrong)
        writer.close()


async def test_frames_after_an_upgrade_are_messages_of_their_own() -> None:
    async with serving() as served, aiohttp.ClientSession() as session:
        url = f"http://127.0.0.1:{served.proxy.port}/v1/line"
        async with session.ws_connect(url) as line:
            served.put(kind="dup_request", path="/v1/line", times=1)
            await line.send_bytes(b"twice")
            assert [await line.receive_bytes(timeout=5) for _ in range(2)] == [b"twice"] * 2

            served.put(kind="lost_response", times=1)
            await line.send_bytes(b"lost")
            await told(served, "lost_response")

            served.put(kind="late_request", times=1, after_s=0.1)
            await line.send_bytes(b"late")
            await line.send_bytes(b"on time")
            assert [await line.receive_bytes(timeout=5) for _ in range(2)] == [b"on time", b"late"]


async def test_one_seed_chooses_the_same_victims() -> None:
    async def victims(seed: int) -> list[str]:
        async with serving() as served:
            served.proxy.board.rng.seed(seed)
            served.put(kind="5xx_burst", probability=0.5)
            return [await served.ask() for _ in range(20)]

    assert await victims(7) == await victims(7)
    assert len(set(await victims(7))) == 2


def test_a_door_is_shut_once_whatever_else_comes_and_goes() -> None:
    told: list[str] = []
    board = Board(random.Random(1), lambda kind, _: told.append(kind))

    board.add([Refuse(probability=1e-9)])
    was_shut = board.lasts("refuse")
    shut = board.add([Refuse(times=1)])
    lasts = [board.lasts("refuse")]
    board.add([BlackholeSyn()])
    lasts.append(board.lasts("refuse"))
    board.remove(shut)
    lasts.append(board.lasts("refuse"))

    assert (was_shut, lasts, told) == (False, [True, True, False], ["refuse"])


async def test_a_stopped_proxy_leaves_neither_listener_nor_connection() -> None:
    async with serving() as served:
        served.put(kind="half_open")
        with pytest.raises(TimeoutError):
            await served.ask(timeout_s=0.1)
        await served.proxy.stop()

        with pytest.raises(aiohttp.ClientConnectorError):
            await served.ask()
