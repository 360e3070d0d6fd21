"""How jobs are claimed, handed back, and started."""

import asyncio
from typing import Final

from drawbar.conformance.case import Cases, expect, must
from drawbar.conformance.stand import Stand

CASES: Final[Cases[Stand]] = Cases()
case = CASES.case


@case("claim.no-job", "204: no job, `Drawbar-Reason` says why (`no_job`, `jobstore_unavailable`)")
async def no_job(stand: Stand) -> None:
    answer = (await (await stand.hand()).claim()).is_(204)
    expect(answer.headers.get("Drawbar-Reason"), "no_job", "Drawbar-Reason")


@case(
    "claim.job",
    "200 {claims}: each with attempt_id, fence, run_id, job_id, start_ttl_s and a workload",
)
async def a_job(stand: Stand) -> None:
    run_id = await stand.submit()
    hand = await stand.hand()
    claims = (await hand.claim(wait_s=5)).is_(200).json()["claims"]
    expect(len(claims), 1, "claims")
    for field in ("attempt_id", "fence", "start_ttl_s", "token"):
        must(claims[0].get(field), f"the claim has no {field}")
    expect((claims[0]["run_id"], claims[0]["job_id"]), (run_id, "a"), "the job")


@case(
    "claim.same-id",
    "by its `claim_id` (claim), its attempt and fence (refuse, run, finish), its offset",
)
async def same_id(stand: Stand) -> None:
    await stand.submit({"id": "a"}, {"id": "b"})
    hand, claim_id = await stand.hand(), stand.runtime.new_id()
    first = (await hand.claim(claim_id, wait_s=5)).is_(200).json()["claims"]
    again = (await hand.claim(claim_id, wait_s=0)).is_(200).json()["claims"]
    for name in ("attempt_id", "fence", "job_id"):
        same = [claim[name] for claim in again]
        expect(same, [claim[name] for claim in first], f"{name} of the same claim again")


@case("claim.once", "200 {claims}: each with attempt_id, fence,")
async def once(stand: Stand) -> None:
    await stand.submit()
    one, other = await stand.hand(), await stand.hand()
    answers = await asyncio.gather(one.claim(wait_s=1), other.claim(wait_s=1))
    expect(sorted(a.status for a in answers), [200, 204], "the answers to two who want one job")


@case("claim.slots", "{claim_id, labels, free_slots, wait_s}")
async def slots(stand: Stand) -> None:
    await stand.submit(*({"id": name} for name in "abc"))
    claims = (await (await stand.hand()).claim(slots=2, wait_s=5)).is_(200).json()["claims"]
    expect(len(claims), 2, "claims for two free slots, with three jobs ready")


@case("claim.labels", "{claim_id, labels, free_slots, wait_s}")
async def labels(stand: Stand) -> None:
    await stand.submit()
    hand = await stand.hand()
    hand.label = "another"
    (await hand.claim()).is_(204)


@case("claim.waits", "204: no job, `Drawbar-Reason` says why (`no_job`, `jobstore_unavailable`)")
async def waits(stand: Stand) -> None:
    hand = await stand.hand()
    began = stand.runtime.mono()
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(hand.claim(wait_s=10))
        await stand.runtime.sleep(0.2)
        await stand.submit()
    waiting.result().is_(200)
    took_s = stand.runtime.mono() - began
    must(took_s < 5, f"a claim that waited heard of a new job after {took_s:.1f} s")


@case(
    "claim.bad-input", "The message cannot be understood. Mend it; sending it again will not help."
)
async def bad_claim(stand: Stand) -> None:
    hand = await stand.hand()
    body = hand.claim_body()
    wrong: list[object] = [b"no json", [], {}, "text"]
    wrong += [body | {"free_slots": 0}, body | {"wait_s": -1}, body | {"claim_id": ""}]
    for said in wrong:
        answer = await hand.gateway.ask("POST", "/v1/claims", said, token=hand.token)
        answer.is_(400, "bad_request")
    (await hand.claim()).is_(204)  # nothing broke


@case(
    "claim.token",
    'No token, or one that does not check out; facts["check"] names the check that failed.',
)
async def claim_token(stand: Stand) -> None:
    hand = await stand.hand()
    body = hand.claim_body()
    head, payload, signature = hand.token.split(".")
    forged = f"{head}.{payload}.{signature[:-6]}AAAAAA"
    unsigned = f"eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{payload}."  # {"alg":"none","typ":"JWT"}
    for token in (None, "rubbish", forged, unsigned, stand.doors.enrolment_secret):
        answer = await hand.gateway.ask("POST", "/v1/claims", body, token=token)
        answer.is_(401, "unauthenticated").fact("check")


@case("refuse.back", "200: the job is back in its place, no try spent")
async def refuse(stand: Stand) -> None:
    await stand.submit()
    one, other = await stand.hand(), await stand.hand()
    refused = await one.take()
    (await refused.refuse()).is_(200)
    again = await other.take()
    must(again.fence > refused.fence, f"the fence fell from {refused.fence} to {again.fence}")
    context = (await again.run()).is_(200).json()
    expect(context["tries"], 1, "the tries after one refusal")


