"""The worker's verbs at the gateway, as attackers and broken programs use them."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from hashlib import sha256

import aiohttp
import pytest
from pydantic import BaseModel

from shared.errors import UnknownAttempt
from shared.http.identity import LATE_S, through_gateway, workers_own
from shared.http.server import new_app
from shared.http.worker_line import add_worker_line
from shared.http.worker_routes import add_worker_routes
from shared.ids import AttemptId, ClaimId, JobId, RunId, WorkerId
from shared.protocol import gateway as g
from shared.protocol import jobs as j
from shared.protocol.pipeline import JobSpec, PipelineSpec
from shared.protocol.states import JobStatus
from shared.renewal import AttemptTokens
from shared.tokens import EXECUTION_S, Audience, Minter, Role, Scope, Verifier
from tests.support.carriers import KEY
from tests.support.fake_jobs import FakeJobs
from tests.support.http import Caller, Reply, serving
from tests.support.line import line_to
from tests.support.runtime import ManualRuntime

ANN, BEN = WorkerId("ann"), WorkerId("ben")
CLAIM = b'{"claim_id":"c1","labels":{},"free_slots":1,"wait_s":0}'


@dataclass
class Gate:
    """A gateway over a fake job service, and the means to make any token."""

    call: Caller
    jobs: FakeJobs
    minter: Minter
    verifier: Verifier
    runtime: ManualRuntime

    async def submit(self, *ids: str) -> RunId:
        jobs = tuple(JobSpec(id=name, command="true") for name in ids or ("one",))
        pipeline = PipelineSpec(name="demo", jobs=jobs)
        ask = j.SubmitRequest(idempotency_key=self.runtime.new_id(), pipeline=pipeline)
        return (await self.jobs.submit(ask)).run_id

    async def claim(self) -> g.Claim:
        await self.submit()
        token = self.minter.worker(ANN)
        body = json.dumps(
            {"claim_id": self.runtime.new_id(), "labels": {}, "free_slots": 1, "wait_s": 0}
        )
        answer = await self.call("POST", "/v1/claims", token=token, data=body.encode())
        return g.ClaimReply.model_validate_json(answer.body).claims[0]

    async def run(self) -> tuple[g.Claim, str]:
        """A running attempt of ann's, and its execution token."""
        claim = await self.claim()
        answer = await self.start(claim, claim.token)
        return claim, answer.json["token"]

    async def start(self, claim: g.Claim, token: str | None) -> Reply:
        body = json.dumps({"fence": claim.fence, "host": "h", "pid": 1}).encode()
        return await self.call(
            "POST", f"/v1/attempts/{claim.attempt_id}/run", token=token, data=body
        )

    async def finish(self, claim: g.Claim, token: str | None, **changes: object) -> Reply:
        body = {
            "fence": claim.fence,
            "result": {"outcome": "exited", "exit_code": 0},
            "log": {
                "size_bytes": 0,
                "sha256": sha256(b"").hexdigest(),
                "tail_offset": 0,
                "tail": "",
                "lost_bytes": 0,
            },
            "artifacts": [],
            "usage": {"wall_s": 1.0, "cpu_s": None, "max_rss_bytes": None},
        } | changes
        path = f"/v1/attempts/{claim.attempt_id}/finish"
        return await self.call("POST", path, token=token, data=json.dumps(body).encode())

    async def status(self, claim: g.Claim) -> JobStatus:
        return (await self.jobs.show_run(claim.run_id)).jobs[0].status


@pytest.fixture
async def gate() -> AsyncIterator[Gate]:
    runtime = ManualRuntime()
    verifier = Verifier(KEY.public_key(), runtime)
    minter = Minter(KEY, runtime, verifier)
    jobs = FakeJobs(runtime)

    async def ready() -> None: ...

    app = new_app(ready)
    tokens = AttemptTokens(minter, runtime)
    add_worker_routes(app, jobs, workers_own(verifier), tokens)
    add_worker_line(app, jobs, workers_own(verifier), tokens)
    async with serving(app) as call:
        yield Gate(call, jobs, minter, verifier, runtime)


