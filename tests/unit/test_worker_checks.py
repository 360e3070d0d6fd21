"""The phases of an attempt: checks, the command, checks again, and what may come between."""

import json
from typing import Any

import pytest

from shared.protocol.gateway import Outcome
from shared.protocol.pipeline import CheckSpec, SecuritySpec
from tests.support.gateway import Held, Job
from tests.support.processes import USED, ScriptedProcess
from tests.support.worker_stage import WorkerStage
from worker.checking import FAILED, PASSED
from worker.ports import Breach, Exit, Launch, WorkerAtFault

EXISTS = CheckSpec(name="check_file_exists", params={"path": "x"})
OF_MY_OWN = CheckSpec(name="check_of_my_own")


async def next_process(stage: WorkerStage, count: int) -> ScriptedProcess:
    await stage.until(lambda: len(stage.runner.started) == count)
    return stage.runner.started[-1]


def plan_of(process: ScriptedProcess) -> dict[str, object]:
    plan: dict[str, object] = json.loads(process.launch.stdin)
    return plan


def log_of(stage: WorkerStage, attempt: Held) -> str:
    return stage.workspace.opened[attempt.attempt_id].log_bytes.decode()


async def test_a_success_is_reported_once_and_after_the_last_post_check(stage: WorkerStage) -> None:
    attempt, before = await stage.running(Job(pre_checks=(EXISTS,), post_checks=(EXISTS,)))

    assert plan_of(before)["phase"] == "pre_checks"
    before.end(PASSED)
    command = await next_process(stage, 2)
    assert command.launch.argv == Job().argv
    command.end(0)
    after = await next_process(stage, 3)
    assert plan_of(after)["phase"] == "post_checks"
    await stage.runtime.advance(1)
    assert "finish" not in stage.gateway.calls
    after.end(PASSED)
    await stage.settled(attempt)

    assert (attempt.result.outcome, attempt.result.exit_code) == (Outcome.EXITED, 0)
    assert stage.gateway.calls.count("finish") == 1
    assert attempt.finish is not None
    assert attempt.finish.usage.wall_s == 3.0


async def test_heartbeats_go_on_and_name_the_phase(stage: WorkerStage) -> None:
    attempt, before = await stage.running(Job(pre_checks=(EXISTS,), post_checks=(EXISTS,)))

    await stage.runtime.advance(2.5)
    before.end(PASSED)
    command = await next_process(stage, 2)
    await stage.runtime.advance(2.5)
    command.end(0)
    await next_process(stage, 3)
    await stage.runtime.advance(2.5)

    assert list(dict.fromkeys(attempt.phases)) == ["pre_checks", "executing", "post_checks"]


async def test_a_failed_pre_check_starts_no_command(stage: WorkerStage) -> None:
    attempt, before = await stage.running(Job(pre_checks=(EXISTS,)))

    files = stage.workspace.opened[attempt.attempt_id]
    await files.append_log("[drawbar] pre-check check_file_exists failed: nothing there")
    before.end(FAILED)
    await stage.settled(attempt)

    assert attempt.result.outcome is Outcome.PRECHECK_FAILED
    assert attempt.result.message == "pre-check check_file_exists failed: nothing there"
    assert len(stage.runner.started) == 1


async def test_a_failed_post_check_keeps_the_exit_code(stage: WorkerStage) -> None:
    attempt, command = await stage.running(Job(post_checks=(EXISTS,)))

    command.end(0)
    (await next_process(stage, 2)).end(FAILED)
    await stage.settled(attempt)

    assert (attempt.result.outcome, attempt.result.exit_code) == (Outcome.POSTCHECK_FAILED, 0)


async def test_post_checks_are_made_of_successes_only(stage: WorkerStage) -> None:
    attempt, command = await stage.running(Job(post_checks=(EXISTS,)))

    command.end(3)
    await stage.settled(attempt)

    assert (attempt.result.outcome, attempt.result.exit_code) == (Outcome.EXITED, 3)
    assert len(stage.runner.started) == 1


async def test_a_post_check_that_may_not_be_known_is_looked_for_before_the_start(
    stage: WorkerStage,
) -> None:
    _, process = await stage.running(Job(post_checks=(OF_MY_OWN,)))

    plan = plan_of(process)

    assert (plan["phase"], plan["checks"]) == ("pre_checks", [])
    assert plan["later"] == [{"name": "check_of_my_own", "params": {}}]


async def test_checks_that_die_are_failed_checks(stage: WorkerStage) -> None:
    attempt, before = await stage.running(Job(pre_checks=(EXISTS,)))

    before.kill()
    await stage.settled(attempt)

    assert attempt.result.outcome is Outcome.PRECHECK_FAILED
    assert attempt.result.message == "the checks ended with signal 9"


async def test_checks_that_cannot_be_started_are_failed_checks(stage: WorkerStage) -> None:
    stage.runner.refusal = "no more processes"
    attempt = stage.gateway.add(Job(pre_checks=(EXISTS,)))
    await stage.worker()

    await stage.settled(attempt)

    assert attempt.result.outcome is Outcome.PRECHECK_FAILED
    assert "no more processes" in attempt.result.message


