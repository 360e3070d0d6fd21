"""Flow 6: what a worker does and does not do while the registry cannot be reached."""

import pytest

from shared.errors import Unauthenticated, WorkerSuperseded
from shared.protocol.registry import EnrolReply, EnrolRequest
from shared.protocol.states import AttemptStatus
from tests.support.gateway import Job
from tests.support.worker_stage import WorkerStage

# -- flow 6: the registry --------------------------------------------------------------------------


async def test_a_job_is_refused_when_working_is_not_acknowledged(stage: WorkerStage) -> None:
    await stage.worker()
    await stage.gateway.polled.wait()
    stage.registry.is_away = True

    attempt = stage.gateway.add(Job())
    await attempt.settled.wait()

    assert attempt.state is AttemptStatus.REFUSED
    assert "registry" in (attempt.refusal or "")
    assert stage.runner.started == []


async def test_a_worker_without_registry_makes_no_claims_until_it_returns(
    stage: WorkerStage,
) -> None:
    await stage.worker()
    await stage.gateway.polled.wait()
    stage.registry.is_away = True
    await stage.until(lambda: stage.registry.asked > 4)  # enough reports failed

    stage.gateway.end_polls()
    await stage.runtime.advance(120)
    during = len(stage.gateway.asks)
    stage.registry.is_away = False
    attempt = stage.gateway.add(Job())
    await stage.until(lambda: bool(stage.runner.started))

    assert during == 1
    assert attempt.state is AttemptStatus.RUNNING


async def test_losing_the_registry_stops_no_running_job(stage: WorkerStage) -> None:
    attempt, process = await stage.running(Job(lease_s=1_000))
    stage.registry.is_away = True

    await stage.runtime.advance(50)
    process.end(0)
    await stage.settled(attempt)

    assert (process.signals, attempt.result.exit_code) == ([], 0)


async def test_a_report_that_was_sent_before_the_claim_acknowledges_nothing(
    stage: WorkerStage,
) -> None:
    stage.registry.gate.clear()
    await stage.worker(slots=2, announce_s=5)
    await stage.runtime.advance(6)  # a periodic report is on its way, and stays there
    attempt = stage.gateway.add(Job())
    await stage.until(lambda: attempt.state is AttemptStatus.CLAIMED)

    stage.registry.gate.set()
    await stage.runner.until_started(1)

    naming = [r for r in stage.registry.reports if attempt.attempt_id in r.attempts]
    assert naming
    assert stage.registry.reports[0].attempts == ()


async def test_policy_off_runs_jobs_while_the_registry_is_away(stage: WorkerStage) -> None:
    await stage.worker(policy="off")
    await stage.gateway.polled.wait()
    stage.registry.is_away = True

    stage.gateway.add(Job())

    await stage.runner.until_started(1)


async def test_grace_lasts_as_long_as_it_says(stage: WorkerStage) -> None:
    await stage.worker(slots=2, policy=30.0)
    await stage.gateway.polled.wait()
    stage.registry.is_away = True

    stage.gateway.add(Job())
    await stage.runner.until_started(1)
    await stage.runtime.advance(40)
    late = stage.gateway.add(Job())
    await late.settled.wait()

    assert late.state is AttemptStatus.REFUSED


async def test_a_forgotten_worker_enrols_again_and_goes_on(stage: WorkerStage) -> None:
    await stage.worker()
    await stage.gateway.polled.wait()
    stage.registry.is_known = False

    await stage.runtime.advance(6)
    stage.gateway.add(Job())
    await stage.runner.until_started(1)

    assert stage.registry.incarnation == 2


async def test_a_superseded_worker_finishes_its_job_and_stops_with_an_error(
    stage: WorkerStage,
) -> None:
    attempt, process = await stage.running(Job(lease_s=1_000))
    (worker,) = stage.workers
    stage.registry.incarnation += 1

    await stage.runtime.advance(6)
    process.end(0)
    await stage.settled(attempt)

    with pytest.raises(WorkerSuperseded):
        await worker.done
    assert not stage.registry.has_left


async def test_a_registry_that_is_away_at_the_start_is_waited_for(stage: WorkerStage) -> None:
    stage.registry.is_away = True
    worker = await stage.worker()
    await stage.runtime.advance(60)
    assert worker.worker_id is None

    stage.registry.is_away = False

    await stage.until(lambda: worker.worker_id is not None)


async def test_a_wrong_enrolment_secret_ends_the_worker_with_that_error(stage: WorkerStage) -> None:
    async def enrol(ask: EnrolRequest) -> EnrolReply:
        raise Unauthenticated(check="enrolment_secret")

    stage.registry.enrol = enrol  # type: ignore[method-assign]  # a registry with another secret

    worker = await stage.worker()

    with pytest.raises(Unauthenticated):
        await worker.done
