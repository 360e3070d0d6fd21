"""How workers join, report, are wished for, and leave."""

from typing import Final

from drawbar.conformance.case import Cases, expect, must
from drawbar.conformance.stand import Stand

CASES: Final[Cases[Stand]] = Cases()
case = CASES.case


@case("enrol.joins", "201: worker_id (the same for every incarnation of a name), incarnation,")
async def joins(stand: Stand) -> None:
    name = stand.new_name()
    first = (await stand.enrol(name)).is_(201).json()
    again = (await stand.enrol(name)).is_(201).json()
    for field in ("worker_id", "incarnation", "next_report_s", "token"):
        must(first.get(field), f"POST /v1/workers: the answer has no {field}")
    expect(again["worker_id"], first["worker_id"], "the worker_id of the same name")
    must(again["incarnation"] != first["incarnation"], "both have the same incarnation")


@case(
    "enrol.wrong-secret", "POST /v1/workers` {name, host, pid, version, labels, slots} | the enrolm"
)
async def wrong_secret(stand: Stand) -> None:
    body = {"name": "x", "host": "h", "pid": 1, "version": "1", "labels": {}, "slots": 1}
    for token in (None, "not the secret", ""):
        answer = await stand.doors.registry.ask("POST", "/v1/workers", body, token=token)
        answer.is_(401, "unauthenticated").fact("check")


@case(
    "enrol.bad-input", "The message cannot be understood. Mend it; sending it again will not help."
)
async def bad_enrolment(stand: Stand) -> None:
    for mistake in ({"slots": 0}, {"name": ""}, {"pid": "many"}, {"labels": [1]}):
        answer = await stand.enrol(**{"name": stand.new_name(), **mistake})  # type: ignore[arg-type]
        answer.is_(400, "bad_request")


@case(
    "check.changes-nothing",
    "200: {status} of the worker that has the name, or null; nothing changes",
)
async def check(stand: Stand) -> None:
    name, secret = stand.new_name(), stand.doors.enrolment_secret
    ask = stand.doors.registry.ask
    before = (await ask("GET", f"/v1/names/{name}", token=secret)).is_(200).json()
    expect(before["status"], None, "the status of a name that nobody has")
    hand = await stand.hand(name)
    after = (await ask("GET", f"/v1/names/{name}", token=secret)).is_(200).json()
    must(after["status"] is not None, "the status of a name that somebody has is null")
    (await hand.report()).is_(200)


@case(
    "report.answered",
    "200: what the operator wants of it (desired, reason, deadline_s, is_now), its",
)
async def answered(stand: Stand) -> None:
    hand = await stand.hand()
    for status in ("readyForWork", "Working", "readyForWork"):
        told = (await hand.report(status)).is_(200).json()
        expect(told.get("desired"), "run", "desired of a worker that nobody told anything")
        must(told.get("next_report_s", 0) > 0, "next_report_s is no time")


@case(
    "report.unknown-status",
    "The message cannot be understood. Mend it; sending it again will not help.",
)
async def bad_report(stand: Stand) -> None:
    hand = await stand.hand()
    (await hand.report("asleep")).is_(400, "bad_request")
    (await hand.report(free_slots=-1)).is_(400, "bad_request")


@case("report.superseded", "409 `worker_superseded`: another process has the name")
async def superseded(stand: Stand) -> None:
    old = await stand.hand()
    new = await stand.hand(old.name)
    (await old.report()).is_(409, "worker_superseded")
    (await new.report()).is_(200)


@case("report.unknown-worker", "404 `unknown_worker`: enrol again.")
async def unknown_worker(stand: Stand) -> None:
    hand, token = await stand.hand(), stand.client_token()
    path = f"/v1/workers/{hand.worker_id}/leave"
    left = {"incarnation": hand.incarnation}
    (await hand.registry.ask("POST", path, left, token=hand.token)).is_(200)
    (await hand.registry.ask("DELETE", f"/v1/workers/{hand.name}", token=token)).is_(200)
    (await hand.report()).is_(404, "unknown_worker")


@case("report.unknown-incarnation", "404 `unknown_worker`: enrol again.")
async def unknown_incarnation(stand: Stand) -> None:
    hand = await stand.hand()
    later = hand.incarnation + 1
    (await hand.report(incarnation=later)).is_(404, "unknown_worker")
    (await hand.report()).is_(200)


