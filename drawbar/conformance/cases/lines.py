"""The same verbs as frames on one WebSocket."""

import json
from typing import Any, Final

import aiohttp

from drawbar.conformance.case import Breach, Cases, expect, must
from drawbar.conformance.stand import Hand, Stand, finish_body

CASES: Final[Cases[Stand]] = Cases()
case = CASES.case
ANSWER_S: Final = 10.0


async def say(
    line: aiohttp.ClientWebSocketResponse, number: int, verb: str, token: str | None, body: Any
) -> None:
    head = {"number": number, "verb": verb, "token": token}
    await line.send_bytes(json.dumps(head).encode() + b"\n" + json.dumps(body).encode())


async def hear(line: aiohttp.ClientWebSocketResponse) -> tuple[dict[str, Any], dict[str, Any]]:
    """The head and the body of the next answer."""
    try:
        frame = await line.receive(timeout=ANSWER_S)
    except TimeoutError:
        raise Breach(f"no answer on the line within {ANSWER_S:g} s") from None
    if frame.type is not aiohttp.WSMsgType.BINARY:
        raise Breach(f"instead of an answer there was {frame.type.name} on the line")
    head, _, body = frame.data.partition(b"\n")
    return json.loads(head), json.loads(body or b"null")


async def call(
    line: aiohttp.ClientWebSocketResponse, verb: str, token: str | None, body: Any
) -> Any:
    """The answer, which is no error."""
    await say(line, 1, verb, token, body)
    head, answer = await hear(line)
    expect((head["number"], head["is_error"]), (1, False), f"{verb} on the line: {answer}")
    return answer


async def ended(line: aiohttp.ClientWebSocketResponse) -> bool:
    try:
        frame = await line.receive(timeout=ANSWER_S)
    except TimeoutError:
        return False
    return frame.type in (
        aiohttp.WSMsgType.CLOSE,
        aiohttp.WSMsgType.CLOSED,
        aiohttp.WSMsgType.CLOSING,
        aiohttp.WSMsgType.ERROR,
    )


def of(hand: Hand, **more: Any) -> dict[str, Any]:
    return {"worker_id": hand.worker_id, **more}


@case("line.job", "claim, refuse, run, heartbeat and finish as frames;")
async def a_job(stand: Stand) -> None:
    await stand.submit()
    hand = await stand.hand()
    async with await hand.gateway.line(hand.token) as line:
        found = await call(line, "claim", hand.token, of(hand, **hand.claim_body(wait_s=5)))
        (claim,) = found["claims"]
        names = of(hand, attempt_id=claim["attempt_id"], fence=claim["fence"])
        context = await call(line, "run", claim["token"], {**names, "host": "h", "pid": 1})
        beat = {"attempt_id": claim["attempt_id"], "fence": claim["fence"], "phase": "executing"}
        beaten = await call(line, "heartbeat", hand.token, of(hand, leases=[beat]))
        expect(beaten["leases"][0]["verdict"], "renewed", "the verdict")
        told = await call(line, "finish", context["token"], {**names, **finish_body(0)})
        expect(told["kind"], "receipt", "the answer to finish")


@case("line.refuse", "claim, refuse, run, heartbeat and finish as frames;")
async def refuse(stand: Stand) -> None:
    await stand.submit()
    hand = await stand.hand()
    attempt = await hand.take()
    async with await hand.gateway.line(hand.token) as line:
        names = of(hand, attempt_id=attempt.id, fence=attempt.fence)
        await call(line, "refuse", attempt.workload, {**names, "reason": "conformance"})
    (await (await stand.hand()).claim(wait_s=5)).is_(200)


@case("line.no-job", "no job is a claim's")
async def no_job(stand: Stand) -> None:
    hand = await stand.hand()
    async with await hand.gateway.line(hand.token) as line:
        found = await call(line, "claim", hand.token, of(hand, **hand.claim_body()))
    expect((found["claims"], found["reason"]), ([], "no_job"), "the answer")


@case("line.order", "- **Answers** come when they are ready, in any order.")
async def order(stand: Stand) -> None:
    hand = await stand.hand()
    async with await hand.gateway.line(hand.token) as line:
        await say(line, 1, "claim", hand.token, of(hand, **hand.claim_body(wait_s=1)))
        await say(line, 2, "heartbeat", hand.token, of(hand, leases=[]))
        first, _ = await hear(line)
        second, _ = await hear(line)
    expect((first["number"], second["number"]), (2, 1), "the order of the answers")


@case("line.give-up", "a claim that waits claims nothing.")
async def give_up(stand: Stand) -> None:
    hand = await stand.hand()
    async with await hand.gateway.line(hand.token) as line:
        await say(line, 1, "claim", hand.token, of(hand, **hand.claim_body(wait_s=5)))
        await stand.runtime.sleep(0.2)
        await say(line, 1, "give_up", None, None)
        await stand.runtime.sleep(0.2)
        await stand.submit()
        (await (await stand.hand()).claim(wait_s=2)).is_(200)


@case("line.error", "the answer; after an error, its body as below")
async def error(stand: Stand) -> None:
    hand = await stand.hand()
    async with await hand.gateway.line(hand.token) as line:
        for token, body, code in (
            (hand.token, of(hand), "bad_request"),
            (None, of(hand, **hand.claim_body()), "unauthenticated"),
        ):
            await say(line, 1, "claim", token, body)
            head, told = await hear(line)
            expect((head["is_error"], told.get("code")), (True, code), "the answer")


@case("line.others", "the worker that the message names must be the token's own.")
async def others(stand: Stand) -> None:
    one, other = await stand.hand(), await stand.hand()
    async with await one.gateway.line(one.token) as line:
        await say(line, 1, "claim", one.token, of(other, **one.claim_body()))
        head, told = await hear(line)
    expect((head["is_error"], told.get("code")), (True, "forbidden"), "the answer")


@case("line.number-in-use", "A frame that is none, or whose number is in use, ends the line,")
async def number_in_use(stand: Stand) -> None:
    hand = await stand.hand()
    async with await hand.gateway.line(hand.token) as line:
        for _ in range(2):
            await say(line, 7, "claim", hand.token, of(hand, **hand.claim_body(wait_s=10)))
        must(await ended(line), "the line goes on after a number that was in use")


@case("line.no-frame", "A frame that is none, or whose number is in use, ends the line,")
async def no_frame(stand: Stand) -> None:
    hand = await stand.hand()
    for peer in (hand.gateway, hand.registry):
        async with await peer.line(hand.token) as line:
            await line.send_bytes(b"nothing like a frame")
            must(await ended(line), f"the line of {peer.url} goes on after what is no frame")


@case("line.handshake", "The handshake takes a worker token")
async def handshake(stand: Stand) -> None:
    hand = await stand.hand()
    for peer in (hand.gateway, hand.registry):
        for token in (None, "rubbish"):
            answer = await peer.ask("GET", "/v1/line", token=token)
            answer.is_(401, "unauthenticated").fact("check")


@case("line.report", "reports as frames;")
async def report(stand: Stand) -> None:
    hand = await stand.hand()
    body = {"incarnation": hand.incarnation, "status": "Working", "attempts": [], "free_slots": 0}
    async with await hand.registry.line(hand.token) as line:
        told = await call(line, "report", hand.token, of(hand, **body))
    expect(told["desired"], "run", "desired")
