"""The gateway before a job service that works, fails, hangs or is away; and its tokens."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass

import pytest

from gateway.app import build_app
from gateway.service import GatewayService
from jobstore.app import build_app as build_jobstore_app
from shared import errors
from shared.http.clients import JobsClient
from shared.http.server import Server
from shared.http.transport import Transport
from shared.ids import AttemptId, ClaimId, WorkerId
from shared.protocol import gateway as g
from shared.protocol import jobs as j
from shared.protocol.pipeline import JobSpec, PipelineSpec
from shared.renewal import AttemptTokens
from shared.tokens import EXECUTION_S, Minter, Role, Verifier
from tests.support.carriers import KEY
from tests.support.execution import MemoryExecution
from tests.support.fake_jobs import FakeJobs
from tests.support.http import Caller, Reply, serving
from tests.support.runtime import ManualRuntime

WORKER = WorkerId("worker-1")


class TroubledJobs(FakeJobs):
    """A job service that can be in trouble."""

    trouble: errors.ServiceError | None = None

    async def claim(self, ask: g.ClaimRequest) -> g.ClaimReply:
        if self.trouble is not None:
            raise self.trouble
        return await super().claim(ask)

    async def heartbeat(self, ask: g.HeartbeatRequest) -> g.HeartbeatReply:
        if self.trouble is not None:
            raise self.trouble
        return await super().heartbeat(ask)


def an_ask(*, wait_s: float = 0, claim_id: str = "c-1") -> g.ClaimRequest:
    return g.ClaimRequest(
        claim_id=ClaimId(claim_id), worker_id=WORKER, labels={}, free_slots=1, wait_s=wait_s
    )


async def submit_one(jobs: FakeJobs) -> None:
    pipeline = PipelineSpec(name="p", jobs=(JobSpec(id="a", command="true"),))
    await jobs.submit(j.SubmitRequest(idempotency_key="k", pipeline=pipeline))


# -- flow 2: no job -----------------------------------------------------------------------------


async def test_when_there_is_no_job_the_worker_is_told_so() -> None:
    runtime = ManualRuntime()

    reply = await GatewayService(FakeJobs(runtime), runtime).claim(an_ask())

    assert reply == g.ClaimReply(claims=(), reason="no_job", retry_after_s=0)


# -- flow 3: the job service fails or is away -----------------------------------------------------


@pytest.mark.parametrize(
    "trouble",
    [
        errors.Unavailable(service="jobstore"),
        errors.Overloaded(),
        errors.StoreFailed(),
        errors.ServiceError("something broke inside"),
        errors.Unauthenticated(check="signature"),  # the gateway's own token
        errors.Forbidden(check="audience"),
    ],
    ids=lambda trouble: trouble.code,
)
async def test_a_job_service_in_trouble_is_no_job_with_the_reason(
    trouble: errors.ServiceError,
) -> None:
    runtime = ManualRuntime()
    jobs = TroubledJobs(runtime)
    jobs.trouble = trouble

    reply = await GatewayService(jobs, runtime).claim(an_ask())

    assert reply == g.ClaimReply(claims=(), reason="jobstore_unavailable", retry_after_s=1)


async def test_a_job_service_that_hangs_is_no_job_as_well(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Hanging(FakeJobs):
        async def claim(self, ask: g.ClaimRequest) -> g.ClaimReply:
            await asyncio.Event().wait()
            raise AssertionError("nobody sets that event")

    monkeypatch.setattr("gateway.service.CALL_S", 0.01)
    runtime = ManualRuntime()

    reply = await GatewayService(Hanging(runtime), runtime).claim(an_ask())

    assert reply.reason == "jobstore_unavailable"


async def test_what_is_wrong_with_the_claim_itself_is_told_to_the_worker() -> None:
    runtime = ManualRuntime()
    jobs = TroubledJobs(runtime)
    jobs.trouble = errors.BadRequest("labels: too many")

    with pytest.raises(errors.BadRequest, match="labels"):
        await GatewayService(jobs, runtime).claim(an_ask())


async def test_a_worker_is_never_told_that_the_gateways_token_is_bad() -> None:
    runtime = ManualRuntime()
    jobs = TroubledJobs(runtime)
    jobs.trouble = errors.Unauthenticated("the token expired", check="expired")

    with pytest.raises(errors.Unavailable, match="this gateway's token"):
        await GatewayService(jobs, runtime).heartbeat(
            g.HeartbeatRequest(worker_id=WORKER, leases=())
        )


async def test_the_other_verbs_tell_the_worker_to_try_again() -> None:
    runtime = ManualRuntime()
    jobs = TroubledJobs(runtime)
    jobs.trouble = errors.Unavailable(service="jobstore")

    with pytest.raises(errors.Unavailable) as raised:
        await GatewayService(jobs, runtime).heartbeat(
            g.HeartbeatRequest(worker_id=WORKER, leases=())
        )

    assert raised.value.retryable


# -- over real sockets ----------------------------------------------------------------------------


@dataclass
class World:
    """Worker → gateway → job service, each behind a socket of its own."""

    runtime: ManualRuntime
    minter: Minter
    jobs: TroubledJobs
    jobstore: Server
    call: Caller

    @property
    def worker_token(self) -> str:
        return self.minter.worker(WORKER)

    async def claim(self, claim_id: str = "c-1", wait_s: float = 0) -> Reply:
        body = {"claim_id": claim_id, "labels": {}, "free_slots": 1, "wait_s": wait_s}
        return await self.call("POST", "/v1/claims", token=self.worker_token, data=json.dumps(body))

    async def run(self, attempt_id: str, token: str) -> Reply:
        body = json.dumps({"fence": 1, "host": "h", "pid": 1})
        return await self.call("POST", f"/v1/attempts/{attempt_id}/run", token=token, data=body)

    async def beat(self, attempt_id: str) -> Reply:
        beats = [{"attempt_id": attempt_id, "fence": 1, "phase": "executing"}]
        return await self.call(
            "POST", "/v1/heartbeats", token=self.worker_token, data=json.dumps({"leases": beats})
        )


@pytest.fixture
async def world() -> AsyncIterator[World]:
    runtime = ManualRuntime()
    verifier = Verifier(KEY.public_key(), runtime)
    minter = Minter(KEY, runtime, verifier)
    jobs = TroubledJobs(runtime)
    jobstore = Server(
        build_jobstore_app(jobs, verifier, MemoryExecution()), "127.0.0.1", 0, linger_s=0.05
    )
    async with AsyncExitStack() as stack:
        await jobstore.start()
        stack.push_async_callback(jobstore.stop)
        transport = Transport(
            jobstore.url, runtime, token=lambda: minter.service("gateway"), service="jobstore"
        )
        stack.push_async_callback(transport.close)
        service = GatewayService(JobsClient(transport), runtime)
        app = build_app(service, verifier, AttemptTokens(minter, runtime), MemoryExecution(), jobs)
        call = await stack.enter_async_context(serving(app))
        yield World(runtime, minter, jobs, jobstore, call)


async def test_no_job_is_an_empty_answer_with_its_reason(world: World) -> None:
    reply = await world.claim()

    assert (reply.status, reply.body) == (204, b"")
    assert reply.headers["Drawbar-Reason"] == "no_job"
    assert "Retry-After" not in reply.headers


async def test_an_outage_of_the_job_service_is_visible_and_passes(world: World) -> None:
    await submit_one(world.jobs)
    world.jobs.trouble = errors.StoreFailed("jobstore store failed")
    during = await world.claim()
    world.jobs.trouble = None
    after = await world.claim()

    assert during.status == 204
    assert during.headers["Drawbar-Reason"] == "jobstore_unavailable"
    assert during.headers["Retry-After"] == "1"
    assert (after.status, len(after.json["claims"])) == (200, 1)


async def test_a_job_service_that_is_gone_is_no_job_and_the_gateway_stays_ready(
    world: World,
) -> None:
    await world.jobstore.stop()

    reply = await world.claim()

    assert reply.status == 204
    assert reply.headers["Drawbar-Reason"] == "jobstore_unavailable"
    assert (await world.call("GET", "/readyz")).status == 200


async def test_a_long_poll_is_woken_by_a_job(world: World) -> None:
    polling = asyncio.ensure_future(world.claim(wait_s=30))
    await world.jobs.waiting.wait()

    await submit_one(world.jobs)
    reply = await polling

    assert len(reply.json["claims"]) == 1


async def test_when_the_worker_goes_away_its_long_poll_ends_at_the_job_service(
    world: World,
) -> None:
    polling = asyncio.ensure_future(world.claim(wait_s=30))
    await world.jobs.waiting.wait()

    polling.cancel()
    async with asyncio.timeout(5):
        await world.jobs.gone.wait()


async def test_a_claim_is_made_for_the_worker_that_the_token_names(world: World) -> None:
    body = json.dumps(
        {"claim_id": "c", "worker_id": "another", "labels": {}, "free_slots": 1, "wait_s": 0}
    )

    await world.call(
        "POST",
        "/v1/claims",
        token=world.worker_token,
        data=body,
        headers={"Drawbar-Worker": "another"},
    )

    assert world.jobs.claimed_by == [WORKER]


# -- tokens -------------------------------------------------------------------------------------


async def test_a_claim_brings_a_token_for_run_and_run_one_for_the_rest(world: World) -> None:
    await submit_one(world.jobs)

    claim = (await world.claim()).json["claims"][0]
    started = await world.run(claim["attempt_id"], claim["token"])

    path = f"/v1/attempts/{claim['attempt_id']}/heartbeat"
    beat = '{"fence": 1, "phase": "executing"}'
    opened = await world.call("POST", path, token=started.json["token"], data=beat)
    closed = await world.call("POST", path, token=claim["token"], data=beat)
    assert (started.status, opened.status) == (200, 200)
    assert (closed.status, closed.json["facts"]["check"]) == (403, "scope")


async def test_an_attempts_token_opens_no_other_attempt(world: World) -> None:
    await submit_one(world.jobs)
    claim = (await world.claim()).json["claims"][0]
    other = world.minter.workload(WORKER, AttemptId("another"), 1)

    reply = await world.run(claim["attempt_id"], other)

    assert (reply.status, reply.json["facts"]["check"]) == (403, "attempt")


async def test_only_a_worker_claims(world: World) -> None:
    body = json.dumps({"claim_id": "c", "labels": {}, "free_slots": 1, "wait_s": 0})
    tokens = [
        None,
        world.minter.client("ann", Role.ADMIN),
        world.minter.service("gateway"),
        world.minter.workload(WORKER, AttemptId("a"), 1),
        world.minter.execution(WORKER, AttemptId("a"), 1),
    ]

    answers = [
        (await world.call("POST", "/v1/claims", token=token, data=body)).status for token in tokens
    ]

    assert answers == [401, 403, 403, 403, 403]
    assert world.jobs.claimed_by == []


async def test_a_heartbeat_brings_a_fresh_token_only_when_the_last_is_old(world: World) -> None:
    await submit_one(world.jobs)
    claim = (await world.claim()).json["claims"][0]
    started = await world.run(claim["attempt_id"], claim["token"])

    young = (await world.beat(claim["attempt_id"])).json["leases"][0]
    await world.runtime.advance(EXECUTION_S / 2)
    old = (await world.beat(claim["attempt_id"])).json["leases"][0]
    fresh = (await world.beat(claim["attempt_id"])).json["leases"][0]

    assert (young["token"], fresh["token"]) == (None, None)
    assert old["token"] not in (None, started.json["token"])


async def test_who_lost_the_lease_gets_no_token(world: World) -> None:
    lost = (await world.beat("never-heard-of")).json["leases"][0]

    assert (lost["verdict"], lost["token"]) == ("gone", None)