async def test_the_timeout_is_for_all_phases_together(stage: WorkerStage) -> None:
    attempt, before = await stage.running(
        Job(pre_checks=(EXISTS,), post_checks=(EXISTS,), timeout_s=10)
    )

    await stage.runtime.advance(4)
    before.end(PASSED)
    command = await next_process(stage, 2)
    await stage.runtime.advance(4)
    command.end(0)
    after = await next_process(stage, 3)
    await stage.until(lambda: after.signals != [])
    await stage.settled(attempt)

    assert (attempt.result.outcome, attempt.result.exit_code) == (Outcome.TIMEOUT, 0)
    assert attempt.result.message == "timed out after 10 s in its post-checks"
    assert "post-checks were stopped: timed out" in log_of(stage, attempt)


@pytest.mark.parametrize("phase", ["pre_checks", "post_checks"])
async def test_a_cancellation_ends_a_check(stage: WorkerStage, phase: str) -> None:
    attempt, process = await stage.running(Job(**{phase: (EXISTS,)}))  # type: ignore[arg-type]
    if phase == "post_checks":
        process.end(0)
        process = await next_process(stage, 2)

    attempt.is_cancelled = True
    await stage.settled(attempt)

    assert process.signals[0] == "TERM"
    assert attempt.result.outcome is Outcome.CANCELLED
    assert stage.runner.started[-1] is process


async def test_a_stubborn_check_is_killed(stage: WorkerStage) -> None:
    stage.runner.is_stubborn = True
    attempt, process = await stage.running(Job(pre_checks=(EXISTS,)))

    attempt.is_cancelled = True
    await stage.settled(attempt)

    assert process.signals == ["TERM", "KILL"]


async def test_a_drain_that_is_over_ends_a_check_and_costs_no_try(stage: WorkerStage) -> None:
    attempt, process = await stage.running(Job(pre_checks=(EXISTS,)))

    stage.workers[0].begin_drain(5)
    await stage.settled(attempt)

    assert process.signals[0] == "TERM"
    assert attempt.result.outcome is Outcome.DRAINED


async def test_a_worker_that_is_cut_off_ends_a_check(stage: WorkerStage) -> None:
    attempt, process = await stage.running(Job(pre_checks=(EXISTS,)))

    stage.gateway.away = {"heartbeat"}
    await stage.until(lambda: process.signals != [])
    stage.gateway.away.clear()
    await stage.settled(attempt)

    assert attempt.result.outcome is Outcome.DRAINED