def check(answer: Reply) -> tuple[int, str]:
    return answer.status, answer.json["facts"].get("check")


# -- identity ---------------------------------------------------------------------------------

EVERY_VERB = [
    ("POST", "/v1/claims"),
    ("POST", "/v1/heartbeats"),
    ("POST", "/v1/attempts/a/refuse"),
    ("POST", "/v1/attempts/a/run"),
    ("POST", "/v1/attempts/a/heartbeat"),
    ("PATCH", "/v1/attempts/a/log"),
    ("PUT", "/v1/attempts/a/artifacts/x"),
    ("GET", "/v1/attempts/a/inputs/j"),
    ("GET", "/v1/attempts/a/inputs/j/x"),
    ("POST", "/v1/attempts/a/finish"),
]


@pytest.mark.parametrize(("method", "path"), EVERY_VERB)
async def test_no_verb_opens_without_a_token(gate: Gate, method: str, path: str) -> None:
    assert check(await gate.call(method, path)) == (401, "missing")


@pytest.mark.parametrize(("method", "path"), EVERY_VERB)
@pytest.mark.parametrize("kind", ["client", "service"])
async def test_no_verb_opens_to_people_nor_to_services(
    gate: Gate, method: str, path: str, kind: str
) -> None:
    tokens = {
        "client": gate.minter.client("root", Role.ADMIN),
        "service": gate.minter.service("gateway"),
    }

    status, failed = check(await gate.call(method, path, token=tokens[kind]))

    assert status == 403
    assert failed in ("scope", "audience")


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("Basic YW5uOnNlY3JldA==", (401, "malformed")),
        ("Bearer", (401, "missing")),
        ("Bearer  ", (401, "missing")),
        ("Bearer x.y.z", (401, "malformed")),
        ("Bearer " + "x" * 8_000, (401, "malformed")),
        ("Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbm4ifQ.", (401, "signature")),
    ],
)
async def test_a_bad_authorization_says_what_is_wrong_with_it(
    gate: Gate, header: str, expected: tuple[int, str]
) -> None:
    answer = await gate.call("POST", "/v1/claims", data=CLAIM, headers={"Authorization": header})

    assert check(answer) == expected


async def test_a_token_in_the_query_or_a_cookie_does_not_count(gate: Gate) -> None:
    token = gate.minter.worker(ANN)

    answer = await gate.call(
        "POST", f"/v1/claims?token={token}", data=CLAIM, headers={"Cookie": f"token={token}"}
    )

    assert check(answer) == (401, "missing")


async def test_the_body_cannot_say_who_asks(gate: Gate) -> None:
    await gate.submit()
    lie = b'{"worker_id":"ben",' + CLAIM[1:-1] + b',"worker_id":"ben"}'

    answer = await gate.call("POST", "/v1/claims", token=gate.minter.worker(ANN), data=lie)

    assert answer.status == 200
    assert gate.jobs.claimed_by == [ANN]


async def test_a_worker_cannot_ask_for_another_by_header(gate: Gate) -> None:
    await gate.call(
        "POST",
        "/v1/claims",
        token=gate.minter.worker(ANN),
        data=CLAIM,
        headers={"Drawbar-Worker": "ben"},
    )

    assert gate.jobs.claimed_by == [ANN]


async def test_a_claims_token_opens_run_and_refuse_of_that_attempt_only(gate: Gate) -> None:
    mine, other = await gate.claim(), await gate.claim()

    assert check(await gate.start(other, mine.token)) == (403, "attempt")
    assert check(await gate.finish(mine, mine.token)) == (403, "scope")
    assert check(await gate.call("POST", "/v1/claims", token=mine.token)) == (403, "scope")
    assert check(await gate.start(mine, gate.minter.worker(ANN))) == (403, "scope")
    assert (await gate.start(mine, mine.token)).status == 200
    assert await gate.status(other) is JobStatus.CLAIMED


