"""Jobs that are stopped, leases that end, and workers that pause, drain and leave."""

import asyncio

from shared.protocol.gateway import Outcome
from shared.protocol.states import AttemptStatus, Desired
from tests.support.gateway import Job
from tests.support.worker_stage import WorkerStage

# -- stopping a job --------------------------------------------------------------------------------


async def test_a_timeout_terminates_then_kills_after_grace(stage: WorkerStage) -> None:
    stage.runner.is_stubborn = True
    attempt, process = await stage.running(Job(timeout_s=20, lease_s=1_000))

    await stage.runtime.advance(19)
    before = list(process.signals)
    await stage.runtime.advance(2)
    at_timeout = list(process.signals)
    await stage.runtime.advance(10)
    await stage.settled(attempt)

    assert (before, at_timeout, process.signals) == ([], ["TERM"], ["TERM", "KILL"])
    assert attempt.result.outcome is Outcome.TIMEOUT
    assert "20 s" in attempt.result.message


async def test_a_cancelled_job_is_stopped_by_the_next_heartbeat(stage: WorkerStage) -> None:
    attempt, process = await stage.running(Job(heartbeat_s=2))
    attempt.is_cancelled = True

    await stage.runtime.advance(2.5)
    await stage.settled(attempt)

    assert process.signals == ["TERM"]
    assert attempt.result.outcome is Outcome.CANCELLED


async def test_a_lease_that_is_gone_stops_the_job_and_leaves_evidence(stage: WorkerStage) -> None:
    attempt, process = await stage.running(Job())
    attempt.lose()

    await stage.until(lambda: bool(attempt.evidence))
    await stage.gateway.polled.wait()

    assert process.signals == ["TERM"]
    assert attempt.finish is None
    assert len(attempt.evidence) == 1


async def test_leases_are_renewed_while_a_result_waits_for_its_receipt(stage: WorkerStage) -> None:
    attempt, process = await stage.running(Job())
    stage.gateway.away.add("finish")
    process.end(0)

    await stage.runtime.advance(20)
    beats = attempt.beats
    stage.gateway.away.clear()
    await stage.settled(attempt)

    assert beats >= 8
    assert attempt.result.exit_code == 0


async def test_a_worker_cut_off_stops_its_job_before_the_lease_ends(stage: WorkerStage) -> None:
    stage.runner.is_stubborn = True
    _, process = await stage.running(Job(lease_s=30, heartbeat_s=2))
    stage.gateway.away |= {"heartbeat", "claim", "finish", "append_log"}

    await stage.runtime.advance(22.5)
    before = list(process.signals)
    await stage.runtime.advance(1)
    warned = list(process.signals)
    await stage.runtime.advance(5)

    assert (before, warned, process.signals) == ([], ["TERM"], ["TERM", "KILL"])
    assert process.is_reaped  # after 28.5 of 30 s


async def test_a_renewal_puts_the_fence_off(stage: WorkerStage) -> None:
    attempt, process = await stage.running(Job(lease_s=30, heartbeat_s=2, timeout_s=1_000))

    await stage.runtime.advance(300)

    assert process.signals == []
    assert attempt.beats >= 100


async def test_a_fenced_result_is_a_loss_and_still_reported(stage: WorkerStage) -> None:
    attempt, _ = await stage.running(Job(lease_s=30))
    stage.gateway.away |= {"heartbeat", "finish"}
    await stage.runtime.advance(60)

    stage.gateway.away.clear()
    await stage.settled(attempt)

    assert attempt.result.outcome is Outcome.LOST
    assert "lease" in attempt.result.message


# -- pause, drain, stop ----------------------------------------------------------------------------


async def test_a_drained_worker_finishes_what_runs_claims_nothing_and_says_goodbye(
    stage: WorkerStage,
) -> None:
    attempt, process = await stage.running(Job(lease_s=1_000))
    (worker,) = stage.workers
    late = stage.gateway.add(Job())

    async with asyncio.TaskGroup() as group:
        group.create_task(worker.drain())
        await stage.until(lambda: stage.registry.reports[-1].status == "draining")
        process.end(0)
        await stage.settled(attempt)

    assert worker.done.done()
    assert stage.registry.has_left
    assert late.state is AttemptStatus.CLAIMED  # it stayed in the queue: this is its first state
    assert len(stage.runner.started) == 1


async def test_an_idle_worker_drains_at_once(stage: WorkerStage) -> None:
    worker = await stage.worker()
    await stage.gateway.polled.wait()

    await worker.drain()

    assert stage.registry.has_left


async def test_a_drain_stops_jobs_at_its_deadline_at_no_cost(stage: WorkerStage) -> None:
    attempt, process = await stage.running(Job(lease_s=1_000))
    (worker,) = stage.workers

    async with asyncio.TaskGroup() as group:
        group.create_task(worker.drain(deadline_s=10))
        await stage.runtime.advance(9)
        assert process.signals == []
        await stage.runtime.advance(2)

    assert attempt.result.outcome is Outcome.DRAINED


async def test_a_claim_that_crossed_the_drain_is_handed_back(stage: WorkerStage) -> None:
    stage.gateway.forgets.add("claim")
    attempt = stage.gateway.add(Job())
    worker = await stage.worker()
    await stage.until(lambda: len(stage.gateway.asks) >= 1, step_s=0)

    stage.gateway.forgets.clear()
    await worker.drain()

    assert attempt.state is AttemptStatus.REFUSED


async def test_a_paused_worker_claims_nothing_until_it_is_resumed(stage: WorkerStage) -> None:
    await stage.worker()
    await stage.gateway.polled.wait()
    stage.registry.desired = Desired.PAUSE
    await stage.until(lambda: stage.registry.reports[-1:] != [] and _paused(stage))

    waiting = stage.gateway.add(Job())
    await stage.runtime.advance(30)
    started_while_paused = len(stage.runner.started)
    stage.registry.desired = Desired.RUN
    await stage.until(lambda: bool(stage.runner.started))

    assert started_while_paused == 0
    assert waiting.state is AttemptStatus.RUNNING


def _paused(stage: WorkerStage) -> bool:
    return stage.registry.reports[-1].status == "paused"


async def test_an_operators_stop_ends_jobs_and_worker(stage: WorkerStage) -> None:
    attempt, process = await stage.running(Job(lease_s=1_000))
    (worker,) = stage.workers

    stage.registry.desired = Desired.STOP
    await stage.until(worker.done.done)

    assert process.signals == ["TERM"]
    assert attempt.result.outcome is Outcome.DRAINED
    assert stage.registry.has_left


async def test_a_hard_stop_leaves_no_process(stage: WorkerStage) -> None:
    stage.runner.is_stubborn = True
    _, process = await stage.running(Job())
    (worker,) = stage.workers

    await worker.stop()

    assert process.is_reaped
    assert worker.done.done()
