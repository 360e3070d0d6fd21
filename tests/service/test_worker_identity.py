"""Who may use a worker's verbs at the gateway, and who hears what is wrong with his token."""

import json

import pytest

from shared.errors import UnknownAttempt
from shared.http.identity import LATE_S, through_gateway
from shared.http.server import new_app
from shared.http.worker_routes import add_worker_routes
from shared.ids import AttemptId
from shared.protocol.states import JobStatus
from shared.tokens import EXECUTION_S, Audience, Role, Scope
from tests.support.entrance import ANN, BEN, CLAIM, Entrance, check
from tests.support.http import serving

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
async def test_no_verb_opens_without_a_token(entrance: Entrance, method: str, path: str) -> None:
    assert check(await entrance.call(method, path)) == (401, "missing")


@pytest.mark.parametrize(("method", "path"), EVERY_VERB)
@pytest.mark.parametrize("kind", ["client", "service"])
async def test_no_verb_opens_to_people_nor_to_services(
    entrance: Entrance, method: str, path: str, kind: str
) -> None:
    tokens = {
        "client": entrance.minter.client("root", Role.ADMIN),
        "service": entrance.minter.service("gateway"),
    }

    status, failed = check(await entrance.call(method, path, token=tokens[kind]))

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
    entrance: Entrance, header: str, expected: tuple[int, str]
) -> None:
    answer = await entrance.call(
        "POST", "/v1/claims", data=CLAIM, headers={"Authorization": header}
    )

    assert check(answer) == expected


async def test_a_token_in_the_query_or_a_cookie_does_not_count(entrance: Entrance) -> None:
    token = entrance.minter.worker(ANN)

    in_query = await entrance.call("POST", f"/v1/claims?token={token}", data=CLAIM)
    in_cookie = await entrance.call(
        "POST", "/v1/claims", data=CLAIM, headers={"Cookie": f"token={token}"}
    )

    assert (in_query.status, token in str(in_query.json)) == (400, False)
    assert check(in_cookie) == (401, "missing")


async def test_the_body_cannot_say_who_asks(entrance: Entrance) -> None:
    await entrance.submit()
    lie = b'{"worker_id":"ben",' + CLAIM[1:-1] + b',"worker_id":"ben"}'

    answer = await entrance.call("POST", "/v1/claims", token=entrance.minter.worker(ANN), data=lie)

    assert answer.status == 200
    assert entrance.jobs.claimed_by == [ANN]


async def test_a_worker_cannot_ask_for_another_by_header(entrance: Entrance) -> None:
    await entrance.call(
        "POST",
        "/v1/claims",
        token=entrance.minter.worker(ANN),
        data=CLAIM,
        headers={"Drawbar-Worker": "ben"},
    )

    assert entrance.jobs.claimed_by == [ANN]


async def test_a_claims_token_opens_run_and_refuse_of_that_attempt_only(entrance: Entrance) -> None:
    mine, other = await entrance.claim(), await entrance.claim()

    assert check(await entrance.start(other, mine.token)) == (403, "attempt")
    assert check(await entrance.finish(mine, mine.token)) == (403, "scope")
    assert check(await entrance.call("POST", "/v1/claims", token=mine.token)) == (403, "scope")
    assert check(await entrance.start(mine, entrance.minter.worker(ANN))) == (403, "scope")
    assert (await entrance.start(mine, mine.token)).status == 200
    assert await entrance.status(other) is JobStatus.CLAIMED


async def test_an_execution_token_opens_nothing_of_another_attempt(entrance: Entrance) -> None:
    _, token = await entrance.run()
    other, _ = await entrance.run()

    assert check(await entrance.finish(other, token)) == (403, "attempt")
    assert await entrance.status(other) is JobStatus.RUNNING


async def test_another_worker_cannot_finish_an_attempt(entrance: Entrance) -> None:
    claim, _ = await entrance.run()
    stolen_id = entrance.minter.execution(BEN, claim.attempt_id, claim.fence)

    assert (await entrance.finish(claim, entrance.minter.worker(BEN))).status == 409
    assert (await entrance.finish(claim, stolen_id)).status == 409
    assert await entrance.status(claim) is JobStatus.RUNNING


async def test_an_execution_token_is_good_for_a_while_after_it_expired(entrance: Entrance) -> None:
    claim, token = await entrance.run()

    await entrance.runtime.advance(EXECUTION_S + LATE_S - 1)

    assert (await entrance.finish(claim, token)).status == 200


