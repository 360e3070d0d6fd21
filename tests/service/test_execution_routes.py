"""The execution API over HTTP: worker, gateway, job service, each behind its own door."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass

import pytest

from gateway.app import build_app as build_gateway_app
from gateway.service import GatewayService
from jobstore.app import build_app as build_jobstore_app
from shared.errors import (
    BadRequest,
    Forbidden,
    ServiceError,
    StaleFence,
    Unauthenticated,
    Unavailable,
    UnknownBundle,
    UnknownVariable,
)
from shared.http.clients import ExecutionClient, JobsClient
from shared.http.server import Server
from shared.http.transport import Transport
from shared.ids import AttemptId, WorkerId
from shared.protocol import execution as e
from shared.renewal import AttemptTokens
from shared.tokens import Minter, Verifier
from tests.support.carriers import KEY
from tests.support.execution import MemoryExecution
from tests.support.fake_jobs import FakeJobs
from tests.support.runtime import ManualRuntime

SCOPE = e.Scope(attempt_id=AttemptId("a-1"), worker_id=WorkerId("ann"), fence=3)


@dataclass
class Way:
    """From a worker through a gateway to what answers."""

    execution: MemoryExecution
    client: ExecutionClient
    tokens: dict[AttemptId, str]
    minter: Minter
    door: Transport


@pytest.fixture
async def way() -> AsyncIterator[Way]:
    runtime = ManualRuntime()
    verifier = Verifier(KEY.public_key(), runtime)
    minter = Minter(KEY, runtime, verifier)
    execution = MemoryExecution()
    async with AsyncExitStack() as stack:

        async def serve(app: object) -> str:
            server = Server(app, "127.0.0.1", 0, linger_s=0.05)  # type: ignore[arg-type]
            await server.start()
            stack.push_async_callback(server.stop)
            return server.url

        def transport(url: str, token: str | None, service: str) -> Transport:
            opened = Transport(url, runtime, token=lambda: token, service=service)
            stack.push_async_callback(opened.close)
            return opened

        jobstore = await serve(build_jobstore_app(FakeJobs(runtime), verifier, execution))
        behind = transport(jobstore, minter.service("gateway"), "jobstore")
        gateway = await serve(
            build_gateway_app(
                GatewayService(JobsClient(behind), runtime),
                verifier,
                AttemptTokens(minter, runtime),
                ExecutionClient(behind),
                JobsClient(behind),
            )
        )
        tokens = {SCOPE.attempt_id: minter.execution(SCOPE.worker_id, SCOPE.attempt_id, 3)}
        door = transport(gateway, None, "gateway")
        yield Way(execution, ExecutionClient(door, tokens.get), tokens, minter, door)


async def test_every_verb_arrives_with_its_message(way: Way) -> None:
    ask, scope, kept = way.client, SCOPE, way.execution
    db = e.Connection(name="db", kind="x", password="hunter22", extra={"a": [1]})

    await ask.set_variable(scope, e.SetVariable(key="k", value="vö", is_secret=True))
    await ask.set_connection(scope, e.SetConnection(connection=db))
    await ask.set_xcom(scope, e.SetXCom(value=[1, {"a": None}]))
    kept.xcoms["other", "return_value"] = [1, 2, 3]

    assert await ask.get_variable(scope, e.GetVariable(key="k")) == e.Variable(
        key="k", value="vö", is_secret=True
    )
    assert await ask.list_variables(scope, e.ListVariables()) == e.Keys(keys=("k",))
    assert await ask.get_connection(scope, e.GetConnection(name="db")) == db
    assert await ask.list_connections(scope, e.ListConnections()) == e.Keys(keys=("db",))
    assert await ask.get_xcom(scope, e.GetXCom()) == e.XCom(value=[1, {"a": None}], is_found=True)
    assert await ask.list_xcoms(scope, e.ListXComs()) == e.Keys(keys=("return_value",))
    assert (await ask.count_xcom(scope, e.CountXCom(job="other"))).count == 3
    assert (await ask.get_xcom_item(scope, e.GetXComItem(job="other", index=-1))).value == 3
    found = await ask.get_xcom_slice(scope, e.GetXComSlice(job="other", start=0))
    assert found == e.XComSlice(values=(1, 2), next_start=2)
    await ask.delete_variable(scope, e.DeleteVariable(key="k"))
    await ask.delete_connection(scope, e.DeleteConnection(name="db"))
    await ask.delete_xcom(scope, e.DeleteXCom())
    assert (kept.variables, kept.connections) == ({}, {})
    assert kept.scopes == {scope}


async def test_files_arrive_whole(way: Way) -> None:
    way.execution.bundles["0" * 64] = b"x" * 200_000

    body = way.client.read_bundle(SCOPE, "0" * 64)

    assert b"".join([piece async for piece in body]) == b"x" * 200_000
    with pytest.raises(UnknownBundle):
        _ = [piece async for piece in way.client.read_bundle(SCOPE, "1" * 64)]


async def test_values_as_large_as_they_may_be_arrive(way: Way) -> None:
    value = "x" * (e.MAX_VALUE_BYTES - 2)

    await way.client.set_xcom(SCOPE, e.SetXCom(value=value))

    assert (await way.client.get_xcom(SCOPE, e.GetXCom())).value == value


@pytest.mark.parametrize(
    "error", [UnknownVariable("no such"), StaleFence(state="lost"), Unavailable(service="db")]
)
async def test_errors_are_raised_as_what_they_are(way: Way, error: ServiceError) -> None:
    way.execution.failures = [error]

    with pytest.raises(type(error)):
        await way.client.get_variable(SCOPE, e.GetVariable(key="k"))


async def test_a_token_opens_its_own_attempt_only(way: Way) -> None:
    other = SCOPE.model_copy(update={"attempt_id": AttemptId("a-2")})
    way.tokens[other.attempt_id] = way.tokens[SCOPE.attempt_id]

    with pytest.raises(Forbidden) as caught:
        await way.client.get_variable(other, e.GetVariable(key="k"))

    assert caught.value.facts["check"] == "attempt"


async def test_a_workload_token_opens_nothing_here(way: Way) -> None:
    way.tokens[SCOPE.attempt_id] = way.minter.workload(SCOPE.worker_id, SCOPE.attempt_id, 3)

    with pytest.raises(Forbidden) as caught:
        await way.client.get_variable(SCOPE, e.GetVariable(key="k"))

    assert caught.value.facts["check"] == "scope"


async def test_without_a_token_there_is_no_answer(way: Way) -> None:
    way.tokens.clear()

    with pytest.raises(Unauthenticated):
        await way.client.get_variable(SCOPE, e.GetVariable(key="k"))


async def test_what_is_no_request_is_refused(way: Way) -> None:
    path = f"/v1/attempts/{SCOPE.attempt_id}/ask"
    token = way.tokens[SCOPE.attempt_id]

    for body in (b'{"fence":3,"request":{"ask":"fly"}}', b'{"fence":3}', b"[]", b"\xff"):
        with pytest.raises(BadRequest):
            await way.door.request("POST", path, body, token=token)
