"""What comes before a process and after it: run, inputs, artifacts."""

import pytest

import worker.attempt
from shared.errors import TooLarge
from shared.protocol.gateway import FinishReply, FinishRequest, LogSummary, Outcome
from shared.protocol.pipeline import CheckSpec
from shared.protocol.states import AttemptStatus
from tests.support.gateway import Job
from tests.support.processes import ScriptedProcess
from tests.support.worker_stage import WorkerStage
from worker.logstream import LogStream
from worker.outbox.memory import MemoryOutbox
from worker.ports import Launch, LeaseOver

EXISTS = CheckSpec(name="check_file_exists", params={"path": "x"})

# -- run, spawn, inputs, artifacts ----------------------------------------------------------------


async def test_a_job_that_somebody_else_has_is_not_started(stage: WorkerStage) -> None:
    await stage.worker()
    await stage.gateway.polled.wait()
    attempt = stage.gateway.add(Job())
    attempt.lose()

    await stage.until(lambda: "run" in stage.gateway.calls)
    await stage.gateway.polled.wait()

    assert stage.runner.started == []
    assert "finish" not in stage.gateway.calls


async def test_a_job_whose_token_is_turned_down_gives_its_slot_back(stage: WorkerStage) -> None:
    stage.gateway.turns_down.add("run")
    stage.gateway.add(Job())
    await stage.worker(slots=1)

    await stage.until(lambda: len(stage.gateway.asks) == 2)

    assert stage.gateway.calls.count("run") == 1
    assert stage.runner.started == []


async def test_a_run_whose_answer_was_lost_is_asked_again_and_starts_once(
    stage: WorkerStage,
) -> None:
    stage.gateway.forgets.add("run")
    attempt = stage.gateway.add(Job())
    await stage.worker()
    await stage.until(lambda: attempt.state is AttemptStatus.RUNNING)

    stage.gateway.forgets.clear()
    await stage.until(lambda: bool(stage.runner.started))

    assert len(stage.runner.started) == 1