async def test_an_outage_of_the_registry_ends_no_lease_but_lets_no_claim_in(
    entrance: Entrance,
) -> None:
    claim, _ = await entrance.run()
    worker = entrance.minter.worker(ANN)
    beats = {"leases": [{"attempt_id": claim.attempt_id, "fence": claim.fence, "phase": "x"}]}
    ask = {"claim_id": "late", "labels": {}, "free_slots": 1, "wait_s": 0}

    await entrance.runtime.advance(12 * 3_600)  # the worker's token was good for one hour
    beat = await entrance.call(
        "POST", "/v1/heartbeats", token=worker, data=json.dumps(beats).encode()
    )
    refused = await entrance.call("POST", "/v1/claims", token=worker, data=json.dumps(ask).encode())

    assert (beat.status, beat.json["leases"][0]["verdict"]) == (200, "renewed")
    assert check(refused) == (401, "expired")


async def test_a_result_outlives_its_token_by_its_workers_own(entrance: Entrance) -> None:
    claim, token = await entrance.run()
    await entrance.runtime.advance(EXECUTION_S + LATE_S + 1)

    assert check(await entrance.finish(claim, token)) == (401, "expired")
    assert (await entrance.finish(claim, entrance.minter.worker(ANN))).status == 200


async def test_heartbeats_bring_a_fresh_token_when_the_old_one_has_aged(entrance: Entrance) -> None:
    claim, token = await entrance.run()
    beat = json.dumps(
        {"leases": [{"attempt_id": claim.attempt_id, "fence": 1, "phase": "x"}]}
    ).encode()
    worker = entrance.minter.worker(ANN)

    young = await entrance.call("POST", "/v1/heartbeats", token=worker, data=beat)
    await entrance.runtime.advance(EXECUTION_S / 2)
    old = await entrance.call("POST", "/v1/heartbeats", token=worker, data=beat)

    assert young.json["leases"][0]["token"] is None
    fresh = old.json["leases"][0]["token"]
    assert fresh != token
    who = entrance.verifier.verify(fresh, Audience.GATEWAY, {Scope.EXECUTION})
    assert who.attempt_id == claim.attempt_id


async def test_one_heartbeat_answers_with_a_header(entrance: Entrance) -> None:
    claim, token = await entrance.run()
    path = f"/v1/attempts/{claim.attempt_id}/heartbeat"
    await entrance.runtime.advance(EXECUTION_S + 1)

    answer = await entrance.call("POST", path, token=token, data=b'{"fence":1,"phase":"x"}')

    assert answer.json["verdict"] == "renewed"
    entrance.verifier.verify(
        answer.headers["Refreshed-API-Token"], Audience.GATEWAY, {Scope.EXECUTION}
    )


async def test_one_heartbeat_says_by_its_status_that_the_lease_is_gone(entrance: Entrance) -> None:
    claim, token = await entrance.run()
    path = f"/v1/attempts/{claim.attempt_id}/heartbeat"
    unknown = entrance.minter.execution(ANN, AttemptId("unknown"), 1)

    nowhere = await entrance.call(
        "POST", "/v1/attempts/unknown/heartbeat", token=unknown, data=b'{"fence":1,"phase":"x"}'
    )
    stale = await entrance.call("POST", path, token=token, data=b'{"fence":9,"phase":"x"}')
    await entrance.finish(claim, token)
    ended = await entrance.call("POST", path, token=token, data=b'{"fence":1,"phase":"x"}')

    assert (nowhere.status, nowhere.json["code"]) == (404, UnknownAttempt.code)
    assert stale.status == 409
    assert (ended.status, ended.headers["Drawbar-Attempt-State"]) == (409, "reported")


async def test_a_gateway_must_say_for_whom_it_asks(entrance: Entrance) -> None:
    async def ready() -> None: ...

    app = new_app(ready)
    add_worker_routes(app, entrance.jobs, through_gateway(entrance.verifier))
    token = entrance.minter.service("gateway")
    async with serving(app) as call:
        nobody = await call("POST", "/v1/claims", token=token, data=CLAIM)
        odd = await call(
            "POST", "/v1/claims", token=token, data=CLAIM, headers={"Drawbar-Worker": "é"}
        )
        ben = await call(
            "POST", "/v1/claims", token=token, data=CLAIM, headers={"Drawbar-Worker": "ben"}
        )
        worker = await call("POST", "/v1/claims", token=entrance.minter.worker(ANN), data=CLAIM)

    assert (nobody.status, odd.status, ben.status) == (400, 400, 204)
    assert check(worker) == (403, "audience")
    assert entrance.jobs.claimed_by == [BEN]