async def test_an_execution_token_opens_nothing_of_another_attempt(gate: Gate) -> None:
    _, token = await gate.run()
    other, _ = await gate.run()

    assert check(await gate.finish(other, token)) == (403, "attempt")
    assert await gate.status(other) is JobStatus.RUNNING


async def test_another_worker_cannot_finish_an_attempt(gate: Gate) -> None:
    claim, _ = await gate.run()
    stolen_id = gate.minter.execution(BEN, claim.attempt_id, claim.fence)

    assert (await gate.finish(claim, gate.minter.worker(BEN))).status == 409
    assert (await gate.finish(claim, stolen_id)).status == 409
    assert await gate.status(claim) is JobStatus.RUNNING


async def test_an_execution_token_is_good_for_a_while_after_it_expired(gate: Gate) -> None:
    claim, token = await gate.run()

    await gate.runtime.advance(EXECUTION_S + LATE_S - 1)

    assert (await gate.finish(claim, token)).status == 200


async def test_an_outage_of_the_registry_ends_no_lease_but_lets_no_claim_in(gate: Gate) -> None:
    claim, _ = await gate.run()
    worker = gate.minter.worker(ANN)
    beats = {"leases": [{"attempt_id": claim.attempt_id, "fence": claim.fence, "phase": "x"}]}
    ask = {"claim_id": "late", "labels": {}, "free_slots": 1, "wait_s": 0}

    await gate.runtime.advance(12 * 3_600)  # the worker's token was good for one hour
    beat = await gate.call("POST", "/v1/heartbeats", token=worker, data=json.dumps(beats).encode())
    refused = await gate.call("POST", "/v1/claims", token=worker, data=json.dumps(ask).encode())

    assert (beat.status, beat.json["leases"][0]["verdict"]) == (200, "renewed")
    assert check(refused) == (401, "expired")


async def test_a_result_outlives_its_token_by_its_workers_own(gate: Gate) -> None:
    claim, token = await gate.run()
    await gate.runtime.advance(EXECUTION_S + LATE_S + 1)

    assert check(await gate.finish(claim, token)) == (401, "expired")
    assert (await gate.finish(claim, gate.minter.worker(ANN))).status == 200


async def test_heartbeats_bring_a_fresh_token_when_the_old_one_has_aged(gate: Gate) -> None:
    claim, token = await gate.run()
    beat = json.dumps(
        {"leases": [{"attempt_id": claim.attempt_id, "fence": 1, "phase": "x"}]}
    ).encode()
    worker = gate.minter.worker(ANN)

    young = await gate.call("POST", "/v1/heartbeats", token=worker, data=beat)
    await gate.runtime.advance(EXECUTION_S / 2)
    old = await gate.call("POST", "/v1/heartbeats", token=worker, data=beat)

    assert young.json["leases"][0]["token"] is None
    fresh = old.json["leases"][0]["token"]
    assert fresh != token
    who = gate.verifier.verify(fresh, Audience.GATEWAY, {Scope.EXECUTION})
    assert who.attempt_id == claim.attempt_id


async def test_one_heartbeat_answers_with_a_header(gate: Gate) -> None:
    claim, token = await gate.run()
    path = f"/v1/attempts/{claim.attempt_id}/heartbeat"
    await gate.runtime.advance(EXECUTION_S + 1)

    answer = await gate.call("POST", path, token=token, data=b'{"fence":1,"phase":"x"}')

    assert answer.json["verdict"] == "renewed"
    gate.verifier.verify(answer.headers["Refreshed-API-Token"], Audience.GATEWAY, {Scope.EXECUTION})


