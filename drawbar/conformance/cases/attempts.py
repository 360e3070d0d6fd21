"""What happens to a running attempt: heartbeats, its end, and who comes too late."""

from typing import Final

from drawbar.conformance.case import Cases, Unproved, expect, must
from drawbar.conformance.stand import Stand, finish_body

CASES: Final[Cases[Stand]] = Cases()
case = CASES.case
LONGEST_LEASE_S: Final = 6.0  # that a case waits for
PATIENCE_S: Final = 3.0


@case(
    "heartbeat.renewed",
    "For each lease `renewed`, `cancel` (renewed too: stop the job, then finish) or `gone`",
)
async def renewed(stand: Stand) -> None:
    await stand.submit({"id": "a"}, {"id": "b"})
    hand = await stand.hand()
    one, other = await hand.start(), await hand.start()
    verdicts = await hand.beats((one.id, one.fence), (other.id, other.fence), ("nobody", 1))
    found = {verdict["attempt_id"]: verdict["verdict"] for verdict in verdicts}
    wanted = {one.id: "renewed", other.id: "renewed", "nobody": "gone"}
    expect(found, wanted, "the verdicts")


@case("heartbeat.cancel", "`cancel` (renewed too: stop the job, then finish)")
async def cancel(stand: Stand) -> None:
    run_id = await stand.submit()
    hand = await stand.hand()
    attempt = await hand.start()
    (await stand.person("POST", f"/v1/runs/{run_id}/cancel", {"reason": "x"})).is_(200)
    (verdict,) = await hand.beats((attempt.id, attempt.fence))
    expect(verdict["verdict"], "cancel", "the verdict after a cancellation")
    expect((await attempt.beat()).is_(200).json()["verdict"], "cancel", "that of one attempt")
    expect((await attempt.finish(1)).is_(200).json()["kind"], "receipt", "the answer to finish")


@case("heartbeat.gone", "or `gone` with the reason")
async def gone(stand: Stand) -> None:
    await stand.submit()
    hand = await stand.hand()
    attempt = await hand.take()
    (await attempt.refuse()).is_(200)
    (verdict,) = await hand.beats((attempt.id, attempt.fence))
    expect(verdict["verdict"], "gone", "the verdict on a refused attempt")
    must(verdict.get("reason"), "`gone` comes without a reason")


@case("heartbeat.stale-fence", "or `gone` with the reason")
async def beat_stale(stand: Stand) -> None:
    await stand.submit()
    hand = await stand.hand()
    attempt = await hand.start()
    (verdict,) = await hand.beats((attempt.id, attempt.fence + 1))
    expect(verdict["verdict"], "gone", "the verdict on a wrong fence")


@case(
    "heartbeat.one", "the same for one: 200, or 404 unknown, 409 not yours any more, 410 archived."
)
async def beat_one(stand: Stand) -> None:
    await stand.submit()
    hand = await stand.hand()
    attempt = await hand.start()
    expect((await attempt.beat()).is_(200).json()["verdict"], "renewed", "the verdict")
    (await attempt.finish()).is_(200)
    must((await attempt.beat()).status in (409, 410), "a finished attempt is beaten for")
    answer = await hand.gateway.ask(
        "POST",
        "/v1/attempts/0190aaaa-0000-7000-8000-000000000000/heartbeat",
        {"fence": 1, "phase": "executing"},
        token=hand.token,
    )
    answer.is_(404, "unknown_attempt")


@case("heartbeat.others", "or `gone` with the reason")
async def beat_others(stand: Stand) -> None:
    await stand.submit()
    one, other = await stand.hand(), await stand.hand()
    attempt = await one.start()
    (verdict,) = await other.beats((attempt.id, attempt.fence))
    expect(verdict["verdict"], "gone", "the verdict on another worker's attempt")
    expect((await attempt.beat()).is_(200).json()["verdict"], "renewed", "the holder's")


@case("finish.receipt", "200: the receipt.")
async def receipt(stand: Stand) -> None:
    run_id = await stand.submit()
    attempt = await (await stand.hand()).start()
    told = (await attempt.finish(log=b"said\n")).is_(200).json()
    expect(
        (told["kind"], told["attempt_id"], told["fence"], told["job_status"]),
        ("receipt", attempt.id, attempt.fence, "success"),
        "the receipt",
    )
    must(told.get("receipt_id"), "the receipt has no receipt_id")
    shown = (await stand.person("GET", f"/v1/runs/{run_id}")).is_(200).json()
    expect(shown["status"], "success", "the run, once its only job was acknowledged")


