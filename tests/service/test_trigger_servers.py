"""HTTP conditions against real sockets, and what reaches waiting jobs from outside over HTTP."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import JsonValue

from jobstore.app import build_app
from jobstore.triggers.kinds import Http
from jobstore.triggers.ports import MayNot, NotYet, Outside
from jobstore.triggers.web import MAX_BODY_BYTES, Servers
from shared.http.server import Server
from shared.protocol import execution as e
from shared.protocol import gateway as g
from shared.runtime import SystemRuntime
from shared.tokens import Minter, Role, Verifier
from tests.support.deferred import a_task, a_wait, goes_on, resumed
from tests.support.jobstore import ANN, Hands, hands_on
from tests.support.runtime import ManualRuntime


async def _status(request: web.Request) -> web.Response:
    return web.json_response(
        {"state": "done", "jobs": [{"n": 1}, {"n": 2}], "who": request.headers.get("Authorization")}
    )


async def _moved(_: web.Request) -> web.Response:
    raise web.HTTPFound("/status")


async def _long(_: web.Request) -> web.Response:
    return web.Response(body=b"x" * (MAX_BODY_BYTES + 1))


async def _busy(_: web.Request) -> web.Response:
    return web.Response(status=503, text="come back later")


@pytest.fixture
async def url() -> AsyncIterator[str]:
    app = web.Application()
    app.add_routes(
        [
            web.get("/status", _status),
            web.get("/moved", _moved),
            web.get("/long", _long),
            web.get("/busy", _busy),
        ]
    )
    server = Server(app, "127.0.0.1", 0, linger_s=0.05)
    await server.start()
    yield server.url
    await server.stop()


@pytest.fixture
async def servers() -> AsyncIterator[Servers]:
    opened = Servers((), SystemRuntime(), is_own=True)
    yield opened
    await opened.close()


def wanted(url: str, **params: Any) -> Http:
    return Http.model_validate({"kind": "http", "url": url, **params})


@pytest.mark.parametrize(
    ("path", "params", "event"),
    [
        ("/status", {}, {"status": 200}),
        ("/status", {"method": "HEAD"}, {"status": 200}),
        ("/busy", {"status": [503]}, {"status": 503}),
        ("/busy", {"status": [503], "matches": "come .* later"}, {"status": 503}),
        ("/status", {"select": "$.state", "equals": "done"}, {"status": 200, "selected": "done"}),
        ("/status", {"select": "jobs[1].n", "matches": "^[2-9]"}, {"status": 200, "selected": 2}),
    ],
)
async def test_an_answer_that_is_as_wanted_is_the_event(
    servers: Servers, url: str, path: str, params: dict[str, Any], event: JsonValue
) -> None:
    assert await servers.look(wanted(url + path, **params), None) == event


@pytest.mark.parametrize(
    ("path", "params", "says"),
    [
        ("/busy", {}, "it answered 503"),
        ("/moved", {}, "it answered 302"),
        ("/long", {}, "the answer has more than"),
        ("/status", {"select": "$.stage"}, "it answered 200, but the body has no"),
        ("/status", {"select": "state", "equals": "failed"}, "state is another value"),
        ("/status", {"matches": "nowhere"}, "the body does not match"),
        ("/busy", {"status": [503], "select": "a"}, "the body is not JSON"),
    ],
)
async def test_any_other_answer_is_not_yet_one(
    servers: Servers, url: str, path: str, params: dict[str, Any], says: str
) -> None:
    with pytest.raises(NotYet, match=says.replace("$", r"\$")):
        await servers.look(wanted(url + path, **params), None)


async def test_a_connection_of_drawbar_logs_in(servers: Servers, url: str) -> None:
    by_token = e.Connection(name="ci", kind="http", extra={"token": "t0k"})
    by_name = e.Connection(name="ci", kind="http", user="ann", password="pw")

    found = [
        await servers.look(wanted(f"{url}/status", select="who"), login)
        for login in (by_token, by_name)
    ]

    assert [one["selected"] for one in found if isinstance(one, dict)] == [
        "Bearer t0k",
        "Basic YW5uOnB3",
    ]


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "[::1]",
        "169.254.169.254",
        "2130706433",
        "0.0.0.0",
        "[::ffff:127.0.0.1]",
    ],
)
async def test_what_is_on_this_machine_is_not_asked_unless_it_was_named(
    url: str, host: str
) -> None:
    servers = Servers((), SystemRuntime())
    port = url.rpartition(":")[2]
    try:
        with pytest.raises(MayNot, match=r"own machine or link|is no name"):
            await servers.look(wanted(f"http://{host}:{port}/status"), None)
    finally:
        await servers.close()


async def test_named_servers_are_asked_and_no_others(url: str) -> None:
    servers = Servers(("localhost",), SystemRuntime())
    port = url.rpartition(":")[2]
    try:
        found = await servers.look(wanted(f"http://localhost:{port}/status"), None)
        with pytest.raises(MayNot, match=r"127\.0\.0\.1 is not among the hosts"):
            await servers.look(wanted(f"{url}/status"), None)
    finally:
        await servers.close()

    assert found == {"status": 200}


# -- from outside ------------------------------------------------------------------------------

KEY = Ed25519PrivateKey.from_private_bytes(b"test" * 8)


@asynccontextmanager
async def doorstep(
    folder: Path,
) -> AsyncIterator[tuple[Hands, Minter, str, aiohttp.ClientSession]]:
    """A job service that others reach: it, its tokens, its URL, and somebody who calls."""
    runtime, outside = ManualRuntime(), Outside()
    verifier = Verifier(KEY.public_key(), runtime)
    async with AsyncExitStack() as stack:
        hands: Hands = await stack.enter_async_context(hands_on(folder, runtime, outside=outside))
        service = hands.service
        server = Server(
            build_app(service, verifier, service.execution), "127.0.0.1", 0, linger_s=0.05
        )
        await server.start()
        stack.push_async_callback(server.stop)
        outside.doorstep_at(server.url)
        session = await stack.enter_async_context(aiohttp.ClientSession())
        yield hands, Minter(KEY, runtime, verifier), server.url, session


async def test_callbacks_need_no_token_and_questions_need_a_role(tmp_path: Path) -> None:
    async with doorstep(tmp_path) as (hands, minter, base, session):
        run_id, url = await _one_that_asked_for_a_callback(hands)

        async def post(where: str, body: bytes, token: str | None = None) -> int:
            headers = {} if token is None else {"Authorization": f"Bearer {token}"}
            async with session.post(where, data=body, headers=headers) as response:
                return response.status

        answer = f"{base}/v1/runs/{run_id}/jobs/a/answer"
        assert await post(url, b"x" * 65_537) == 413
        assert await post(url + "x", b"1") == 404
        assert await post(url, b'{"n": 1}') == 200
        assert await post(url, b'{"n": 1}') == 200
        assert await post(url, b"not JSON") == 409
        assert await post(answer, b"{}") == 401
        assert await post(answer, b"{}", minter.client("v", Role.VIEWER)) == 403
        assert await post(answer, b"{}", minter.client("o", Role.OPERATOR)) == 409
        async with session.get(f"{base}/v1/questions") as response:
            assert response.status == 401


@pytest.mark.parametrize(
    "body",
    [b'{"n": NaN}', b"1e999", rb'"\ud800"', b"[" * 240 + b"]" * 240],
    ids=["NaN", "infinity", "half a character", "lists in lists"],
)
async def test_a_message_that_no_reader_would_take_as_json_is_text(
    tmp_path: Path, body: bytes
) -> None:
    async with doorstep(tmp_path) as (hands, _, _, session):
        _, url = await _one_that_asked_for_a_callback(hands)

        async with session.post(url, data=body) as response:
            status = response.status

        assert status == 200
        assert resumed(await goes_on(hands)).event == body.decode()


async def _one_that_asked_for_a_callback(hands: Hands) -> tuple[int, str]:
    run_id = await hands.submit(a_task("a"))
    claim = await hands.start()
    scope = e.Scope(attempt_id=claim.attempt_id, worker_id=ANN, fence=claim.fence)
    made = await hands.service.execution.new_callback(scope, e.NewCallback())
    wait = a_wait("callback", callback_id=made.callback_id)
    await hands.finish(claim, outcome=g.Outcome.TASK_ENDED, task=wait)
    return run_id, made.url
