"""What every service does."""

from typing import Final

from drawbar.conformance.case import Cases, expect, must
from drawbar.conformance.stand import Stand

CASES: Final[Cases[Stand]] = Cases()
case = CASES.case


@case("every.alive", "200 while the process serves requests")
async def alive(stand: Stand) -> None:
    for peer in (stand.doors.gateway, stand.doors.registry):
        (await peer.ask("GET", "/healthz")).is_(200)


@case("every.ready", "200 when it can do its work; 503 with the reason when it cannot")
async def ready(stand: Stand) -> None:
    for peer in (stand.doors.gateway, stand.doors.registry):
        (await peer.ask("GET", "/readyz")).is_(200)


@case(
    "every.version", "`Drawbar-Protocol: 1` may be sent with every request; without it 1 is meant."
)
async def version(stand: Stand) -> None:
    hand = await stand.hand()
    answer = await hand.gateway.ask(
        "POST",
        "/v1/claims",
        hand.claim_body(),
        token=hand.token,
        headers={"Drawbar-Protocol": "1"},
    )
    answer.is_(204)


@case("every.unknown-version", "`unsupported_version`, with the versions that are spoken in")
async def unknown_version(stand: Stand) -> None:
    hand = await stand.hand()
    for peer, path, body in (
        (hand.gateway, "/v1/claims", hand.claim_body()),
        (hand.registry, "/v1/workers", {}),
    ):
        answer = await peer.ask(
            "POST", path, body, token=hand.token, headers={"Drawbar-Protocol": "99"}
        )
        answer.is_(406, "unsupported_version")
        must("1" in map(str, answer.fact("supported")), "facts.supported does not name version 1")


@case("every.error-body", 'Every error has the body `{"code", "message", "facts", "retryable"}`.')
async def error_body(stand: Stand) -> None:
    for peer in (stand.doors.gateway, stand.doors.registry):
        for path in ("/v1/claims", "/v1/workers", "/v1/nothing-like-this"):
            answer = await peer.ask("POST", path, b"no json", token="no token")
            must(400 <= answer.status < 500, f"{answer.asked}: expected 4xx, got {answer.status}")
            missing = {"code", "message", "facts", "retryable"} - answer.json().keys()
            expect(missing, set(), f"{answer.asked}: fields that the error lacks")
            expect(answer.json()["retryable"], False, f"{answer.asked}: retryable")