@case("report.own-token", "A 401 or 403 names in `facts.check` the check that failed.")
async def own_token(stand: Stand) -> None:
    one, other = await stand.hand(), await stand.hand()
    path = f"/v1/workers/{one.worker_id}/status"
    body = {"incarnation": 1, "status": "readyForWork", "attempts": [], "free_slots": 1}
    answer = await stand.doors.registry.ask("PUT", path, body, token=other.token)
    answer.is_(403, "forbidden").fact("check")
    for token in (None, "rubbish", stand.doors.enrolment_secret):
        answer = await stand.doors.registry.ask("PUT", path, body, token=token)
        answer.is_(401, "unauthenticated").fact("check")


@case("leave.offline", "200: offline at once")
async def leave(stand: Stand) -> None:
    hand, token = await stand.hand(), stand.client_token()
    (await hand.report()).is_(200)
    body = {"incarnation": hand.incarnation}
    for _ in range(2):  # every write can be sent twice
        path = f"/v1/workers/{hand.worker_id}/leave"
        (await hand.registry.ask("POST", path, body, token=hand.token)).is_(200)
    shown = await hand.registry.ask("GET", f"/v1/workers/{hand.name}", token=token)
    expect(shown.is_(200).json()["worker"]["status"], "offline", "the status after leaving")


@case("leave.superseded", "409 `worker_superseded`: another process has the name")
async def leave_superseded(stand: Stand) -> None:
    old = await stand.hand()
    new = await stand.hand(old.name)
    (await new.report()).is_(200)
    path, body = f"/v1/workers/{old.worker_id}/leave", {"incarnation": old.incarnation}
    await old.registry.ask("POST", path, body, token=old.token)
    (await new.report()).is_(200)
    shown = await new.registry.ask("GET", f"/v1/workers/{new.name}", token=stand.client_token())
    status = shown.is_(200).json()["worker"]["status"]
    must(status != "offline", "an older incarnation that leaves takes the newer one along")


@case("wish.drain", "200: finish what runs, claim nothing, then end;")
async def drain(stand: Stand) -> None:
    hand = await stand.hand()
    body = {"reason": "conformance", "deadline_s": 60}
    (await stand.operator("drain", hand.name, body)).is_(200)
    told = (await hand.report()).is_(200).json()
    expect(told["desired"], "drain", "what the worker hears")
    expect(told["reason"], "conformance", "the reason that it hears")


@case("wish.pause", "200: finish what runs, claim nothing, until resumed, or for `for_s`")
async def pause(stand: Stand) -> None:
    hand = await stand.hand()
    (await stand.operator("pause", hand.name, {"reason": "conformance"})).is_(200)
    expect((await hand.report()).is_(200).json()["desired"], "pause", "what it hears")
    (await stand.operator("resume", hand.name, {"reason": "conformance"})).is_(200)
    expect((await hand.report()).is_(200).json()["desired"], "run", "what it hears")


@case("wish.stop", "200: stop what runs, then end; with `is_now` it is killed")
async def stop(stand: Stand) -> None:
    hand = await stand.hand()
    body = {"reason": "conformance", "is_now": True}
    (await stand.operator("stop", hand.name, body)).is_(200)
    told = (await hand.report()).is_(200).json()
    expect((told["desired"], told["is_now"]), ("stop", True), "what it hears")


@case("wish.settings", "200: slots and labels are changed, also for later incarnations;")
async def settings(stand: Stand) -> None:
    hand = await stand.hand()
    (await stand.operator("settings", hand.name, {"slots": 7, "reason": "x"})).is_(200)
    expect((await hand.report()).is_(200).json()["slots"], 7, "the slots that it hears of")
    told = (await stand.enrol(hand.name)).is_(201).json()
    expect(told["slots"], 7, "the slots of its next incarnation")


@case(
    "wish.operators-only",
    'The token is genuine but does not open this door; facts["check"] says why.',
)
async def operators_only(stand: Stand) -> None:
    hand = await stand.hand()
    path, body = f"/v1/workers/{hand.name}/drain", {"reason": "conformance"}
    answer = await hand.registry.ask("POST", path, body, token=hand.token)
    answer.is_(403, "forbidden").fact("check")
