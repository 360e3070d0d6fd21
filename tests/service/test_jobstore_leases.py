"""Claims, fences, leases, losses: who may do what with a job, and until when."""

import asyncio
from pathlib import Path

import pytest

from shared.errors import ResultConflict, StaleFence, UnknownAttempt
from shared.faultpoints import Facts, injector
from shared.ids import AttemptId, WorkerId
from shared.protocol.gateway import Claim, Outcome, Receipt, Verdict
from tests.support.jobstore import ANN, BEN, Hands, a_job, hands_on
from tests.support.runtime import ManualRuntime

LEASE_S, START_TTL_S, REST_S = 30.0, 15.0, 10.0


async def test_the_same_claim_id_gets_the_same_claims_again(hands: Hands) -> None:
    await hands.submit(a_job("a"), a_job("b"))

    first = await hands.claim(claim_id="same")
    again = await hands.claim(claim_id="same")

    assert again == first


async def test_a_newer_claim_of_a_worker_supersedes_its_waiting_one(hands: Hands) -> None:
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        old = group.create_task(hands.claim(wait_s=60))
        await hands.until_asked()
        new = group.create_task(hands.claim(wait_s=60))
        assert await old == []
        await hands.submit(a_job("a"))

    assert [claim.job_id for claim in new.result()] == ["a"]


async def test_the_fence_rises_with_every_claim(hands: Hands) -> None:
    await hands.submit(a_job("a"))
    (first,) = await hands.claim(ANN)
    await hands.refuse(first)

    (second,) = await hands.claim(BEN)

    assert second.fence == first.fence + 1


async def test_an_old_attempt_cannot_finish_a_newer_one(hands: Hands) -> None:
    run_id = await hands.submit(a_job("a"))
    old = await hands.start(ANN)
    await hands.runtime.advance(LEASE_S + 1)
    await hands.until(run_id, "job.requeued")
    new = await hands.start(BEN)

    with pytest.raises(StaleFence):
        await hands.finish(old, 1)
    await hands.finish(new, 0, BEN)

    assert (await hands.status(run_id))["a"] == "success"


async def test_a_late_report_is_kept_as_evidence(hands: Hands) -> None:
    run_id = await hands.submit(a_job("a"))
    old = await hands.start(ANN)
    await hands.runtime.advance(LEASE_S + 1)
    await hands.until(run_id, "job.requeued")

    with pytest.raises(StaleFence) as caught:
        await hands.finish(old, 7)

    (attempt,) = await hands.attempts(run_id, "a")
    assert caught.value.facts["state"] == "lost"
    assert attempt.evidence is not None
    assert attempt.evidence["result"]["exit_code"] == 7


async def test_a_beat_keeps_the_lease(hands: Hands) -> None:
    run_id = await hands.submit(a_job("a"))
    claim = await hands.start()

    for _ in range(4):
        await hands.runtime.advance(LEASE_S * 0.4)
        assert (await hands.beat(claim)).verdict is Verdict.RENEWED

    assert (await hands.status(run_id))["a"] == "running"


async def test_a_beat_after_the_end_says_who_has_the_job(hands: Hands) -> None:
    run_id = await hands.submit(a_job("a"))
    claim = await hands.start()
    await hands.runtime.advance(LEASE_S + 1)
    await hands.until(run_id, "attempt.lost")

    verdict = await hands.beat(claim)

    assert (verdict.verdict, verdict.reason) == (Verdict.GONE, "lost")


async def test_another_worker_cannot_beat_for_it(hands: Hands) -> None:
    await hands.submit(a_job("a"))
    claim = await hands.start(ANN)

    assert (await hands.beat(claim, BEN)).verdict is Verdict.GONE
    assert (await hands.beat(claim, ANN)).verdict is Verdict.RENEWED


async def test_a_claim_that_is_not_started_lapses_and_costs_nothing(hands: Hands) -> None:
    run_id = await hands.submit(a_job("a"))
    (claim,) = await hands.claim(ANN)

    await hands.runtime.advance(START_TTL_S + 1)
    await hands.until(run_id, "job.lapsed")

    job = await hands.job(run_id, "a")
    assert (job.status.value, job.tries, job.attempts) == ("queued", 0, 0)
    with pytest.raises(StaleFence):
        await hands.run(claim)