async def test_one_heartbeat_says_by_its_status_that_the_lease_is_gone(gate: Gate) -> None:
    claim, token = await gate.run()
    path = f"/v1/attempts/{claim.attempt_id}/heartbeat"
    unknown = gate.minter.execution(ANN, AttemptId("unknown"), 1)

    nowhere = await gate.call(
        "POST", "/v1/attempts/unknown/heartbeat", token=unknown, data=b'{"fence":1,"phase":"x"}'
    )
    stale = await gate.call("POST", path, token=token, data=b'{"fence":9,"phase":"x"}')
    await gate.finish(claim, token)
    ended = await gate.call("POST", path, token=token, data=b'{"fence":1,"phase":"x"}')

    assert (nowhere.status, nowhere.json["code"]) == (404, UnknownAttempt.code)
    assert stale.status == 409
    assert (ended.status, ended.headers["Drawbar-Attempt-State"]) == (409, "reported")


async def test_a_gateway_must_say_for_whom_it_asks(gate: Gate) -> None:
    async def ready() -> None: ...

    app = new_app(ready)
    add_worker_routes(app, gate.jobs, through_gateway(gate.verifier))
    token = gate.minter.service("gateway")
    async with serving(app) as call:
        nobody = await call("POST", "/v1/claims", token=token, data=CLAIM)
        odd = await call(
            "POST", "/v1/claims", token=token, data=CLAIM, headers={"Drawbar-Worker": "é"}
        )
        ben = await call(
            "POST", "/v1/claims", token=token, data=CLAIM, headers={"Drawbar-Worker": "ben"}
        )
        worker = await call("POST", "/v1/claims", token=gate.minter.worker(ANN), data=CLAIM)

    assert (nobody.status, odd.status, ben.status) == (400, 400, 204)
    assert check(worker) == (403, "audience")
    assert gate.jobs.claimed_by == [BEN]


# -- bad input --------------------------------------------------------------------------------


async def test_no_job_is_204_with_its_reason(gate: Gate) -> None:
    answer = await gate.call("POST", "/v1/claims", token=gate.minter.worker(ANN), data=CLAIM)

    assert answer.status == 204
    assert answer.headers["Drawbar-Reason"] == "no_job"
    assert "Retry-After" not in answer.headers


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'{"claim_id":"","labels":{},"free_slots":1,"wait_s":0}',
        b'{"claim_id":"c","labels":{},"free_slots":0,"wait_s":0}',
        b'{"claim_id":"c","labels":{},"free_slots":1e9,"wait_s":0}',
        b'{"claim_id":"c","labels":{},"free_slots":1,"wait_s":1e9}',
        b'{"claim_id":"c","labels":{},"free_slots":1,"wait_s":NaN}',
        b'{"claim_id":"c","labels":{"os":7},"free_slots":1,"wait_s":0}',
        b'{"claim_id":"\\ud800","labels":{},"free_slots":1,"wait_s":0}',
    ],
)
async def test_a_bad_claim_claims_nothing(gate: Gate, body: bytes) -> None:
    await gate.submit()

    answer = await gate.call("POST", "/v1/claims", token=gate.minter.worker(ANN), data=body)

    assert answer.status == 400
    assert gate.jobs.claimed_by == []


@pytest.mark.parametrize(
    "changes",
    [
        {"fence": 0},
        {"fence": 2**70},
        {"result": {"outcome": "won"}},
        {"result": {"outcome": "exited", "exit_code": 2**70}},
        {"usage": {"wall_s": float("inf"), "cpu_s": None, "max_rss_bytes": None}},
        {"usage": {"wall_s": float("nan"), "cpu_s": None, "max_rss_bytes": None}},
        {"artifacts": [{"path": "../etc/passwd", "size_bytes": 1, "sha256": "0" * 64}]},
        {"artifacts": [{"path": "a", "size_bytes": 1, "sha256": "G" * 64}]},
        {"artifacts": 2 * [{"path": "a", "size_bytes": 0, "sha256": "0" * 64}]},
        {"log": {"size_bytes": 1, "sha256": "0" * 64, "tail_offset": 0, "tail": "%%%"}},
    ],
)
async def test_a_bad_finish_settles_nothing(gate: Gate, changes: dict[str, object]) -> None:
    claim, token = await gate.run()

    assert (await gate.finish(claim, token, **changes)).status == 400
    assert await gate.status(claim) is JobStatus.RUNNING


