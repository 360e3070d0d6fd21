"""History over HTTP: the client hears what the service says, and only who may can prune."""

from collections.abc import AsyncIterator

import pytest

from jobstore.app import build_app
from shared.errors import BadRequest, UnknownRun
from shared.http.clients import JobsClient
from shared.http.transport import Transport
from shared.ids import JobId, RunId
from shared.protocol.history import MAX_KEEP_S, PruneRequest
from shared.tokens import Minter, Role, Verifier
from tests.support.carriers import KEY
from tests.support.http import Caller, serving
from tests.support.jobstore import Hands, a_job


@pytest.fixture
async def call(hands: Hands) -> AsyncIterator[Caller]:
    verifier = Verifier(KEY.public_key(), hands.runtime)
    async with serving(build_app(hands.service, verifier, hands.service.execution)) as made:
        yield made


@pytest.fixture
async def client(call: Caller, hands: Hands) -> AsyncIterator[JobsClient]:
    token = Minter(KEY, hands.runtime).client("ann", Role.ADMIN)
    transport = Transport(call.url, hands.runtime, token=lambda: token, service="jobstore")
    yield JobsClient(transport)
    await transport.close()


async def a_past_run(hands: Hands, exit_code: int = 0) -> RunId:
    run_id = await hands.submit(a_job("with space & more"), a_job("b"), name="a ä?")
    await hands.do(exit_code)
    await hands.do()
    return run_id


async def test_the_client_hears_what_the_service_says(hands: Hands, client: JobsClient) -> None:
    before, after = await a_past_run(hands), await a_past_run(hands, exit_code=3)
    job_id = JobId("with space & more")

    for asked in (job_id, None):
        assert await client.job_history("a ä?", asked, runs=9) == await hands.service.job_history(
            "a ä?", asked, runs=9
        )
    assert await client.diff(before, after) == await hands.service.diff(before, after)
    ask = PruneRequest(keep_s=0, name="a ä?", is_dry=True)
    assert await client.prune(ask) == await hands.service.prune(ask)


async def test_a_prune_over_http_takes_runs_away(hands: Hands, client: JobsClient) -> None:
    run_id = await a_past_run(hands)
    hands.runtime.step_wall_clock(10)

    gone = await client.prune(PruneRequest(keep_s=5))

    assert (gone.runs, gone.jobs) == (1, 2)
    with pytest.raises(UnknownRun):
        await client.show_run(run_id)


async def test_the_errors_of_the_service_come_back_as_they_are(client: JobsClient) -> None:
    with pytest.raises(UnknownRun):
        await client.diff(RunId(1), RunId(2))
    with pytest.raises(BadRequest, match="from 1 to"):
        await client.job_history("x", None, runs=5_000)


@pytest.mark.parametrize(
    ("method", "path", "body", "needed"),
    [
        ("GET", "/v1/history?pipeline=x", None, Role.VIEWER),
        ("GET", "/v1/runs/1/diff/2", None, Role.VIEWER),
        ("POST", "/v1/prune", b'{"keep_s":1}', Role.ADMIN),
    ],
)
async def test_each_verb_needs_its_role(
    call: Caller, hands: Hands, method: str, path: str, body: bytes | None, needed: Role
) -> None:
    minter = Minter(KEY, hands.runtime)

    without = await call(method, path, data=body)
    answers = {
        role: (await call(method, path, token=minter.client("ann", role), data=body)).status
        for role in Role
    }

    assert without.status == 401
    assert {role for role, status in answers.items() if status != 403} == {
        role for role in Role if role.includes(needed)
    }


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/v1/history", None),
        ("GET", "/v1/history?pipeline=", None),
        ("GET", "/v1/history?pipeline=x&runs=0", None),
        ("GET", "/v1/history?pipeline=x&runs=1001", None),
        ("GET", "/v1/history?pipeline=x&runs=%D9%A1", None),
        ("GET", "/v1/history?pipeline=x&runs=many", None),
        ("POST", "/v1/prune", b"{}"),
        ("POST", "/v1/prune", b'{"keep_s":-1}'),
        ("POST", "/v1/prune", b'{"keep_s":"NaN"}'),
        ("POST", "/v1/prune", b'{"keep_s":1e999}'),
        ("POST", "/v1/prune", b"nonsense"),
    ],
)
async def test_bad_input_gets_a_clear_answer(
    call: Caller, hands: Hands, method: str, path: str, body: bytes | None
) -> None:
    token = Minter(KEY, hands.runtime).client("ann", Role.ADMIN)

    answer = await call(method, path, token=token, data=body)

    assert (answer.status, answer.json["code"]) == (400, "bad_request")


async def test_a_prune_of_more_time_than_there_was_takes_nothing(
    hands: Hands, client: JobsClient
) -> None:
    await a_past_run(hands)

    assert (await client.prune(PruneRequest(keep_s=MAX_KEEP_S))).runs == 0
