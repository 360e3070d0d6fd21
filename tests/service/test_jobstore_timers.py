"""Timers of the job service: they outlast a restart, and none outlasts its job."""

import asyncio
from pathlib import Path

import pytest

from shared.errors import StoreFailed
from shared.faultpoints import Facts, injector
from shared.protocol.history import PruneRequest
from tests.support.jobstore import Hands, a_job, hands_on, retry_at_once
from tests.support.runtime import ManualRuntime

NOBODY = {"gpu": "yes"}


async def a_pruned_job_that_nobody_took(hands: Hands) -> None:
    run_id = await hands.submit(a_job("gone", requires=NOBODY, queue_timeout_s=60))
    await hands.cancel(run_id)
    await hands.runtime.advance(1)
    assert (await hands.service.prune(PruneRequest(keep_s=0))).runs == 1


async def test_a_claim_that_lapses_after_a_restart_has_its_queue_timeout(tmp_path: Path) -> None:
    runtime = ManualRuntime()
    async with hands_on(tmp_path, runtime) as before:
        run_id = await before.submit(a_job("a", queue_timeout_s=60))
        await before.claim()

    async with hands_on(tmp_path, runtime) as after:
        await runtime.advance(15.2)
        await after.until(run_id, "job.lapsed")
        await runtime.advance(60.2)
        await after.until(run_id, "run.failed")
        assert await after.reason(run_id, "a") == "queue_timeout"


async def test_the_queue_timeout_of_a_pruned_job_stops_nothing(hands: Hands) -> None:
    await a_pruned_job_that_nobody_took(hands)
    await hands.runtime.advance(60.2)

    run_id = await hands.submit(a_job("a", retry=retry_at_once(1)))
    await hands.do(exit_code=1)
    await hands.runtime.advance(10.2)

    await hands.until(run_id, "job.queued", times=2)


async def test_the_queue_timeout_of_a_pruned_job_is_not_for_who_has_its_number(
    hands: Hands,
) -> None:
    await a_pruned_job_that_nobody_took(hands)
    run_id = await hands.submit(a_job("a", requires=NOBODY, queue_timeout_s=600))

    await hands.runtime.advance(60.2)
    other = await hands.submit(a_job("b", retry=retry_at_once(1)))
    await hands.do(exit_code=1)
    await hands.runtime.advance(10.2)
    await hands.until(other, "job.queued", times=2)

    assert (await hands.status(run_id))["a"] == "queued"


async def test_a_service_whose_timers_died_says_so(
    hands: Hands, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def die(*_: object, **__: object) -> None:
        raise ArithmeticError

    monkeypatch.setattr("jobstore.keeper.Keeper.keep_once", die)
    await hands.runtime.advance(0.2)

    with pytest.raises(ArithmeticError):
        async with asyncio.timeout(5):
            await hands.service.failure


async def test_a_service_whose_store_failed_says_so(tmp_path: Path) -> None:
    is_broken = False

    async def fail(point: str, _: Facts) -> None:
        if is_broken and point == "jobstore.store.before_commit":
            raise StoreFailed("no space left on device")

    token = injector.set(fail)
    try:
        async with hands_on(tmp_path) as hands:
            is_broken = True
            with pytest.raises(StoreFailed):
                await hands.submit(a_job("a"))
            with pytest.raises(StoreFailed):
                async with asyncio.timeout(5):
                    await hands.service.failure
    finally:
        injector.reset(token)
