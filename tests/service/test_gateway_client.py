"""Calls that travel together: what becomes of them when their envelope is turned down."""

import asyncio

from aiohttp import web

from shared import errors
from shared.http.clients import GatewayClient
from shared.http.server import error_response
from shared.http.transport import Transport
from shared.ids import AttemptId, WorkerId
from shared.protocol import gateway as g
from tests.support.http import serving
from tests.support.runtime import ManualRuntime


def a_finish(attempt_id: str) -> g.FinishRequest:
    return g.FinishRequest(
        attempt_id=AttemptId(attempt_id),
        worker_id=WorkerId("ann"),
        fence=1,
        result=g.Result(outcome=g.Outcome.EXITED, exit_code=0),
        log=g.LogSummary(size_bytes=0, sha256="0" * 64, tail_offset=0, tail=b"", lost_bytes=0),
        artifacts=(),
        usage=g.Usage(wall_s=1, cpu_s=None, max_rss_bytes=None),
    )


async def test_calls_whose_envelope_is_too_large_go_alone() -> None:
    envelopes = 0

    async def batch(_: web.Request) -> web.Response:
        nonlocal envelopes
        envelopes += 1
        return error_response(errors.TooLarge())

    async def finish(request: web.Request) -> web.Response:
        attempt_id = request.match_info["attempt_id"]
        await asyncio.sleep(0.01)  # so that others gather meanwhile
        if attempt_id == "a4":
            return error_response(errors.StaleFence())
        receipt = g.Receipt(
            receipt_id=f"r-{attempt_id}",
            attempt_id=AttemptId(attempt_id),
            fence=1,
            job_status="success",
        )
        return web.Response(body=receipt.model_dump_json(), content_type="application/json")

    app = web.Application()
    app.router.add_post("/v1/batch", batch)
    app.router.add_post("/v1/attempts/{attempt_id}/finish", finish)
    async with serving(app) as caller:
        transport = Transport(caller.url, ManualRuntime(), token=lambda: "t")
        client = GatewayClient(transport)
        answers = await asyncio.gather(
            *(client.finish(a_finish(f"a{n}")) for n in range(6)), return_exceptions=True
        )
        await transport.close()

    assert envelopes == 1
    assert isinstance(answers.pop(4), errors.StaleFence)
    assert [one.receipt_id for one in answers if isinstance(one, g.Receipt)] == [
        "r-a0",
        "r-a1",
        "r-a2",
        "r-a3",
        "r-a5",
    ]