async def test_a_command_that_cannot_start_is_reported_and_the_worker_goes_on(
    stage: WorkerStage,
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


@pytest.mark.parametrize("checks", [(), (EXISTS,)])
async def test_what_comes_too_late_to_be_started_goes_back_at_no_cost(
    stage: WorkerStage, checks: tuple[CheckSpec, ...]
) -> None:
    """Its lease has ended, and the job may be another worker's."""
    stage.runner.is_late = True
    attempt = stage.gateway.add(Job(pre_checks=checks))
    await stage.worker()
    await attempt.settled.wait()

    assert attempt.result.outcome is Outcome.DRAINED
    assert "lease had ended" in attempt.result.message


async def test_what_cannot_be_noted_is_not_started(
    stage: WorkerStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A successor would take it for one that had not begun, and start it a second time."""
    monkeypatch.setattr(MemoryOutbox, "note", lambda *_, **__: False)
    attempt = stage.gateway.add(Job())
    await stage.worker()
    await attempt.settled.wait()

    assert stage.runner.started == []
    assert attempt.result.outcome is Outcome.DRAINED
    assert "cannot be noted" in attempt.result.message


async def test_a_job_that_breaks_its_worker_is_lost_and_others_go_on(
    stage: WorkerStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def collect(*_: object) -> object:
        raise RuntimeError("nobody thought of this")

    monkeypatch.setattr(worker.attempt, "collect_promised", collect)
    attempt, process = await stage.running(Job())
    process.end(0)
    await stage.settled(attempt)
    monkeypatch.undo()
    after = stage.gateway.add(Job())
    await stage.until(lambda: len(stage.runner.started) == 2)
    stage.runner.started[1].end(0)
    await stage.settled(after)

    assert attempt.result.outcome is Outcome.LOST
    assert attempt.result.message == (
        "the worker met an internal error: RuntimeError: nobody thought of this"
    )
    assert after.result.exit_code == 0
    assert not stage.workers[0].done.done()


async def test_an_error_that_comes_again_in_the_report_costs_no_other_job(
    stage: WorkerStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def settle(_: object) -> LogSummary:
        raise RuntimeError("nobody thought of this")

    monkeypatch.setattr(LogStream, "settle", settle)
    _, process = await stage.running(Job())
    process.end(0)
    await stage.until(lambda: stage.workers[0].busy == 0)
    monkeypatch.undo()
    after = stage.gateway.add(Job())
    await stage.until(lambda: len(stage.runner.started) == 2)
    stage.runner.started[1].end(0)
    await stage.settled(after)

    assert after.result.exit_code == 0
    assert not stage.workers[0].done.done()


async def test_a_start_that_took_longer_than_a_lease_is_begun_anew_if_that_was_renewed(
    stage: WorkerStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A task's bundle may take long to come; then what the start knew of the lease is old."""
    start, ends = stage.runner.start, []

    async def slow(launch: Launch) -> ScriptedProcess:
        ends.append(launch.until)
        if len(ends) == 1:
            await stage.runtime.sleep(launch.until - stage.runtime.mono())
            raise LeaseOver
        return await start(launch)

    monkeypatch.setattr(stage.runner, "start", slow)
    stage.gateway.add(Job())
    await stage.worker()
    await stage.until(lambda: bool(stage.runner.started))

    assert ends[1] > stage.runtime.mono() >= ends[0]


async def test_what_takes_long_to_start_may_run_until_its_lease_ends_by_then(
    stage: WorkerStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A runner cannot be told of renewals before the process is there."""
    start = stage.runner.start

    async def slow(launch: Launch) -> ScriptedProcess:
        await stage.runtime.sleep(launch.until - stage.runtime.mono() - 1)
        stage.runner.permitted.clear()
        stage.gateway.away.add("heartbeat")
        return await start(launch)

    monkeypatch.setattr(stage.runner, "start", slow)
    attempt = stage.gateway.add(Job())
    await stage.worker()
    await stage.until(lambda: bool(stage.runner.started))

    first = stage.runner.started[0].launch.until
    assert stage.runner.permitted[attempt.attempt_id] > first


async def test_inputs_are_placed_before_the_process_starts(stage: WorkerStage) -> None:
    attempt, _ = await stage.running(Job(inputs={"build": {"dist/a": b"A", "dist/b": b"B"}}))

    files = stage.workspace.opened[attempt.attempt_id]

    assert files.placed == {"dist/a": b"A", "dist/b": b"B"}


async def test_an_input_that_breaks_off_again_and_again_goes_on_where_it_ended(
    stage: WorkerStage,
) -> None:
    data = bytes(range(256)) * 1_024  # four pieces
    stage.gateway.forgets.add("read_input")  # each answer breaks off after its first piece

    attempt = stage.gateway.add(Job(inputs={"build": {"big": data}}))
    await stage.worker()
    await stage.until(lambda: bool(stage.runner.started))

    assert stage.workspace.opened[attempt.attempt_id].placed == {"big": data}
    assert stage.gateway.calls.count("read_input") == 5  # the last to hear that this was all


async def test_artifacts_arrive_before_the_receipt(stage: WorkerStage) -> None:
    stage.workspace.artifacts = {"out": b"1", "log": b"2"}
    attempt, process = await stage.running(Job(artifacts=("out", "log")))

    process.end(0)
    await stage.settled(attempt)

    assert attempt.artifacts == {"out": b"1", "log": b"2"}
    assert attempt.finish is not None
    assert [e.path for e in attempt.finish.artifacts] == ["log", "out"]


async def test_a_success_without_its_artifacts_is_an_artifact_error(stage: WorkerStage) -> None:
    attempt, process = await stage.running(Job(artifacts=("out",)))

    process.end(0)
    await stage.settled(attempt)

    assert attempt.result.outcome is Outcome.ARTIFACT_ERROR
    assert "'out'" in attempt.result.message


async def test_a_result_with_more_artifacts_than_fit_is_reported_without_them(
    stage: WorkerStage, monkeypatch: pytest.MonkeyPatch
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


async def test_a_failed_job_hands_over_what_artifacts_it_has(stage: WorkerStage) -> None:
    stage.workspace.artifacts = {"out": b"1"}
    attempt, process = await stage.running(Job(artifacts=("missing", "out")))

    process.end(1)
    await stage.settled(attempt)

    assert attempt.artifacts == {"out": b"1"}
    assert (attempt.result.outcome, attempt.result.exit_code) == (Outcome.EXITED, 1)