@case("finish.exit-code", "200: the receipt.")
async def exit_code(stand: Stand) -> None:
    """Flow 5: a non-zero exit code is a fact, handled no differently."""
    run_id = await stand.submit()
    attempt = await (await stand.hand()).start()
    expect((await attempt.finish(3)).is_(200).json()["job_status"], "failed", "job_status")
    job = (await stand.person("GET", f"/v1/runs/{run_id}")).is_(200).json()["jobs"][0]
    expect((job["exit_code"], job["tries"]), (3, 1), "exit code and tries")


@case(
    "finish.again", "**Every write can be sent twice.** Answers get lost. A repeat changes nothing"
)
async def finish_again(stand: Stand) -> None:
    await stand.submit()
    attempt = await (await stand.hand()).start()
    first = (await attempt.finish(log=b"said\n")).is_(200).json()
    again = (await attempt.finish(log=b"said\n")).is_(200).json()
    expect(again["receipt_id"], first["receipt_id"], "the receipt of the same report again")


@case("finish.conflict", "409 `result_conflict`: another result was accepted before")
async def finish_conflict(stand: Stand) -> None:
    await stand.submit()
    attempt = await (await stand.hand()).start()
    (await attempt.finish(0)).is_(200)
    (await attempt.finish(1)).is_(409, "result_conflict")


@case("finish.stale-fence", "409 `stale_fence`: too late, kept as evidence.")
async def finish_stale(stand: Stand) -> None:
    await stand.submit()
    attempt = await (await stand.hand()).start()
    (await attempt.finish(fence=attempt.fence + 1)).is_(409, "stale_fence")
    (await attempt.finish()).is_(200)


@case("finish.old-attempt", "409 `stale_fence`: too late, kept as evidence.")
async def finish_old(stand: Stand) -> None:
    run_id = await stand.submit()
    one, other = await stand.hand(), await stand.hand()
    old = await one.take()
    (await old.refuse()).is_(200)
    new = await other.start()
    (await old.finish(1)).is_(409, "stale_fence")
    (await new.finish(0)).is_(200)
    shown = (await stand.person("GET", f"/v1/runs/{run_id}")).is_(200).json()
    expect(shown["status"], "success", "the run: the older attempt's report may not count")


@case("finish.late", "409 `stale_fence`: too late, kept as evidence.")
async def finish_late(stand: Stand) -> None:
    run_id = await stand.submit()
    one, other = await stand.hand(), await stand.hand()
    old = await one.take()
    lease_s = (await old.run()).is_(200).json()["lease_s"]
    if lease_s > LONGEST_LEASE_S:
        raise Unproved(f"needs a lease that ends soon: it has {lease_s:g} s")
    new = other.attempt(await other.claim(wait_s=lease_s + PATIENCE_S))
    must(new.fence > old.fence, f"the fence fell from {old.fence} to {new.fence}")
    (await old.finish(0)).is_(409, "stale_fence")
    (await new.run()).is_(200)
    (await new.finish(3)).is_(200)
    job = (await stand.person("GET", f"/v1/runs/{run_id}")).is_(200).json()["jobs"][0]
    expect(job["exit_code"], 3, "the exit code: that of the attempt that holds the lease")
    path = f"/v1/runs/{run_id}/jobs/a/attempts"
    kept = (await stand.person("GET", path)).is_(200).json()["attempts"][0]["evidence"]
    must(kept, "the report that came too late was not kept")


@case("finish.others", 'The token is genuine but does not open this door; facts["check"] says why.')
async def finish_others(stand: Stand) -> None:
    await stand.submit()
    attempt = await (await stand.hand()).start()
    other = await stand.hand()
    answer = await attempt.verb("finish", finish_body(1), other.token)
    must(answer.status in (403, 409), f"{answer.asked}: another worker got {answer.status}")
    expect((await attempt.finish()).is_(200).json()["job_status"], "success", "job_status")


@case(
    "finish.bad-input", "The message cannot be understood. Mend it; sending it again will not help."
)
async def bad_finish(stand: Stand) -> None:
    await stand.submit()
    attempt = await (await stand.hand()).start()
    for body in ({}, {"result": {"outcome": "vanished"}}):
        (await attempt.verb("finish", body, attempt.key)).is_(400, "bad_request")
    (await attempt.finish()).is_(200)


@case("finish.token", 'The token is genuine but does not open this door; facts["check"] says why.')
async def finish_token(stand: Stand) -> None:
    await stand.submit({"id": "a"}, {"id": "b"})
    hand = await stand.hand()
    mine, next_to_it = await hand.start(), await hand.start()
    mine.execution, next_to_it.execution = next_to_it.execution, mine.execution
    (await mine.finish()).is_(403, "forbidden").fact("check")