@pytest.mark.parametrize(
    "path",
    [
        "%2E%2E/x",
        "a/%2E%2E/x",
        "%2E",
        "a//b",
        "%2Fetc%2Fpasswd",
        "a/..%2F..%2Fx",
        "a%00b",
        "a/",
        "x" * 1_025,
    ],
)
async def test_an_artifact_cannot_leave_its_folder(gate: Gate, path: str) -> None:
    claim, token = await gate.run()

    answer = await gate.call(
        "PUT",
        f"/v1/attempts/{claim.attempt_id}/artifacts/{path}",
        token=token,
        data=b"x",
        headers={"Drawbar-Fence": "1", "Drawbar-Sha256": sha256(b"x").hexdigest()},
    )

    assert answer.status in (400, 404)
    assert (await gate.finish(claim, token)).status == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Drawbar-Fence": "1"},
        {"Drawbar-Sha256": "0" * 64},
        {"Drawbar-Fence": "-1", "Drawbar-Sha256": "0" * 64},
        {"Drawbar-Fence": "one", "Drawbar-Sha256": "0" * 64},
        {"Drawbar-Fence": "9" * 40, "Drawbar-Sha256": "0" * 64},
        {"Drawbar-Fence": "1", "Drawbar-Sha256": "0" * 63},
    ],
)
async def test_an_artifact_without_its_headers_is_refused(
    gate: Gate, headers: dict[str, str]
) -> None:
    claim, token = await gate.run()
    path = f"/v1/attempts/{claim.attempt_id}/artifacts/a"

    answer = await gate.call("PUT", path, token=token, data=b"x", headers=headers)

    assert answer.status == 400


async def test_an_artifact_of_unknown_length_is_refused(gate: Gate) -> None:
    async def endless() -> AsyncIterator[bytes]:
        yield b"x"

    claim, token = await gate.run()
    path = f"/v1/attempts/{claim.attempt_id}/artifacts/a"

    answer = await gate.call(
        "PUT",
        path,
        token=token,
        data=endless(),
        headers={"Drawbar-Fence": "1", "Drawbar-Sha256": "0" * 64},
    )

    assert answer.status == 400


@pytest.mark.parametrize(
    "content_range",
    [
        None,
        "",
        "bytes",
        "bytes 0-3",
        "bytes 3-0/*",
        "bytes 0-3/2",
        "bytes 0-99/*",
        "bytes 0-0/*",
        "bytes */0",
        "bytes -4/*",
        "bytes 0-99999999999999999999/*",
        "lines 0-3/*",
        "bytes 0-3/*, bytes 9-9/*",
    ],
)
async def test_a_log_range_that_contradicts_its_body_appends_nothing(
    gate: Gate, content_range: str | None
) -> None:
    claim, token = await gate.run()
    headers = {"Drawbar-Fence": "1"}
    if content_range is not None:
        headers["Content-Range"] = content_range

    answer = await gate.call(
        "PATCH",
        f"/v1/attempts/{claim.attempt_id}/log",
        token=token,
        data=b"text",
        headers=headers,
    )

    assert answer.status == 400
    log = gate.jobs.read_log(
        claim.run_id, JobId("one"), attempt=claim.attempt_id, offset=0, follow=False
    )
    assert [piece async for piece in log] == []


