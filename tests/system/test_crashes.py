"""kill -9 of each process while jobs run and wait: nothing acknowledged is lost (P1, P3)."""

import asyncio
from collections.abc import Sized

import pytest

from shared.ids import RunId
from shared.protocol.jobs import SubmitRequest
from shared.protocol.pipeline import PipelineSpec
from shared.protocol.states import AttemptStatus, RunStatus
from tests.support.cluster import Cluster
from tests.support.daemons import until
from tests.support.history import assert_sound
from tests.support.jobstore import a_job
from tests.support.player import Player

RUNS = 8
CRASHES = 3


@pytest.mark.parametrize("victim", ["jobstore", "registry", "gateway"])
async def test_nothing_acknowledged_is_lost_when_a_service_is_killed(
    cluster: Cluster, victim: str
) -> None:
    await cluster.start_worker("ann", slots=3)
    player = await Player.enrolled(cluster)
    gate, stop = cluster.gate(), asyncio.Event()
    gated = [a_job(f"gated-{n}", command=f"{cluster.trace()}; {gate.wait}") for n in range(3)]
    long_run = await cluster.submit(*gated)
    await cluster.until_traced(3)
    acknowledged: dict[str, RunId] = {}
    service = cluster.services[victim]

    async with asyncio.TaskGroup() as group:
        group.create_task(player.play(stop))
        submitting = group.create_task(submit_all(cluster, acknowledged))
        for crash in range(1, CRASHES + 1):
            # Each crash meets work under way: some runs are in, and some jobs were receipted.
            await until_counted(acknowledged, 2 * crash)
            await until_counted(player.receipts, 2 * crash)
            await service.kill()
            await service.start()
        await submitting
        gate.open()
        runs = [long_run, *acknowledged.values()]
        ended = [await cluster.until_ended(run_id) for run_id in runs]
        stop.set()

    assert {run.status for run in ended} == {RunStatus.SUCCESS}
    assert len(cluster.traces()) == 3
    for key, run_id in acknowledged.items():
        again = SubmitRequest(idempotency_key=key, pipeline=small_pipeline())
        assert (await cluster.jobs.submit(again)).run_id == run_id
    kept = {
        attempt.attempt_id: attempt.receipt_id
        for run in ended
        for job in run.jobs
        for attempt in await cluster.attempts(run.run_id, job.id)
        if attempt.status is AttemptStatus.REPORTED
    }
    assert player.receipts
    for receipt in player.receipts:
        assert kept[receipt.attempt_id] == receipt.receipt_id
    await assert_sound(cluster, runs)


async def test_after_a_workers_crash_its_jobs_run_again_and_its_processes_are_gone(
    cluster: Cluster,
) -> None:
    """Its successor says what was lost, long before a lease has run out."""
    first = await cluster.start_worker("ann", "--no-reattach", slots=2)
    gate = cluster.gate()
    # The child in the background ignores SIGTERM, as the worst of jobs do.
    command = f"(trap '' TERM; sleep 600) & {cluster.trace()}; {gate.wait}"
    run_id = await cluster.submit(*(a_job(f"job-{n}", command=command) for n in range(5)))
    await cluster.until_traced(2)
    orphans = set(cluster.job_processes())

    await first.kill()
    await cluster.start_worker("ann", "--no-reattach", slots=2)
    left = orphans & set(cluster.job_processes())
    gate.open()
    run = await cluster.until_ended(run_id)

    attempts = {job.id: await cluster.attempts(run_id, job.id) for job in run.jobs}
    lost = [
        a
        for of_job in attempts.values()
        for a in of_job
        if a.reason is not None and a.reason.message == "worker crashed"
    ]
    assert not left
    assert run.status is RunStatus.SUCCESS
    assert len(lost) == 2
    assert {a.attempt_id for a in lost} == {attempt for _, attempt in cluster.traces()[:2]}
    assert [len(of_job) for of_job in attempts.values()] == [2, 2, 1, 1, 1]
    assert len(cluster.traces()) == 7
    await assert_sound(cluster, [run_id])


async def test_a_crash_of_everything_at_once_loses_nothing(hasty: Cluster) -> None:
    worker = await hasty.start_worker("ann", slots=2)
    gate = hasty.gate()
    jobs = [a_job(f"job-{n}", command=f"{hasty.trace()}; {gate.wait}") for n in range(4)]
    run_id = await hasty.submit(*jobs, a_job("last", needs=[job.id for job in jobs]))
    await hasty.until_traced(2)

    for daemon in (worker, *hasty.services.values()):
        await daemon.kill()
    gate.open()
    await hasty.start_services()
    await hasty.start_worker("ann", slots=2)
    run = await hasty.until_ended(run_id)

    assert run.status is RunStatus.SUCCESS
    assert run.counts == {"success": 5}
    await assert_sound(hasty, [run_id])


async def submit_all(cluster: Cluster, acknowledged: dict[str, RunId]) -> None:
    """One after the other, each until it was acknowledged."""
    for n in range(RUNS):
        ask = SubmitRequest(idempotency_key=f"small-{n}", pipeline=small_pipeline())
        acknowledged[ask.idempotency_key] = (await cluster.jobs.submit(ask)).run_id


def small_pipeline() -> PipelineSpec:
    jobs = [a_job("one"), a_job("two", needs=["one"]), a_job("three", needs=["one"])]
    return PipelineSpec.model_validate({"name": "small", "jobs": jobs})


async def until_counted(things: Sized, number: int) -> None:
    async def is_counted() -> bool:
        return len(things) >= number

    await until(is_counted, f"there are {number}")
