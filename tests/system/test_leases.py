"""Workers that outlive their leases: exactly one result counts, the other is kept as evidence."""

import signal

import pytest

from shared.errors import StaleFence
from shared.protocol.jobs import CancelRequest
from shared.protocol.states import AttemptStatus, RunStatus
from tests.support.cluster import Cluster
from tests.support.daemons import until
from tests.support.history import assert_sound
from tests.support.jobstore import a_job
from tests.support.player import Player


async def test_a_worker_that_slept_past_its_lease_loses_the_job_and_its_result_is_evidence(
    hasty: Cluster,
) -> None:
    ann = await hasty.start_worker("ann")
    gate = hasty.gate()
    command = f"{hasty.trace()}; test $DRAWBAR_TRY = 2 || {{ {gate.wait}; }}"
    run_id = await hasty.submit(a_job("job", command=command))
    await hasty.until_traced(1)

    ann.send(signal.SIGSTOP)
    await hasty.start_worker("ben")
    run = await hasty.until_ended(run_id)
    gate.open()
    ann.send(signal.SIGCONT)

    async def has_evidence() -> bool:
        return (await hasty.attempts(run_id, "job"))[0].evidence is not None

    await until(has_evidence, "the late report is kept")
    first, *between, second = await hasty.attempts(run_id, "job")
    late = next(e for e in await hasty.events(run_id) if e.kind == "attempt.reported_late")
    after = await hasty.until_ended(await hasty.submit(a_job("next")))
    # Ann's long poll was still open when the job was free again: she may have got it, unstarted.
    assert {attempt.status for attempt in between} <= {AttemptStatus.LAPSED}
    assert len(hasty.traces()) == 2
    assert (first.status, second.status) == (AttemptStatus.LOST, AttemptStatus.REPORTED)
    assert (first.receipt_id, second.receipt_id is None) == (None, False)
    assert (late.attempt_id, late.facts["worker_id"]) == (first.attempt_id, first.worker_id)
    assert first.worker_id != second.worker_id
    assert run == await hasty.jobs.show_run(run_id)
    assert ann.is_alive
    assert after.status is RunStatus.SUCCESS
    await assert_sound(hasty, [run_id])


async def test_a_late_finish_gets_409_and_what_it_said_is_kept(hasty: Cluster) -> None:
    player = await Player.enrolled(hasty)
    run_id = await hasty.submit(a_job("job", command=f"{hasty.trace()}; exit 3"))
    (claim,) = await player.claim()
    await player.run(claim)

    await hasty.until_event(run_id, "attempt.lost")
    await hasty.start_worker("ben")
    run = await hasty.until_ended(run_id)
    with pytest.raises(StaleFence):
        await player.finish(claim)

    first, _ = await hasty.attempts(run_id, "job")
    assert first.status is AttemptStatus.LOST
    assert first.evidence is not None
    assert first.evidence["result"]["exit_code"] == 0
    assert (run.status, run.jobs[0].exit_code) == (RunStatus.FAILED, 3)
    assert await hasty.jobs.show_run(run_id) == run
    await assert_sound(hasty, [run_id])


async def test_a_worker_cut_off_from_the_gateway_stops_its_job_before_the_lease_ends(
    hasty: Cluster,
) -> None:
    await hasty.start_worker("ann")
    run_id = await hasty.submit(a_job("job", command=f"{hasty.trace()}; exec sleep 600"))
    await hasty.until_traced(1)

    await hasty.gateway.kill()

    async def is_stopped() -> bool:
        return not hasty.job_processes()

    await until(is_stopped, "the job is stopped")
    job = await hasty.job(run_id, "job")
    assert job.status == "running"  # so its lease is still ann's, and nobody else has the job
    await hasty.jobs.cancel(CancelRequest(run_id=run_id))