async def test_a_log_answers_with_where_it_ends(gate: Gate) -> None:
    claim, token = await gate.run()
    path = f"/v1/attempts/{claim.attempt_id}/log"

    async def patch(content_range: str) -> Reply:
        headers = {"Drawbar-Fence": "1", "Content-Range": content_range}
        return await gate.call("PATCH", path, token=token, data=b"text", headers=headers)

    taken = await patch("bytes 0-3/*")
    gap = await patch("bytes 9-12/*")

    assert (taken.status, taken.headers["Range"]) == (202, "0-4")
    assert taken.headers["Drawbar-Attempt-State"] == "running"
    assert (gap.status, gap.headers["Range"]) == (416, "0-4")
    assert gap.headers["Drawbar-Attempt-State"] == "running"


@pytest.mark.parametrize("attempt_id", ["%00", "%ED%A0%80", "%FF", "x" * 101, "%20%0A", "é"])
async def test_an_attempt_id_that_is_none_reaches_no_store(gate: Gate, attempt_id: str) -> None:
    answer = await gate.call(
        "POST", f"/v1/attempts/{attempt_id}/finish", token=gate.minter.worker(ANN), data=b"{}"
    )

    assert answer.status == 400


async def test_a_worker_that_is_gone_claims_nothing(gate: Gate) -> None:
    body = CLAIM.replace(b'"wait_s":0', b'"wait_s":60')
    asking = asyncio.ensure_future(
        gate.call("POST", "/v1/claims", token=gate.minter.worker(ANN), data=body)
    )
    async with asyncio.timeout(5):
        await gate.jobs.waiting.wait()
        asking.cancel()
        await gate.jobs.gone.wait()

    run_id = await gate.submit()

    assert (await gate.jobs.show_run(run_id)).jobs[0].status is JobStatus.QUEUED


# -- on a line --------------------------------------------------------------------------------


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


async def test_a_job_travels_on_a_line_from_claim_to_receipt(gate: Gate) -> None:
    await gate.submit()
    own = gate.minter.worker(ANN)
    async with line_to(gate.call, own) as line:
        (claim,) = g.ClaimReply.model_validate(
            (await line.ask("claim", a_claim(), own)).json
        ).claims
        execution = (await line.ask("run", a_run(claim), claim.token)).json["token"]
        beat = await line.ask("heartbeat", a_beat(claim), own)
        receipt = await line.ask("finish", a_finish(claim), execution)

    assert beat.json["leases"][0]["verdict"] == "renewed"
    assert receipt.json["kind"] == "receipt"
    assert await gate.status(claim) is JobStatus.SUCCESS


async def test_a_line_opens_to_workers_only(gate: Gate) -> None:
    claim, execution = await gate.run()
    others = [
        None,
        "x.y.z",
        claim.token,
        execution,
        gate.minter.client("root", Role.ADMIN),
        gate.minter.service("gateway"),
    ]

    for token in others:
        with pytest.raises(aiohttp.WSServerHandshakeError) as turned_away:
            async with line_to(gate.call, token):
                pass
        assert turned_away.value.status in (401, 403)


async def test_the_token_that_opened_a_line_opens_no_call_on_it(gate: Gate) -> None:
    claim, _ = await gate.run()
    verbs: list[tuple[str, BaseModel]] = [
        ("claim", a_claim()),
        ("refuse", a_refusal(claim)),
        ("run", a_run(claim)),
        ("heartbeat", a_beat(claim)),
        ("finish", a_finish(claim)),
    ]
    async with line_to(gate.call, gate.minter.worker(ANN)) as line:
        for verb, ask in verbs:
            for token, check in [
                (None, ("unauthenticated", "missing")),
                ("x.y.z", ("unauthenticated", "malformed")),
                (gate.minter.client("root", Role.ADMIN), ("forbidden", "audience")),
                (gate.minter.service("gateway"), ("forbidden", "audience")),
            ]:
                found = (await line.ask(verb, ask, token)).check
                assert found == check or found == ("forbidden", "scope")

    assert await gate.status(claim) is JobStatus.RUNNING
    assert gate.jobs.claimed_by == [ANN]


