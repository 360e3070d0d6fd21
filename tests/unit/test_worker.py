"""A whole worker between a fake gateway and a fake registry, on a clock that the test moves."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from shared.errors import TooLarge, Unauthenticated, WorkerSuperseded
from shared.protocol.gateway import ClaimReply, FinishReply, FinishRequest, Outcome
from shared.protocol.registry import EnrolReply, EnrolRequest
from shared.protocol.states import AttemptStatus, Desired
from tests.support.gateway import FakeGateway, Held, Job
from tests.support.processes import MemoryWorkspace, ScriptedProcess, ScriptedRunner
from tests.support.registry import FakeRegistry
from tests.support.runtime import ManualRuntime
from worker.daemon import Worker
from worker.settings import RegistryPolicy, WorkerSettings


class Stage:
    """A worker and everything around it."""

    def __init__(self) -> None:
        self.runtime = ManualRuntime()
        self.gateway = FakeGateway()
        self.registry = FakeRegistry()
        self.runner = ScriptedRunner()
        self.workspace = MemoryWorkspace()
        self.workers: list[Worker] = []

    async def worker(
        self, *, slots: int = 1, policy: RegistryPolicy = "strict", announce_s: float = 0.05
    ) -> Worker:
        settings = WorkerSettings(
            name="w",
            slots=slots,
            registry_policy=policy,
            announce_s=announce_s,
            base_env={"BASE": "1", "BOTH": "base"},
            host="here",
        )
        worker = Worker(
            settings, self.gateway, self.registry, self.runner, self.workspace, self.runtime
        )
        self.workers.append(worker)
        await worker.start()
        return worker

    async def running(self, job: Job) -> tuple[Held, ScriptedProcess]:
        """The job runs on a new worker."""
        attempt = self.gateway.add(job)
        await self.worker()
        (process,) = await self.runner.until_started(1)
        return attempt, process

    async def settled(self, attempt: Held) -> None:
        """Nothing more is to come of the attempt; the clock is moved as far as it takes."""
        await self.until(attempt.settled.is_set)

    async def until(self, done: Callable[[], bool], step_s: float = 0.5) -> None:
        for _ in range(400):
            if done():
                return
            await self.runtime.advance(step_s)
        raise AssertionError("it never happened")


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    stage = Stage()
    yield stage
    for worker in stage.workers:
        await worker.stop()


# -- flow 1 and 5 --------------------------------------------------------------------------------


async def test_a_job_is_announced_run_and_reported_in_this_order(stage: Stage) -> None:
    attempt, process = await stage.running(Job())

    assert stage.registry.reports[-1].status == "Working"
    assert stage.registry.reports[-1].attempts == (attempt.attempt_id,)
    process.end(0)
    await stage.settled(attempt)
    await stage.until(lambda: stage.registry.reports[-1].status == "readyForWork")

    assert attempt.result.outcome is Outcome.EXITED
    assert [c for c in stage.gateway.calls if c != "claim"] == ["run", "finish"]
    assert stage.workspace.opened[attempt.attempt_id].is_removed


async def test_a_non_zero_exit_is_a_fact_in_the_report(stage: Stage) -> None:
    attempt, process = await stage.running(Job())

    process.end(3)
    await stage.settled(attempt)

    assert (attempt.result.outcome, attempt.result.exit_code) == (Outcome.EXITED, 3)


async def test_the_environment_is_layered_and_names_the_attempt(stage: Stage) -> None:
    attempt, process = await stage.running(Job(env={"BOTH": "job", "DRAWBAR_TRY": "99"}))

    env = process.launch.env

    assert (env["BASE"], env["BOTH"], env["DRAWBAR_TRY"]) == ("1", "job", "1")
    assert env["DRAWBAR_ATTEMPT_ID"] == attempt.attempt_id
    assert (env["DRAWBAR_RUN_ID"], env["DRAWBAR_FENCE"]) == ("1", "1")


async def test_a_slot_is_taken_until_the_process_tree_is_gone(stage: Stage) -> None:
    first, process = await stage.running(Job())
    process.reaping.clear()
    second = stage.gateway.add(Job())

    process.end(0)
    await stage.runtime.advance(1)
    assert len(stage.gateway.asks) == 1
    process.reaping.set()
    await stage.runner.until_started(2)

    assert process.is_reaped
    assert first.attempt_id != second.attempt_id


async def test_a_slot_is_free_again_while_the_result_waits_for_its_receipt(stage: Stage) -> None:
    stage.gateway.away.add("finish")
    _, process = await stage.running(Job())
    stage.gateway.add(Job())

    process.end(0)

    await stage.until(lambda: len(stage.runner.started) == 2)


async def test_a_worker_with_too_many_unreported_results_claims_no_more(stage: Stage) -> None:
    stage.gateway.away.add("finish")
    for _ in range(30):
        stage.gateway.add(Job())
    worker = await stage.worker(slots=1)

    for n in range(1, 22):
        await stage.until(lambda n=n: len(stage.runner.started) == n)  # type: ignore[misc]
        stage.runner.started[-1].end(0)
    await stage.runtime.advance(1)
    assert len(stage.runner.started) == 21  # 4 slots' worth + 16 may wait, the next is one more
    stage.gateway.away.clear()

    await stage.until(lambda: len(stage.runner.started) > 21)
    assert worker.worker_id == "w-w"


# -- polling ---------------------------------------------------------------------------------------


async def test_one_poll_asks_for_all_free_slots(stage: Stage) -> None:
    for _ in range(5):
        stage.gateway.add(Job())

    await stage.worker(slots=3)
    await stage.runner.until_started(3)

    assert [ask.free_slots for ask in stage.gateway.asks] == [3]


async def test_claims_of_one_answer_share_one_report(stage: Stage) -> None:
    for _ in range(32):
        stage.gateway.add(Job())

    await stage.worker(slots=32)
    await stage.runner.until_started(32)

    working = [r for r in stage.registry.reports if r.status == "Working"]
    assert len(working) == 1
    assert len(working[0].attempts) == 32


async def test_a_failed_poll_is_sent_again_under_the_same_claim_id(stage: Stage) -> None:
    stage.gateway.forgets.add("claim")
    attempt = stage.gateway.add(Job())
    await stage.worker()
    await stage.until(lambda: len(stage.gateway.asks) >= 1, step_s=0)

    stage.gateway.forgets.clear()
    await stage.until(lambda: bool(stage.runner.started))
    stage.runner.started[0].end(0)
    await stage.settled(attempt)
    await stage.gateway.polled.wait()

    ids = [ask.claim_id for ask in stage.gateway.asks]
    assert ids[0] == ids[1]
    assert ids[-1] != ids[0]


async def test_a_no_job_with_retry_after_is_obeyed(stage: Stage) -> None:
    stage.gateway.no_job = ClaimReply(claims=(), reason="jobstore_unavailable", retry_after_s=4.0)
    await stage.worker()
    await stage.gateway.polled.wait()

    stage.gateway.end_polls()
    await stage.runtime.advance(3.9)
    before = len(stage.gateway.asks)
    await stage.runtime.advance(1.2)

    assert (before, len(stage.gateway.asks)) == (1, 2)


async def test_after_an_outage_of_the_job_service_the_same_claim_is_asked_for_again(
    stage: Stage,
) -> None:
    stage.gateway.no_job = ClaimReply(claims=(), reason="jobstore_unavailable", retry_after_s=1.0)
    await stage.worker()
    await stage.gateway.polled.wait()

    stage.gateway.end_polls()
    await stage.runtime.advance(2.0)

    first, second = stage.gateway.asks
    assert first.claim_id == second.claim_id


async def test_a_gateway_that_is_away_is_asked_ever_more_rarely(stage: Stage) -> None:
    stage.gateway.away.add("claim")

    await stage.worker()
    await stage.runtime.advance(300)

    assert 30 <= len(stage.gateway.asks) <= 120  # 300 s at a mean of 5 s, and the first few


async def test_empty_answers_that_do_not_wait_do_not_make_the_worker_spin(stage: Stage) -> None:
    await stage.worker()
    await stage.gateway.polled.wait()
    stage.gateway.answers_at_once = True
    stage.gateway.end_polls()
    await stage.runtime.advance(60)

    assert len(stage.gateway.asks) < 240


# -- flow 6: the registry --------------------------------------------------------------------------


async def test_a_job_is_refused_when_working_is_not_acknowledged(stage: Stage) -> None:
    await stage.worker()
    await stage.gateway.polled.wait()
    stage.registry.is_away = True

    attempt = stage.gateway.add(Job())
    await attempt.settled.wait()

    assert attempt.state is AttemptStatus.REFUSED
    assert "registry" in (attempt.refusal or "")
    assert stage.runner.started == []


async def test_a_worker_without_registry_makes_no_claims_until_it_returns(stage: Stage) -> None:
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


async def test_losing_the_registry_stops_no_running_job(stage: Stage) -> None:
    attempt, process = await stage.running(Job(lease_s=1_000))
    stage.registry.is_away = True

    await stage.runtime.advance(50)
    process.end(0)
    await stage.settled(attempt)

    assert (process.signals, attempt.result.exit_code) == ([], 0)


async def test_a_report_that_was_sent_before_the_claim_acknowledges_nothing(stage: Stage) -> None:
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


async def test_policy_off_runs_jobs_while_the_registry_is_away(stage: Stage) -> None:
    await stage.worker(policy="off")
    await stage.gateway.polled.wait()
    stage.registry.is_away = True

    stage.gateway.add(Job())

    await stage.runner.until_started(1)


async def test_grace_lasts_as_long_as_it_says(stage: Stage) -> None:
    await stage.worker(slots=2, policy=30.0)
    await stage.gateway.polled.wait()
    stage.registry.is_away = True

    stage.gateway.add(Job())
    await stage.runner.until_started(1)
    await stage.runtime.advance(40)
    late = stage.gateway.add(Job())
    await late.settled.wait()

    assert late.state is AttemptStatus.REFUSED


async def test_a_forgotten_worker_enrols_again_and_goes_on(stage: Stage) -> None:
    await stage.worker()
    await stage.gateway.polled.wait()
    stage.registry.is_known = False

    await stage.runtime.advance(6)
    stage.gateway.add(Job())
    await stage.runner.until_started(1)

    assert stage.registry.incarnation == 2


async def test_a_superseded_worker_finishes_its_job_and_stops_with_an_error(
    stage: Stage,
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


async def test_a_registry_that_is_away_at_the_start_is_waited_for(stage: Stage) -> None:
    stage.registry.is_away = True
    worker = await stage.worker()
    await stage.runtime.advance(60)
    assert worker.worker_id is None

    stage.registry.is_away = False

    await stage.until(lambda: worker.worker_id is not None)


async def test_a_wrong_enrolment_secret_ends_the_worker_with_that_error(stage: Stage) -> None:
    async def enrol(ask: EnrolRequest) -> EnrolReply:
        raise Unauthenticated(check="enrolment_secret")

    stage.registry.enrol = enrol  # type: ignore[method-assign]  # a registry with another secret

    worker = await stage.worker()

    with pytest.raises(Unauthenticated):
        await worker.done


# -- run, spawn, inputs, artifacts ----------------------------------------------------------------


async def test_a_job_that_somebody_else_has_is_not_started(stage: Stage) -> None:
    await stage.worker()
    await stage.gateway.polled.wait()
    attempt = stage.gateway.add(Job())
    attempt.lose()

    await stage.until(lambda: "run" in stage.gateway.calls)
    await stage.gateway.polled.wait()

    assert stage.runner.started == []
    assert "finish" not in stage.gateway.calls


async def test_a_job_whose_token_is_turned_down_gives_its_slot_back(stage: Stage) -> None:
    stage.gateway.turns_down.add("run")
    stage.gateway.add(Job())
    await stage.worker(slots=1)

    await stage.until(lambda: len(stage.gateway.asks) == 2)

    assert stage.gateway.calls.count("run") == 1
    assert stage.runner.started == []


async def test_a_run_whose_answer_was_lost_is_asked_again_and_starts_once(stage: Stage) -> None:
    stage.gateway.forgets.add("run")
    attempt = stage.gateway.add(Job())
    await stage.worker()
    await stage.until(lambda: attempt.state is AttemptStatus.RUNNING)

    stage.gateway.forgets.clear()
    await stage.until(lambda: bool(stage.runner.started))

    assert len(stage.runner.started) == 1


async def test_a_command_that_cannot_start_is_reported_and_the_worker_goes_on(
    stage: Stage,
) -> None:
    stage.runner.refusal = "no such command: 'nonsense'"
    attempt = stage.gateway.add(Job())
    await stage.worker()
    await attempt.settled.wait()

    stage.runner.refusal = None
    stage.gateway.add(Job())
    await stage.until(lambda: len(stage.runner.started) == 1)

    assert attempt.result.outcome is Outcome.SPAWN_ERROR
    assert "nonsense" in attempt.result.message


async def test_inputs_are_placed_before_the_process_starts(stage: Stage) -> None:
    attempt, _ = await stage.running(Job(inputs={"build": {"dist/a": b"A", "dist/b": b"B"}}))

    files = stage.workspace.opened[attempt.attempt_id]

    assert files.placed == {"dist/a": b"A", "dist/b": b"B"}


async def test_an_input_that_breaks_off_again_and_again_goes_on_where_it_ended(
    stage: Stage,
) -> None:
    data = bytes(range(256)) * 1_024  # four pieces
    stage.gateway.forgets.add("read_input")  # each answer breaks off after its first piece

    attempt = stage.gateway.add(Job(inputs={"build": {"big": data}}))
    await stage.worker()
    await stage.until(lambda: bool(stage.runner.started))

    assert stage.workspace.opened[attempt.attempt_id].placed == {"big": data}
    assert stage.gateway.calls.count("read_input") == 5  # the last to hear that this was all


async def test_artifacts_arrive_before_the_receipt(stage: Stage) -> None:
    stage.workspace.artifacts = {"out": b"1", "log": b"2"}
    attempt, process = await stage.running(Job(artifacts=("out", "log")))

    process.end(0)
    await stage.settled(attempt)

    assert attempt.artifacts == {"out": b"1", "log": b"2"}
    assert attempt.finish is not None
    assert [e.path for e in attempt.finish.artifacts] == ["log", "out"]


async def test_a_success_without_its_artifacts_is_an_artifact_error(stage: Stage) -> None:
    attempt, process = await stage.running(Job(artifacts=("out",)))

    process.end(0)
    await stage.settled(attempt)

    assert attempt.result.outcome is Outcome.ARTIFACT_ERROR
    assert "'out'" in attempt.result.message


async def test_a_result_with_more_artifacts_than_fit_is_reported_without_them(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    finish = stage.gateway.finish

    async def narrow(ask: FinishRequest) -> FinishReply:
        if ask.artifacts:
            raise TooLarge("the body has more than 1 bytes")
        return await finish(ask)

    monkeypatch.setattr(stage.gateway, "finish", narrow)
    stage.workspace.artifacts = {"out": b"1"}
    attempt, process = await stage.running(Job(artifacts=("out",)))

    process.end(0)
    await stage.settled(attempt)

    assert attempt.result.outcome is Outcome.ARTIFACT_ERROR
    assert "too many artifacts" in attempt.result.message


async def test_a_failed_job_hands_over_what_artifacts_it_has(stage: Stage) -> None:
    stage.workspace.artifacts = {"out": b"1"}
    attempt, process = await stage.running(Job(artifacts=("missing", "out")))

    process.end(1)
    await stage.settled(attempt)

    assert attempt.artifacts == {"out": b"1"}
    assert (attempt.result.outcome, attempt.result.exit_code) == (Outcome.EXITED, 1)


# -- stopping a job --------------------------------------------------------------------------------


async def test_a_timeout_terminates_then_kills_after_grace(stage: Stage) -> None:
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


async def test_a_cancelled_job_is_stopped_by_the_next_heartbeat(stage: Stage) -> None:
    attempt, process = await stage.running(Job(heartbeat_s=2))
    attempt.is_cancelled = True

    await stage.runtime.advance(2.5)
    await stage.settled(attempt)

    assert process.signals == ["TERM"]
    assert attempt.result.outcome is Outcome.CANCELLED


async def test_a_lease_that_is_gone_stops_the_job_and_leaves_evidence(stage: Stage) -> None:
    attempt, process = await stage.running(Job())
    attempt.lose()

    await stage.until(lambda: bool(attempt.evidence))
    await stage.gateway.polled.wait()

    assert process.signals == ["TERM"]
    assert attempt.finish is None
    assert len(attempt.evidence) == 1


async def test_leases_are_renewed_while_a_result_waits_for_its_receipt(stage: Stage) -> None:
    attempt, process = await stage.running(Job())
    stage.gateway.away.add("finish")
    process.end(0)

    await stage.runtime.advance(20)
    beats = attempt.beats
    stage.gateway.away.clear()
    await stage.settled(attempt)

    assert beats >= 8
    assert attempt.result.exit_code == 0


async def test_a_worker_cut_off_stops_its_job_before_the_lease_ends(stage: Stage) -> None:
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


async def test_a_renewal_puts_the_fence_off(stage: Stage) -> None:
    attempt, process = await stage.running(Job(lease_s=30, heartbeat_s=2, timeout_s=1_000))

    await stage.runtime.advance(300)

    assert process.signals == []
    assert attempt.beats >= 100


async def test_a_fenced_result_is_drained_and_still_reported(stage: Stage) -> None:
    attempt, _ = await stage.running(Job(lease_s=30))
    stage.gateway.away |= {"heartbeat", "finish"}
    await stage.runtime.advance(60)

    stage.gateway.away.clear()
    await stage.settled(attempt)

    assert attempt.result.outcome is Outcome.DRAINED
    assert "lease" in attempt.result.message


# -- pause, drain, stop ----------------------------------------------------------------------------


async def test_a_drained_worker_finishes_what_runs_claims_nothing_and_says_goodbye(
    stage: Stage,
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


async def test_an_idle_worker_drains_at_once(stage: Stage) -> None:
    worker = await stage.worker()
    await stage.gateway.polled.wait()

    await worker.drain()

    assert stage.registry.has_left


async def test_a_drain_stops_jobs_at_its_deadline_at_no_cost(stage: Stage) -> None:
    attempt, process = await stage.running(Job(lease_s=1_000))
    (worker,) = stage.workers

    async with asyncio.TaskGroup() as group:
        group.create_task(worker.drain(deadline_s=10))
        await stage.runtime.advance(9)
        assert process.signals == []
        await stage.runtime.advance(2)

    assert attempt.result.outcome is Outcome.DRAINED


async def test_a_claim_that_crossed_the_drain_is_handed_back(stage: Stage) -> None:
    stage.gateway.forgets.add("claim")
    attempt = stage.gateway.add(Job())
    worker = await stage.worker()
    await stage.until(lambda: len(stage.gateway.asks) >= 1, step_s=0)

    stage.gateway.forgets.clear()
    await worker.drain()

    assert attempt.state is AttemptStatus.REFUSED


async def test_a_paused_worker_claims_nothing_until_it_is_resumed(stage: Stage) -> None:
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


def _paused(stage: Stage) -> bool:
    return stage.registry.reports[-1].status == "paused"


async def test_an_operators_stop_ends_jobs_and_worker(stage: Stage) -> None:
    attempt, process = await stage.running(Job(lease_s=1_000))
    (worker,) = stage.workers

    stage.registry.desired = Desired.STOP
    await stage.until(worker.done.done)

    assert process.signals == ["TERM"]
    assert attempt.result.outcome is Outcome.DRAINED
    assert stage.registry.has_left


async def test_a_hard_stop_leaves_no_process(stage: Stage) -> None:
    stage.runner.is_stubborn = True
    _, process = await stage.running(Job())
    (worker,) = stage.workers

    await worker.stop()

    assert process.is_reaped
    assert worker.done.done()
