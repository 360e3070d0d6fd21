"""What every service does with bad requests, errors and addresses."""

import asyncio
import io
import socket
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web
from structlog.testing import capture_logs

from shared import errors
from shared.http.server import (
    BODY_BYTES,
    Server,
    body_pieces,
    new_app,
    read_message,
    reply,
    stream,
)
from shared.protocol.gateway import LeaseBeat
from tests.support.http import Caller, serving

GOOD = b'{"attempt_id": "a", "fence": 1, "phase": "executing"}'


class Trouble:
    """What `/trouble` and `/readyz` raise."""

    error: Exception | None = None


@pytest.fixture
def trouble() -> Trouble:
    return Trouble()


@pytest.fixture
async def call(trouble: Trouble) -> AsyncIterator[Caller]:
    async def fail(_: web.Request) -> web.Response:
        if trouble.error is not None:
            raise trouble.error
        return web.Response()

    async def ready() -> None:
        if trouble.error is not None:
            raise trouble.error

    async def echo(request: web.Request) -> web.Response:
        return reply(await read_message(request, LeaseBeat))

    async def count(request: web.Request) -> web.Response:
        pieces = [len(piece) async for piece in body_pieces(request, 200_000)]
        return web.json_response(pieces)

    async def half(request: web.Request) -> web.StreamResponse:
        async def pieces() -> AsyncIterator[bytes]:
            if request.query.get("at") == "start":
                raise errors.UnknownArtifact(path="x")
            yield b"half"
            raise errors.StoreFailed()

        return await stream(request, pieces())

    app = new_app(ready)
    app.router.add_get("/trouble", fail)
    app.router.add_post("/echo", echo)
    app.router.add_post("/count", count)
    app.router.add_get("/half", half)
    async with serving(app) as caller:
        yield caller


async def test_a_good_message_goes_through(call: Caller) -> None:
    answer = await call("POST", "/echo", data=GOOD)

    assert answer.status == 200
    assert answer.json == {"attempt_id": "a", "fence": 1, "phase": "executing"}


async def test_an_error_travels_with_its_facts(call: Caller, trouble: Trouble) -> None:
    trouble.error = errors.StaleFence(state="lost", fence=3)

    answer = await call("GET", "/trouble")

    assert answer.status == 409
    assert answer.headers["Drawbar-Attempt-State"] == "lost"
    assert answer.json == {
        "code": "stale_fence",
        "message": "The attempt no longer owns the job."
        " Stop the process; the result was kept as evidence.",
        "facts": {"state": "lost", "fence": 3},
        "retryable": False,
    }


async def test_a_retryable_error_says_when_to_come_back(call: Caller, trouble: Trouble) -> None:
    trouble.error = errors.Overloaded(retry_after_s=7)

    answer = await call("GET", "/trouble")

    assert answer.status == 503
    assert answer.headers["Retry-After"] == "7"
    assert answer.json["retryable"] is True


async def test_a_crash_is_logged_and_not_shown(call: Caller, trouble: Trouble) -> None:
    trouble.error = ZeroDivisionError("secret detail")

    with capture_logs() as logs:
        answer = await call("GET", "/trouble")

    assert answer.status == 500
    assert answer.json["code"] == "internal"
    assert b"secret" not in answer.body
    assert [entry["event"] for entry in logs] == ["request.crashed"]


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [("GET", "/nowhere", 404, "not_found"), ("DELETE", "/echo", 405, "method_not_allowed")],
)
async def test_unknown_paths_and_methods_get_an_error_body(
    call: Caller, method: str, path: str, status: int, code: str
) -> None:
    answer = await call(method, path)

    assert answer.status == status
    assert answer.json["code"] == code
    assert path in answer.json["message"]


async def test_an_unknown_protocol_version_is_told_what_is_spoken(call: Caller) -> None:
    answer = await call("POST", "/echo", data=GOOD, headers={"Drawbar-Protocol": "2"})

    assert answer.status == 406
    assert answer.json["facts"] == {"supported": ["1"]}


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "attempt_id: Field required"),
        (b"{\n  broken", "line 2 column 3"),
        (b"[" * 50_000, "recursion limit exceeded"),
        (b'{"a":' * 50_000, "recursion limit exceeded"),
        (b"[]", "object"),
        (b"null", "object"),
        (b'{"attempt_id": "\\ud800"}', "line 1 column"),
        (b'{"attempt_id": "\xff"}', "unicode"),
        (b'{"attempt_id": "a", "fence": "x", "phase": 3}', "fence: "),
        (b'{"attempt_id": "a", "fence": 1e400, "phase": "x"}', "fence: "),
        (b'{"attempt_id": "a", "fence": 99999999999999999999, "phase": "x"}', "fence: "),
        (b'{"attempt_id": "a", "fence": NaN, "phase": "x"}', "fence: "),
        (GOOD[:-1], "EOF"),
        (GOOD + b"}", "trailing"),
    ],
)
async def test_a_bad_message_is_told_what_is_wrong(call: Caller, body: bytes, said: str) -> None:
    answer = await call("POST", "/echo", data=body)

    assert answer.status == 400
    assert answer.json["code"] == "bad_request"
    assert said in answer.json["message"]
    assert len(answer.body) < 5_000