async def test_a_refusal_costs_no_try_and_keeps_the_place(hands: Hands) -> None:
    run_id = await hands.submit(a_job("a"), a_job("b"))
    (claim,) = await hands.claim(ANN)

    await hands.refuse(claim)
    await hands.refuse(claim)  # the first answer was lost

    job = await hands.job(run_id, "a")
    assert (job.tries, job.refusals) == (0, 1)
    assert [c.job_id for c in await hands.claim(BEN, slots=9)] == ["a", "b"]


async def test_a_refused_job_rests_for_the_worker_that_refused_it(hands: Hands) -> None:
    await hands.submit(a_job("a"))
    (claim,) = await hands.claim(ANN)
    await hands.refuse(claim)

    at_once = await hands.claim(ANN)
    await hands.runtime.advance(REST_S + 0.1)
    later = await hands.claim(ANN)

    assert (at_once, [c.job_id for c in later]) == ([], ["a"])


async def test_a_rest_is_kept_when_those_of_workers_that_are_gone_are_forgotten(
    hands: Hands, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobstore.store.waiting.RESTING", 2)
    await hands.submit(a_job("a"), a_job("b"))
    claims = await hands.claim(ANN, slots=2)
    for claim in claims:
        await hands.refuse(claim)
    for name in ("ben", "cid", "dan"):  # each refuses, and asks no more
        await hands.runtime.advance(1)
        for claim in await hands.claim(WorkerId(name), slots=2):
            await hands.refuse(claim, WorkerId(name))

    at_once = await hands.claim(ANN, slots=2)
    await hands.runtime.advance(REST_S)
    later = await hands.claim(ANN, slots=2)

    assert (at_once, sorted(claim.job_id for claim in later)) == ([], ["a", "b"])


async def test_a_waiting_worker_is_served_when_the_rest_is_over(hands: Hands) -> None:
    await hands.submit(a_job("a"))
    (claim,) = await hands.claim(ANN)
    await hands.refuse(claim)

    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        waiting = group.create_task(hands.claim(ANN, wait_s=60))
        await hands.until_asked()
        await hands.runtime.advance(REST_S + 0.5)

    assert [c.job_id for c in waiting.result()] == ["a"]


async def test_running_twice_spends_one_try(hands: Hands) -> None:
    run_id = await hands.submit(a_job("a"))
    claim = await hands.start()

    again = await hands.run(claim)

    assert again.tries == 1
    assert (await hands.job(run_id, "a")).tries == 1


async def test_a_running_job_cannot_be_refused(hands: Hands) -> None:
    await hands.submit(a_job("a"))
    claim = await hands.start()

    with pytest.raises(StaleFence):
        await hands.refuse(claim)


async def test_the_same_finish_gets_the_same_receipt(hands: Hands) -> None:
    await hands.submit(a_job("a"))
    claim = await hands.start()

    first, again = await hands.finish(claim), await hands.finish(claim)

    assert isinstance(first, Receipt)
    assert again == first


async def test_another_result_for_the_same_attempt_is_refused(hands: Hands) -> None:
    run_id = await hands.submit(a_job("a"))
    claim = await hands.start()
    await hands.finish(claim, 0)

    with pytest.raises(ResultConflict):
        await hands.finish(claim, 1)

    assert (await hands.status(run_id))["a"] == "success"


async def test_nothing_is_known_of_an_attempt_that_never_was(hands: Hands) -> None:
    ghost = Claim(attempt_id=AttemptId("0" * 36), fence=1, run_id=1, job_id="a", start_ttl_s=1)

    with pytest.raises(UnknownAttempt):
        await hands.run(ghost)
    with pytest.raises(UnknownAttempt):
        await hands.finish(ghost)
    assert (await hands.beat(ghost)).reason == "unknown"


async def test_a_job_that_takes_three_workers_down_is_poison(hands: Hands) -> None:
    run_id = await hands.submit(a_job("a"))

    for n in range(3):
        await hands.start()
        await hands.runtime.advance(LEASE_S + 1)
        await hands.until(run_id, "attempt.lost", times=n + 1)

    job = await hands.job(run_id, "a")
    assert job.status.value == "failed"
    assert job.reason is not None
    assert job.reason.what == "poison"


async def test_a_drained_attempt_costs_no_try(hands: Hands) -> None:
    run_id = await hands.submit(a_job("a"))
    claim = await hands.start()

    await hands.finish(claim, None, outcome=Outcome.DRAINED)

    job = await hands.job(run_id, "a")
    assert (job.status.value, job.tries) == ("queued", 0)


async def test_a_service_that_slept_blames_no_worker(hands: Hands) -> None:
    run_id = await hands.submit(a_job("a"))
    claim = await hands.start()

    hands.runtime._move_to(hands.runtime.mono() + 3_600)  # SIGSTOP: nothing ran meanwhile
    await hands.runtime.advance(1)

    assert (await hands.beat(claim)).verdict is Verdict.RENEWED
    assert (await hands.status(run_id))["a"] == "running"


async def test_a_stepped_wall_clock_ends_no_lease(hands: Hands) -> None:
    run_id = await hands.submit(a_job("a"))
    claim = await hands.start()

    hands.runtime.step_wall_clock(3_600)
    await hands.runtime.advance(1)

    assert (await hands.beat(claim)).verdict is Verdict.RENEWED
    assert (await hands.status(run_id))["a"] == "running"


async def test_leases_are_granted_anew_after_a_restart(tmp_path: Path) -> None:
    runtime = ManualRuntime()
    async with hands_on(tmp_path, runtime) as before:
        run_id = await before.submit(a_job("runs"), a_job("claimed"))
        claim = await before.start()
        await before.claim()
    await runtime.advance(3_600)

    async with hands_on(tmp_path, runtime) as after:
        await runtime.advance(START_TTL_S + 1)
        await after.until(run_id, "job.lapsed")
        verdict = await after.beat(claim)
        receipt = await after.finish(claim)

    assert verdict.verdict is Verdict.RENEWED
    assert isinstance(receipt, Receipt)


async def test_a_receipt_outlasts_a_restart(tmp_path: Path) -> None:
    async with hands_on(tmp_path) as before:
        await before.submit(a_job("a"))
        claim = await before.start()
        receipt = await before.finish(claim)

    async with hands_on(tmp_path) as after:
        assert await after.finish(claim) == receipt


async def test_a_lease_runs_out_also_while_the_store_sheds_load(
    hands: Hands, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = await hands.submit(a_job("a"))
    await hands.start()

    monkeypatch.setattr("shared.sqlite.MAX_WAITING", 0)
    await hands.runtime.advance(31)

    await hands.until(run_id, "attempt.lost")
    assert (await hands.status(run_id))["a"] == "queued"


async def test_a_claim_that_is_run_while_it_is_found_to_lapse_is_not_lost(tmp_path: Path) -> None:
    # The disk is slow: `run` waits for its commit when the claim falls due.
    disk, is_slow = asyncio.Event(), False

    async def hold_up(point: str, _: Facts) -> None:
        if is_slow and point == "jobstore.store.before_commit":
            await disk.wait()

    injector.set(hold_up)
    async with hands_on(tmp_path) as hands, asyncio.timeout(10), asyncio.TaskGroup() as group:
        run_id = await hands.submit(a_job("a"))
        (claim,) = await hands.claim()
        is_slow = True
        running = group.create_task(hands.run(claim))
        await hands.runtime.advance(START_TTL_S + 1)
        disk.set()
        assert (await running).tries == 1

        assert (await hands.beat(claim)).verdict is Verdict.RENEWED
        await hands.finish(claim)

        assert (await hands.status(run_id))["a"] == "success"


async def test_evidence_is_kept_once_and_from_nobody_else(hands: Hands) -> None:
    run_id = await hands.submit(a_job("a"))
    old = await hands.start(ANN)
    with pytest.raises(StaleFence):
        await hands.finish(old, 3, BEN)
    await hands.runtime.advance(LEASE_S + 1)
    await hands.until(run_id, "job.requeued")

    for _ in range(3):
        with pytest.raises(StaleFence):
            await hands.finish(old, 7, ANN)

    (attempt,) = await hands.attempts(run_id, "a")
    events = (await hands.service.list_events(run_id, after=0, limit=99)).events
    assert attempt.evidence is not None
    assert attempt.evidence["result"]["exit_code"] == 7
    assert [event.kind for event in events].count("attempt.reported_late") == 1