@case(
    "refuse.again", "**Every write can be sent twice.** Answers get lost. A repeat changes nothing"
)
async def refuse_again(stand: Stand) -> None:
    await stand.submit()
    attempt = await (await stand.hand()).take()
    (await attempt.refuse()).is_(200)
    (await attempt.refuse()).is_(200)


@case("refuse.rests", "200: the job is back in its place, no try spent")
async def refuse_rests(stand: Stand) -> None:
    """Flow 6 must not spin: the job rests for whoever refused it."""
    await stand.submit()
    hand = await stand.hand()
    (await (await hand.take()).refuse()).is_(200)
    (await hand.claim()).is_(204)


@case(
    "refuse.running",
    'The thing is in another state than the verb needs; facts["state"] is the state that won.',
)
async def refuse_running(stand: Stand) -> None:
    await stand.submit()
    attempt = await (await stand.hand()).start()
    must((await attempt.refuse()).status == 409, "a running attempt could be refused")
    expect((await attempt.beat()).is_(200).json()["verdict"], "renewed", "the verdict after it")


@case(
    "refuse.stale-fence",
    "The attempt no longer owns the job. Stop the process; the result was kept as evidence.",
)
async def refuse_stale_fence(stand: Stand) -> None:
    await stand.submit()
    attempt = await (await stand.hand()).take()
    body = {"reason": "conformance"}
    answer = await attempt.verb("refuse", body, attempt.workload, fence=attempt.fence + 1)
    must(answer.status == 409, f"{answer.asked}: a wrong fence got {answer.status}")
    (await attempt.run()).is_(200)


@case("refuse.token", 'The token is genuine but does not open this door; facts["check"] says why.')
async def refuse_token(stand: Stand) -> None:
    await stand.submit({"id": "a"}, {"id": "b"})
    one, other = await stand.hand(), await stand.hand()
    mine, theirs = await one.take(), await other.take()
    body = {"reason": "conformance"}
    for token in (theirs.workload, other.token):
        (await mine.verb("refuse", body, token)).is_(403, "forbidden").fact("check")
    (await mine.verb("refuse", body, None)).is_(401, "unauthenticated")
    (await mine.run()).is_(200)


@case(
    "run.context",
    "200: the run context (argv, env, inherit_env, working_dir, timeout_s, artifacts, inputs,",
)
async def run_context(stand: Stand) -> None:
    await stand.submit({"id": "a", "env": {"NAME": "value"}, "timeout_s": 60})
    attempt = await (await stand.hand()).take()
    context = (await attempt.run()).is_(200).json()
    for field in ("argv", "env", "timeout_s", "tries", "lease_s", "heartbeat_s", "token"):
        must(context.get(field), f"the run context has no {field}")
    for field in ("working_dir", "artifacts", "inputs", "tries_left", "should_retry"):
        must(field in context, f"the run context has no {field}")
    expect(context["env"].get("NAME"), "value", "env of the run context")
    expect(context["fence"], attempt.fence, "fence of the run context")
    must(context["heartbeat_s"] < context["lease_s"], "heartbeats come later than the lease ends")


@case("run.again", "**Every write can be sent twice.** Answers get lost. A repeat changes nothing")
async def run_again(stand: Stand) -> None:
    await stand.submit()
    attempt = await (await stand.hand()).take()
    first = (await attempt.run()).is_(200).json()
    again = (await attempt.run()).is_(200).json()
    expect((again["tries"], again["argv"]), (first["tries"], first["argv"]), "tries and argv")


@case("run.after-refuse", "409: do not start; `facts.state` is the state that won")
async def run_after_refuse(stand: Stand) -> None:
    await stand.submit()
    attempt = await (await stand.hand()).take()
    (await attempt.refuse()).is_(200)
    (await attempt.run()).is_(409).fact("state")


@case("run.after-finish", "409: do not start; `facts.state` is the state that won")
async def run_after_finish(stand: Stand) -> None:
    await stand.submit()
    attempt = await (await stand.hand()).start()
    (await attempt.finish()).is_(200)
    (await attempt.run()).is_(409).fact("state")


@case("run.cancelled", "409: do not start; `facts.state` is the state that won")
async def run_cancelled(stand: Stand) -> None:
    run_id = await stand.submit()
    attempt = await (await stand.hand()).take()
    (await stand.person("POST", f"/v1/runs/{run_id}/cancel", {"reason": "x"})).is_(200)
    (await attempt.run()).is_(409).fact("state")


@case(
    "run.stale-fence",
    "The attempt no longer owns the job. Stop the process; the result was kept as evidence.",
)
async def run_stale_fence(stand: Stand) -> None:
    await stand.submit()
    attempt = await (await stand.hand()).take()
    must((await attempt.run(fence=attempt.fence + 1)).status == 409, "it ran with a wrong fence")
    (await attempt.run()).is_(200)


@case("run.token", 'The token is genuine but does not open this door; facts["check"] says why.')
async def run_token(stand: Stand) -> None:
    await stand.submit({"id": "a"}, {"id": "b"})
    one, other = await stand.hand(), await stand.hand()
    mine, theirs = await one.take(), await other.take()
    body = {"host": "here", "pid": 1}
    for token in (theirs.workload, one.token):  # another attempt's; one that only claims
        (await mine.verb("run", body, token)).is_(403, "forbidden").fact("check")
    (await mine.verb("run", body, None)).is_(401, "unauthenticated")