async def test_a_call_for_another_worker_is_forbidden(gate: Gate) -> None:
    claim, _ = await gate.run()
    bens = gate.minter.worker(BEN)
    stolen = gate.minter.workload(BEN, claim.attempt_id, claim.fence)
    async with line_to(gate.call, bens) as line:
        for verb, ask, token in [
            ("claim", a_claim(ANN), bens),
            ("heartbeat", a_beat(claim), bens),
            ("finish", a_finish(claim), bens),
            ("run", a_run(claim), stolen),
            ("refuse", a_refusal(claim), stolen),
        ]:
            assert (await line.ask(verb, ask, token)).check == ("forbidden", "worker")

    assert await gate.status(claim) is JobStatus.RUNNING
    assert gate.jobs.claimed_by == [ANN]


async def test_on_a_line_too_a_token_is_good_for_its_own_attempt_and_step(gate: Gate) -> None:
    claim, execution = await gate.run()
    other = await gate.claim()
    async with line_to(gate.call, gate.minter.worker(ANN)) as line:
        for verb, ask, token, check in [
            ("run", a_run(other), claim.token, "attempt"),
            ("refuse", a_refusal(other), claim.token, "attempt"),
            ("finish", a_finish(other), execution, "attempt"),
            ("finish", a_finish(claim), claim.token, "scope"),
            ("run", a_run(other), gate.minter.worker(ANN), "scope"),
            ("claim", a_claim(), execution, "scope"),
        ]:
            assert (await line.ask(verb, ask, token)).check == ("forbidden", check)

    assert await gate.status(claim) is JobStatus.RUNNING
    assert await gate.status(other) is JobStatus.CLAIMED


async def test_on_a_line_too_leases_outlive_tokens_and_claims_do_not(gate: Gate) -> None:
    claim, execution = await gate.run()
    own = gate.minter.worker(ANN)
    await gate.runtime.advance(12 * 3_600)

    async with line_to(gate.call, own) as line:  # it was good for one hour
        beat = await line.ask("heartbeat", a_beat(claim), own)
        late = await line.ask("claim", a_claim(), own)
        finish = await line.ask("finish", a_finish(claim), execution)

    lease = beat.json["leases"][0]
    gate.verifier.verify(lease["token"], Audience.GATEWAY, {Scope.EXECUTION})
    assert late.check == ("unauthenticated", "expired")
    assert finish.json["kind"] == "receipt"


@pytest.mark.parametrize("attempt_id", ["", "\0", "x" * 101, "é"])
async def test_on_a_line_too_an_attempt_id_that_is_none_reaches_no_store(
    gate: Gate, attempt_id: str
) -> None:
    claim = await gate.claim()
    ask = a_finish(claim).model_copy(update={"attempt_id": attempt_id})
    own = gate.minter.worker(ANN)
    async with line_to(gate.call, own) as line:
        assert (await line.ask("finish", ask, own)).json["code"] == "bad_request"


async def test_a_worker_that_gives_a_claim_up_claims_nothing(gate: Gate) -> None:
    own = gate.minter.worker(ANN)
    async with asyncio.timeout(5), line_to(gate.call, own) as line:
        ask = a_claim().model_copy(update={"wait_s": 60})
        await line.send(1, "claim", ask.model_dump_json().encode(), own)
        await gate.jobs.waiting.wait()
        await line.send(1, "give_up")
        await gate.jobs.gone.wait()

        run_id = await gate.submit()

        assert (await gate.jobs.show_run(run_id)).jobs[0].status is JobStatus.QUEUED


async def test_a_gateways_line_carries_calls_for_every_worker(gate: Gate) -> None:
    async def ready() -> None: ...

    app = new_app(ready)
    add_worker_line(app, gate.jobs, through_gateway(gate.verifier))
    service, own = gate.minter.service("gateway"), gate.minter.worker(ANN)
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
    assert gate.jobs.claimed_by == [ANN, BEN]