async def test_a_job_whose_post_checks_cannot_be_started_is_lost_and_its_rule_decides(
    stage: WorkerStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has run: to queue it again is not for nothing."""
    attempt, process = await stage.running(Job(post_checks=(EXISTS,)))

    async def start(launch: Launch) -> ScriptedProcess:
        raise WorkerAtFault("no launcher could be started")

    monkeypatch.setattr(stage.runner, "start", start)
    process.end(0)
    await stage.settled(attempt)

    assert attempt.result.outcome is Outcome.LOST
    assert "no launcher could be started" in attempt.result.message


KILLED_KEEPER: dict[str, Any] = {"lost": "something killed its keeper"}
NO_RENEWAL: dict[str, Any] = {"breach": Breach("lease", "no renewal")}


@pytest.mark.parametrize(
    ("phase", "how", "outcome"),
    [
        ("pre_checks", NO_RENEWAL, Outcome.DRAINED),
        ("post_checks", NO_RENEWAL, Outcome.LOST),
        ("pre_checks", KILLED_KEEPER, Outcome.LOST),  # as it may do so each time
        ("post_checks", KILLED_KEEPER, Outcome.LOST),
    ],
)
async def test_a_check_that_others_killed_says_nothing_of_the_job(
    stage: WorkerStage, phase: str, how: dict[str, Any], outcome: Outcome
) -> None:
    attempt, process = await stage.running(Job(**{phase: (EXISTS,)}))  # type: ignore[arg-type]
    if phase == "post_checks":
        process.end(0)
        process = await next_process(stage, 2)

    process.end_with(Exit(exit_code=None, signal=9, usage=USED, **how))
    await stage.settled(attempt)

    assert attempt.result.outcome is outcome


async def test_a_check_that_was_stopped_ends_as_that_however_it_was_killed(
    stage: WorkerStage,
) -> None:
    stage.runner.is_stubborn = True
    attempt, process = await stage.running(Job(post_checks=(EXISTS,), timeout_s=5))
    process.end(0)
    process = await next_process(stage, 2)

    await stage.until(lambda: process.signals != [])
    process.end_with(Exit(exit_code=None, signal=9, usage=USED, **KILLED_KEEPER))
    await stage.settled(attempt)

    assert attempt.result.outcome is Outcome.TIMEOUT


# -- environment and policy ----------------------------------------------------------------------


async def test_checks_have_the_jobs_environment(stage: WorkerStage) -> None:
    _, process = await stage.running(Job(env={"BOTH": "job"}, pre_checks=(EXISTS,)))

    assert (process.launch.env["BASE"], process.launch.env["BOTH"]) == ("1", "job")
    assert process.launch.env["DRAWBAR_TRY"] == "1"


async def test_a_pipeline_may_wish_for_nothing_of_the_workers_environment(
    stage: WorkerStage,
) -> None:
    _, process = await stage.running(Job(env={"BOTH": "job"}, inherit_env=False))

    own = {k: v for k, v in process.launch.env.items() if not k.startswith("DRAWBAR_")}

    assert own == {"BOTH": "job"}


async def test_a_forbidden_command_is_not_started_and_the_log_says_why(stage: WorkerStage) -> None:
    forbids = SecuritySpec(policy="block")
    attempt = stage.gateway.add(Job(argv=("sh", "-c", "sudo x"), security=forbids))
    await stage.worker()

    await stage.settled(attempt)

    assert attempt.result.outcome is Outcome.FORBIDDEN
    assert "rule other-user" in attempt.result.message
    assert log_of(stage, attempt).startswith("[drawbar] forbidden: the command: sudo acts")
    assert stage.runner.started == []


async def test_a_warning_is_the_first_line_of_the_log(stage: WorkerStage) -> None:
    warns = SecuritySpec(policy="warn")
    attempt, process = await stage.running(Job(argv=("sh", "-c", "sudo x"), security=warns))

    process.end(0)
    await stage.settled(attempt)

    assert attempt.result.outcome is Outcome.EXITED
    assert attempt.log.startswith(b"[drawbar] the policy warns: the command: sudo acts")


async def test_the_command_of_a_check_is_held_against_the_policy_as_well(
    stage: WorkerStage,
) -> None:
    sneaky = CheckSpec(name="check_command", params={"command": "sudo x"})
    attempt = stage.gateway.add(Job(post_checks=(sneaky,), security=SecuritySpec(policy="block")))
    await stage.worker()

    await stage.settled(attempt)

    assert attempt.result.outcome is Outcome.FORBIDDEN
    assert "a post-check's command: sudo" in attempt.result.message


async def test_without_a_shell_checks_have_none_either(stage: WorkerStage) -> None:
    check = CheckSpec(name="check_command", params={"command": "test -d 'a b'"})
    _, process = await stage.running(
        Job(pre_checks=(check,), security=SecuritySpec(allow_shell=False))
    )

    assert plan_of(process)["checks"] == [
        {"name": "check_command", "params": {"command": ["test", "-d", "a b"]}}
    ]


async def test_patterns_are_matched_in_a_process_that_can_be_stopped(stage: WorkerStage) -> None:
    only = SecuritySpec(allowed_patterns=("make .*",))
    attempt, matching = await stage.running(Job(argv=("sh", "-c", "rm x"), security=only))

    assert plan_of(matching) == {
        "commands": ["rm x"],
        "lists": [["make .*"]],
        "how": "fullmatch",
    }
    matching.end(10)
    await stage.settled(attempt)

    assert attempt.result.outcome is Outcome.FORBIDDEN
    assert "matches none of the patterns that the pipeline allows" in attempt.result.message
    assert len(stage.runner.started) == 1


async def test_a_pattern_that_takes_for_ever_forbids(stage: WorkerStage) -> None:
    only = SecuritySpec(allowed_patterns=("(a+)+",))
    attempt, matching = await stage.running(Job(security=only))

    matching._die(14)
    await stage.settled(attempt)

    assert attempt.result.outcome is Outcome.FORBIDDEN
    assert "took longer than 10 s" in attempt.result.message


@pytest.mark.parametrize(("code", "outcome"), [(0, Outcome.EXITED), (10, Outcome.FORBIDDEN)])
async def test_an_exempt_pattern_lifts_the_rules_of_its_own_policy(
    stage: WorkerStage, code: int, outcome: Outcome
) -> None:
    lenient = SecuritySpec(policy="block", exempt_patterns=("^SUDO apt",))
    attempt, matching = await stage.running(Job(argv=("sh", "-c", "sudo apt"), security=lenient))

    assert plan_of(matching) == {
        "commands": ["sudo apt"],
        "lists": [["^SUDO apt"]],
        "how": "search",
    }
    matching.end(code)
    if code == 0:
        (await next_process(stage, 2)).end(0)
    await stage.settled(attempt)

    assert attempt.result.outcome is outcome


async def test_a_cancellation_while_patterns_are_matched_is_one(stage: WorkerStage) -> None:
    only = SecuritySpec(allowed_patterns=("make .*",))
    attempt, _ = await stage.running(Job(security=only))

    attempt.is_cancelled = True
    await stage.settled(attempt)

    assert attempt.result.outcome is Outcome.CANCELLED
