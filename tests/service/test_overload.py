"""A service with too much to do, on real sockets: whom it turns away, whom it serves all the same,
and that nobody makes it hold much by being slow."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from hashlib import sha256

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from gateway.service import GatewayService
from jobstore.app import build_app
from shared.errors import Overloaded
from shared.http import admission, connections, server
from shared.http.admission import BURST_S, Admission
from shared.http.clients import JobsClient
from shared.http.server import body_pieces, new_app, read_bytes
from shared.http.transport import Transport
from shared.ids import ClaimId, WorkerId
from shared.protocol import gateway as g
from shared.protocol import jobs as j
from shared.protocol.pipeline import JobSpec, PipelineSpec
from shared.tokens import Minter, Role, Verifier
from tests.support.carriers import KEY
from tests.support.daemons import until
from tests.support.execution import MemoryExecution
from tests.support.fake_jobs import FakeJobs
from tests.support.http import Caller, serving
from tests.support.line import line_to
from tests.support.runtime import ManualRuntime

ANN = WorkerId("ann")
EMPTY_SHA256 = sha256().hexdigest()
MUCH = 32_000_000  # far more than the kernel keeps for a connection
LONG_S = 60.0  # a wait that is too long for everybody who may be turned away


@dataclass
class Busy:
    """A job service, whose store lets writes wait for as long as a test says."""

    call: Caller
    jobs: JobsClient  # as a gateway has it
    runtime: ManualRuntime
    person: str
    wait_s: float = 0.0
    now: float = 0.0

    async def overload(self) -> None:
        """Work waits, and has waited for longer than a burst may."""
        self.wait_s = LONG_S
        await self.call("GET", "/v1/runs", token=self.person)
        self.now += BURST_S
        with pytest.raises(Overloaded):
            await self.claim("c-0")

    async def claim(self, claim_id: str) -> g.ClaimReply:
        ask = g.ClaimRequest(
            claim_id=ClaimId(claim_id), worker_id=ANN, labels={}, free_slots=1, wait_s=0
        )
        return await self.jobs.claim(ask)


@pytest.fixture
async def busy() -> AsyncIterator[Busy]:
    runtime = ManualRuntime()
    verifier = Verifier(KEY.public_key(), runtime)
    minter = Minter(KEY, runtime, verifier)
    fake = FakeJobs(runtime)
    async with AsyncExitStack() as stack:
        door = Admission(lambda: it.wait_s, lambda: it.now)
        app = build_app(fake, verifier, MemoryExecution(), door)
        call = await stack.enter_async_context(serving(app))
        token = minter.service("gateway")
        transport = Transport(call.url, runtime, token=lambda: token, service="jobstore")
        stack.push_async_callback(transport.close)
        person = minter.client("ann", Role.ADMIN)
        it = Busy(call, JobsClient(transport), runtime, person)
        await fake.submit(
            j.SubmitRequest(
                idempotency_key="k",
                pipeline=PipelineSpec(name="p", jobs=(JobSpec(id="a", command="true"),)),
            )
        )
        yield it


# -- who is turned away ---------------------------------------------------------------------------


async def test_an_overloaded_service_turns_people_away_and_says_until_when(busy: Busy) -> None:
    await busy.overload()

    for method, path in (("GET", "/v1/runs"), ("POST", "/v1/runs"), ("GET", "/v1/runs/1/events")):
        answer = await busy.call(method, path, token=busy.person)

        assert answer.status == 503
        assert answer.json["code"] == "overloaded"
        assert answer.json["retryable"] is True
        assert int(answer.headers["Retry-After"]) >= 1


async def test_an_overloaded_service_still_takes_what_running_work_has_to_say(busy: Busy) -> None:
    claim = (await busy.claim("c-1")).claims[0]
    await busy.overload()
    held = {"attempt_id": claim.attempt_id, "worker_id": ANN, "fence": claim.fence}

    await busy.jobs.run(g.RunRequest(**held, host="h", pid=1))
    beat = g.LeaseBeat(attempt_id=claim.attempt_id, fence=claim.fence, phase="executing")
    heard = await busy.jobs.heartbeat(g.HeartbeatRequest(worker_id=ANN, leases=(beat,)))
    receipt = await busy.jobs.finish(
        g.FinishRequest(
            **held,
            result=g.Result(outcome=g.Outcome.EXITED, exit_code=0),
            log=g.LogSummary(
                size_bytes=0, sha256=EMPTY_SHA256, tail_offset=0, tail=b"", lost_bytes=0
            ),
            artifacts=(),
            usage=g.Usage(wall_s=0, cpu_s=0, max_rss_bytes=0),
        )
    )

    assert heard.leases[0].verdict is g.Verdict.RENEWED
    assert isinstance(receipt, g.Receipt)


async def test_an_overloaded_service_still_takes_a_job_back(busy: Busy) -> None:
    claim = (await busy.claim("c-1")).claims[0]
    await busy.overload()

    await busy.jobs.refuse(
        g.RefuseRequest(
            attempt_id=claim.attempt_id, worker_id=ANN, fence=claim.fence, reason="registry"
        )
    )

    busy.wait_s = 0.0
    assert (await busy.claim("c-2")).claims[0].job_id == claim.job_id


async def test_an_overloaded_service_says_that_it_lives(busy: Busy) -> None:
    await busy.overload()

    assert (await busy.call("GET", "/healthz")).status == 200
    assert (await busy.call("GET", "/readyz")).status == 200


async def test_claims_are_served_for_longer_than_people(busy: Busy) -> None:
    busy.wait_s = 0.3
    await busy.call("GET", "/v1/runs", token=busy.person)
    busy.now += BURST_S

    answer = await busy.call("GET", "/v1/runs", token=busy.person)
    claimed = await busy.claim("c-1")

    assert answer.status == 503
    assert len(claimed.claims) == 1


async def test_workers_hear_of_an_overloaded_job_service_when_to_ask_again(busy: Busy) -> None:
    await busy.overload()
    for _ in range(5):
        busy.now += 5
        await busy.call("GET", "/v1/runs", token=busy.person)

    ask = g.ClaimRequest(claim_id=ClaimId("c-9"), worker_id=ANN, labels={}, free_slots=1, wait_s=0)
    told = await GatewayService(busy.jobs, busy.runtime).claim(ask)

    assert told.reason == "jobstore_unavailable"
    assert told.retry_after_s > 1


async def test_everybody_is_served_once_work_waits_no_more(busy: Busy) -> None:
    await busy.overload()

    busy.wait_s = 0.0

    assert (await busy.call("GET", "/v1/runs", token=busy.person)).status == 200
    assert len((await busy.claim("c-1")).claims) == 1


# -- what is held for callers ---------------------------------------------------------------------


@pytest.fixture
async def holder() -> AsyncIterator[Caller]:
    """A service that reads bodies whole, and in pieces, and has much to say."""

    async def ready() -> None: ...

    async def whole(request: web.Request) -> web.Response:
        return web.Response(text=str(len(await read_bytes(request, 1_000_000))))

    async def pieces(request: web.Request) -> web.Response:
        return web.Response(
            text=str(sum([len(piece) async for piece in body_pieces(request, 1_000_000)]))
        )

    async def much(_: web.Request) -> web.Response:
        return web.Response(body=bytes(MUCH))

    app = new_app(ready)
    app.router.add_post("/whole", whole)
    app.router.add_post("/pieces", pieces)
    app.router.add_get("/much", much)
    async with serving(app) as call:
        yield call


async def opened(call: Caller, head: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, port = call.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(head)
    await writer.drain()
    return reader, writer


def post(path: str, announced: int) -> bytes:
    return f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {announced}\r\n\r\n".encode()


async def test_bodies_beyond_what_is_held_at_once_are_turned_away(
    holder: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admission, "PEOPLES_BYTES", 100_000)
    reader, writer = await opened(holder, post("/whole", 90_001) + bytes(90_000))
    async with asyncio.timeout(5):
        while (answer := await holder("POST", "/whole", data=bytes(20_000))).status == 200:
            pass  # what the other sends has not all come
    writer.write(b"x")
    first = await reader.readline()
    writer.close()
    await writer.wait_closed()

    assert answer.status == 503
    assert b" 200 " in first
    assert (await holder("POST", "/whole", data=bytes(90_000))).status == 200


async def test_a_body_over_its_own_limit_is_told_so_and_not_to_come_again(
    holder: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admission, "PEOPLES_BYTES", 1_000_000)  # as large a body as may come

    async def chunks(size: int) -> AsyncIterator[bytes]:
        yield bytes(size)

    assert (await holder("POST", "/whole", data=chunks(1_000_000))).status == 200
    assert (await holder("POST", "/whole", data=chunks(1_000_001))).status == 413


@pytest.mark.parametrize("path", ["/whole", "/pieces"])
async def test_a_body_that_trickles_is_given_up(
    holder: Caller, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.setattr(server, "SILENCE_S", 0.05)
    monkeypatch.setattr(server, "MIN_BYTES_PER_S", 1e9)
    reader, writer = await opened(holder, post(path, 1_000))
    async with asyncio.timeout(5):
        answering = asyncio.ensure_future(reader.readline())
        while not answering.done():
            writer.write(b"x")
            await asyncio.sleep(0.01)
    writer.close()

    assert b" 503 " in answering.result()


async def test_a_head_that_trickles_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "KEEPALIVE_S", 0.1)

    async def ready() -> None: ...

    async with serving(new_app(ready)) as call:
        reader, writer = await opened(call, b"GET /healthz HTTP/1.1\r\n")
        async with asyncio.timeout(5):
            ended = asyncio.ensure_future(reader.read())
            while not ended.done():
                writer.write(b"X: y\r\n")
                await asyncio.sleep(0.01)
        writer.close()

    assert ended.exception() is not None or ended.result() == b""


def deaf(call: Caller) -> socket.socket:
    """A caller that asks for much and reads nothing."""
    host, port = call.url.removeprefix("http://").split(":")
    ear = socket.create_connection((host, int(port)))
    ear.sendall(b"GET /much HTTP/1.1\r\nHost: x\r\n\r\n")
    ear.setblocking(False)
    return ear


async def heard(ear: socket.socket) -> int:
    """How many bytes came, until the other side broke off or was done."""
    got = 0
    try:
        while got < MUCH and (more := await asyncio.get_running_loop().sock_recv(ear, 65536)):
            got += len(more)
    except ConnectionError:
        pass
    return got


async def test_who_does_not_read_loses_the_connection(
    holder: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "SEND_S", 0.05)
    with capture_logs() as logs, deaf(holder) as ear:

        async def is_broken_off() -> bool:
            return [entry["event"] for entry in logs] == ["connection.unread"]

        await until(is_broken_off, "it was deaf for too long")

        async with asyncio.timeout(5):
            assert await heard(ear) < MUCH


async def test_what_slow_readers_hold_is_bounded_and_the_slowest_pays(
    holder: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "UNREAD_BYTES", 5 * MUCH // 4)
    with deaf(holder) as first:
        while (await holder("GET", "/healthz")).status != 200:
            pass
        with deaf(holder) as second:
            assert (await holder("GET", "/healthz")).status == 200
            async with asyncio.timeout(5):
                assert await heard(second) >= MUCH
                assert await heard(first) < MUCH


# -- connections ----------------------------------------------------------------------------------


async def test_one_connection_too_many_takes_the_place_of_the_most_idle(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connections, "MAX_CONNECTIONS", 2)

    async def ready() -> None: ...

    async with serving(new_app(ready)) as call, asyncio.timeout(5):
        idle, idle_writer = await opened(call, b"")
        late, late_writer = await opened(call, b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b" 200 " in await late.readline()

        assert (await call("GET", "/healthz")).status == 200

        assert await idle.read() == b""
        idle_writer.close()
        late_writer.close()


async def test_where_every_connection_is_busy_one_more_is_told_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connections, "MAX_CONNECTIONS", 1)
    hanging = asyncio.Event()

    async def ready() -> None:
        hanging.set()
        await asyncio.Event().wait()

    async with serving(new_app(ready)) as call, asyncio.timeout(5):
        _, busy_writer = await opened(call, b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n")
        await hanging.wait()

        answer = await call("GET", "/healthz")

        busy_writer.close()
    assert answer.status == 503
    assert answer.headers["Retry-After"] == "1"
    assert answer.json["code"] == "overloaded"


# -- lines ----------------------------------------------------------------------------------------


async def test_frames_beyond_what_is_held_at_once_are_turned_away(
    busy: Busy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admission, "BODIES_BYTES", 500)
    minter = Minter(KEY, busy.runtime)
    token = minter.service("gateway")
    async with line_to(busy.call, token) as line:
        beat = g.HeartbeatRequest(worker_id=ANN, leases=())

        said = await line.ask("heartbeat", b" " * 600, token)
        assert said.is_error
        assert said.json["code"] == "overloaded"

        assert not (await line.ask("heartbeat", beat, token)).is_error
