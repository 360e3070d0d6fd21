"""The worker's verbs on a line: the same answers, tokens and refusals as for requests."""

import asyncio
from hashlib import sha256

import aiohttp
import pytest
from pydantic import BaseModel

from shared.http.identity import through_gateway
from shared.http.server import new_app
from shared.http.worker_line import add_worker_line
from shared.ids import ClaimId, WorkerId
from shared.protocol import gateway as g
from shared.protocol.states import JobStatus
from shared.tokens import Audience, Role, Scope
from tests.support.entrance import ANN, BEN, Entrance
from tests.support.http import serving
from tests.support.line import line_to


def a_claim(worker_id: WorkerId = ANN) -> g.ClaimRequest:
    return g.ClaimRequest(
        claim_id=ClaimId("c"), worker_id=worker_id, labels={}, free_slots=1, wait_s=0
    )


def a_beat(claim: g.Claim) -> g.HeartbeatRequest:
    beat = g.LeaseBeat(attempt_id=claim.attempt_id, fence=claim.fence, phase="x")
    return g.HeartbeatRequest(worker_id=ANN, leases=(beat,))


def a_run(claim: g.Claim) -> g.RunRequest:
    return g.RunRequest(
        attempt_id=claim.attempt_id, worker_id=ANN, fence=claim.fence, host="h", pid=1
    )


def a_refusal(claim: g.Claim) -> g.RefuseRequest:
    return g.RefuseRequest(
        attempt_id=claim.attempt_id, worker_id=ANN, fence=claim.fence, reason="busy"
    )


def a_finish(claim: g.Claim) -> g.FinishRequest:
    return g.FinishRequest(
        attempt_id=claim.attempt_id,
        worker_id=ANN,
        fence=claim.fence,
        result=g.Result(outcome=g.Outcome.EXITED, exit_code=0),
        log=g.LogSummary(
            size_bytes=0, sha256=sha256(b"").hexdigest(), tail_offset=0, tail=b"", lost_bytes=0
        ),
        artifacts=(),
        usage=g.Usage(wall_s=1.0, cpu_s=None, max_rss_bytes=None),
    )


async def test_a_job_travels_on_a_line_from_claim_to_receipt(entrance: Entrance) -> None:
    await entrance.submit()
    own = entrance.minter.worker(ANN)
    async with line_to(entrance.call, own) as line:
        (claim,) = g.ClaimReply.model_validate(
            (await line.ask("claim", a_claim(), own)).json
        ).claims
        execution = (await line.ask("run", a_run(claim), claim.token)).json["token"]
        beat = await line.ask("heartbeat", a_beat(claim), own)
        receipt = await line.ask("finish", a_finish(claim), execution)

    assert beat.json["leases"][0]["verdict"] == "renewed"
    assert receipt.json["kind"] == "receipt"
    assert await entrance.status(claim) is JobStatus.SUCCESS


async def test_a_line_opens_to_workers_only(entrance: Entrance) -> None:
    claim, execution = await entrance.run()
    others = [
        None,
        "x.y.z",
        claim.token,
        execution,
        entrance.minter.client("root", Role.ADMIN),
        entrance.minter.service("gateway"),
    ]

    for token in others:
        with pytest.raises(aiohttp.WSServerHandshakeError) as turned_away:
            async with line_to(entrance.call, token):
                pass
        assert turned_away.value.status in (401, 403)


async def test_the_token_that_opened_a_line_opens_no_call_on_it(entrance: Entrance) -> None:
    claim, _ = await entrance.run()
    verbs: list[tuple[str, BaseModel]] = [
        ("claim", a_claim()),
        ("refuse", a_refusal(claim)),
        ("run", a_run(claim)),
        ("heartbeat", a_beat(claim)),
        ("finish", a_finish(claim)),
    ]
    async with line_to(entrance.call, entrance.minter.worker(ANN)) as line:
        for verb, ask in verbs:
            for token, check in [
                (None, ("unauthenticated", "missing")),
                ("x.y.z", ("unauthenticated", "malformed")),
                (entrance.minter.client("root", Role.ADMIN), ("forbidden", "audience")),
                (entrance.minter.service("gateway"), ("forbidden", "audience")),
            ]:
                found = (await line.ask(verb, ask, token)).check
                assert found == check or found == ("forbidden", "scope")

    assert await entrance.status(claim) is JobStatus.RUNNING
    assert entrance.jobs.claimed_by == [ANN]