async def test_a_mistake_is_told_without_its_value(call: Caller) -> None:
    answer = await call("POST", "/echo", data=b'{"fence": "hunter2"}')

    assert [m["field"] for m in answer.json["facts"]["mistakes"]] == [
        "attempt_id",
        "fence",
        "phase",
    ]
    assert b"hunter2" not in answer.body


async def test_a_message_over_the_limit_is_refused_before_it_is_read(call: Caller) -> None:
    answer = await call("POST", "/echo", data=io.BytesIO(b" " * (BODY_BYTES + 1)))

    assert answer.status == 413
    assert answer.json["facts"] == {"limit_bytes": BODY_BYTES}


async def test_a_message_of_unknown_length_is_cut_at_the_limit(call: Caller) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(BODY_BYTES // 65_536 + 2):
            yield b" " * 65_536

    assert (await call("POST", "/echo", data=endless())).status == 413


@pytest.mark.parametrize(("size", "status"), [(199_999, 400), (200_000, 200), (200_001, 400)])
async def test_a_streamed_body_has_the_size_that_was_announced(
    call: Caller, size: int, status: int
) -> None:
    answer = await call("POST", "/count", data=b"x" * size)

    assert answer.status == status
    if status == 200:
        assert max(answer.json) <= 65_536


async def test_an_error_before_the_first_byte_is_an_ordinary_error(call: Caller) -> None:
    answer = await call("GET", "/half?at=start")

    assert answer.status == 404
    assert answer.json["code"] == "unknown_artifact"


async def test_half_a_stream_is_never_taken_for_the_whole(call: Caller) -> None:
    with pytest.raises(aiohttp.ClientError), capture_logs():
        await call("GET", "/half")


async def test_health_and_readiness_differ(call: Caller, trouble: Trouble) -> None:
    assert (await call("GET", "/readyz")).status == 200

    trouble.error = errors.StoreFailed()

    assert (await call("GET", "/healthz")).status == 200
    assert (await call("GET", "/readyz")).status == 503


async def test_huge_headers_do_not_stop_the_service(call: Caller) -> None:
    answer = await call("GET", "/healthz", headers={"X": "x" * 100_000})
    after = await call("GET", "/healthz")

    assert answer.status == 400
    assert after.status == 200


@pytest.mark.parametrize(
    "garbage", [b"\x00\xff\r\n\r\n", b"GET /\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n", b"\r\n" * 999]
)
async def test_bytes_that_are_no_http_stop_nothing(call: Caller, garbage: bytes) -> None:
    host, port = call.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(garbage)
    writer.write_eof()
    await reader.read()
    writer.close()
    await writer.wait_closed()

    assert (await call("GET", "/healthz")).status == 200


CHUNKED = b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize("chunks", [b"zz\r\n", b"5\r\nab", b"2\r\nabXX", b"-1\r\n\r\n"])
async def test_a_broken_body_is_not_a_crash(call: Caller, chunks: bytes) -> None:
    host, port = call.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    with capture_logs() as logs:
        writer.write(CHUNKED)
        await writer.drain()
        writer.write(chunks)
        writer.write_eof()
        answer = await reader.read()
    writer.close()
    await writer.wait_closed()

    assert b" 500 " not in answer
    assert [entry for entry in logs if entry["event"] == "request.crashed"] == []
    assert (await call("GET", "/healthz")).status == 200


async def test_a_caller_that_falls_silent_holds_no_handler(
    call: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.http.server.SILENCE_S", 0.05)
    host, port = call.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{")
    async with asyncio.timeout(5):
        status = await reader.readline()
    writer.close()
    await writer.wait_closed()

    assert b" 503 " in status


async def test_a_port_in_use_is_one_clear_line() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        with pytest.raises(errors.Misconfigured) as refused:
            await Server(web.Application(), "127.0.0.1", port).start()

    assert str(refused.value) == f"cannot listen on 127.0.0.1:{port}: address already in use"


async def test_a_host_that_is_not_here_is_one_clear_line() -> None:
    with pytest.raises(errors.Misconfigured, match=r"^cannot listen on 192\.0\.2\.1:0: .+$"):
        await Server(web.Application(), "192.0.2.1", 0).start()


async def test_a_client_that_is_gone_cancels_its_long_poll() -> None:
    started, cancelled = asyncio.Event(), asyncio.Event()

    async def wait(_: web.Request) -> web.Response:
        started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise
        raise AssertionError

    async def ready() -> None: ...

    app = new_app(ready)
    app.router.add_get("/wait", wait)
    async with serving(app) as call, asyncio.timeout(5):
        asking = asyncio.ensure_future(call("GET", "/wait"))
        await started.wait()
        asking.cancel()

        await cancelled.wait()