async def test_a_call_for_another_worker_is_forbidden(entrance: Entrance) -> None:
    claim, _ = await entrance.run()
    bens = entrance.minter.worker(BEN)
    stolen = entrance.minter.workload(BEN, claim.attempt_id, claim.fence)
    async with line_to(entrance.call, bens) as line:
        for verb, ask, token in [
            ("claim", a_claim(ANN), bens),
            ("heartbeat", a_beat(claim), bens),
            ("finish", a_finish(claim), bens),
            ("run", a_run(claim), stolen),
            ("refuse", a_refusal(claim), stolen),
        ]:
            assert (await line.ask(verb, ask, token)).check == ("forbidden", "worker")

    assert await entrance.status(claim) is JobStatus.RUNNING
    assert entrance.jobs.claimed_by == [ANN]


async def test_on_a_line_too_a_token_is_good_for_its_own_attempt_and_step(
    entrance: Entrance,
) -> None:
    claim, execution = await entrance.run()
    other = await entrance.claim()
    async with line_to(entrance.call, entrance.minter.worker(ANN)) as line:
        for verb, ask, token, check in [
            ("run", a_run(other), claim.token, "attempt"),
            ("refuse", a_refusal(other), claim.token, "attempt"),
            ("finish", a_finish(other), execution, "attempt"),
            ("finish", a_finish(claim), claim.token, "scope"),
            ("run", a_run(other), entrance.minter.worker(ANN), "scope"),
            ("claim", a_claim(), execution, "scope"),
        ]:
            assert (await line.ask(verb, ask, token)).check == ("forbidden", check)

    assert await entrance.status(claim) is JobStatus.RUNNING
    assert await entrance.status(other) is JobStatus.CLAIMED


async def test_on_a_line_too_leases_outlive_tokens_and_claims_do_not(entrance: Entrance) -> None:
    claim, execution = await entrance.run()
    own = entrance.minter.worker(ANN)
    await entrance.runtime.advance(12 * 3_600)

    async with line_to(entrance.call, own) as line:  # it was good for one hour
        beat = await line.ask("heartbeat", a_beat(claim), own)
        late = await line.ask("claim", a_claim(), own)
        finish = await line.ask("finish", a_finish(claim), execution)

    lease = beat.json["leases"][0]
    entrance.verifier.verify(lease["token"], Audience.GATEWAY, {Scope.EXECUTION})
    assert late.check == ("unauthenticated", "expired")
    assert finish.json["kind"] == "receipt"


@pytest.mark.parametrize("attempt_id", ["", "\0", "x" * 101, "é"])
async def test_on_a_line_too_an_attempt_id_that_is_none_reaches_no_store(
    entrance: Entrance, attempt_id: str
) -> None:
    claim = await entrance.claim()
    ask = a_finish(claim).model_copy(update={"attempt_id": attempt_id})
    own = entrance.minter.worker(ANN)
    async with line_to(entrance.call, own) as line:
        assert (await line.ask("finish", ask, own)).json["code"] == "bad_request"


async def test_a_worker_that_gives_a_claim_up_claims_nothing(entrance: Entrance) -> None:
    own = entrance.minter.worker(ANN)
    async with asyncio.timeout(5), line_to(entrance.call, own) as line:
        ask = a_claim().model_copy(update={"wait_s": 60})
        await line.send(1, "claim", ask.model_dump_json().encode(), own)
        await entrance.jobs.waiting.wait()
        await line.send(1, "give_up")
        await entrance.jobs.gone.wait()

        run_id = await entrance.submit()

        assert (await entrance.jobs.show_run(run_id)).jobs[0].status is JobStatus.QUEUED


async def test_a_gateways_line_carries_calls_for_every_worker(entrance: Entrance) -> None:
    async def ready() -> None: ...

    app = new_app(ready)
    add_worker_line(app, entrance.jobs, through_gateway(entrance.verifier))
    service, own = entrance.minter.service("gateway"), entrance.minter.worker(ANN)
    async with serving(app) as call, line_to(call, service) as line:
        for worker_id in (ANN, BEN):
            assert not (await line.ask("claim", a_claim(worker_id), service)).is_error
        nobody = await line.ask("claim", a_claim(WorkerId("")), service)
        worker = await line.ask("claim", a_claim(), own)
        with pytest.raises(aiohttp.WSServerHandshakeError):
            async with line_to(call, own):
                pass

    assert nobody.json["code"] == "bad_request"
    assert worker.check == ("forbidden", "audience")
    assert entrance.jobs.claimed_by == [ANN, BEN]
