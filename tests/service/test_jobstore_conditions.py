"""Which jobs run after a failure, and which after none: `when`, with needs, stages and without."""

from pathlib import Path

import pytest

from shared.protocol.gateway import Outcome
from tests.support.jobstore import Hands, a_job, hands_on, retry_at_once
from tests.support.runtime import ManualRuntime

ON_FAILURE = {"when": "on_failure"}
ALWAYS = {"when": "always"}


async def test_a_job_for_failures_runs_when_one_of_its_needs_failed(hands: Hands) -> None:
    run_id = await hands.submit(
        a_job("a"), a_job("b"), a_job("mend", needs=["a", "b"], **ON_FAILURE)
    )

    order = await hands.play("a")

    assert order == ["a", "b", "mend"]
    assert (await hands.status(run_id)) == {
        "run": "failed",
        "a": "failed",
        "b": "success",
        "mend": "success",
    }


async def test_a_job_for_failures_is_skipped_when_none_of_its_needs_failed(hands: Hands) -> None:
    run_id = await hands.submit(a_job("a"), a_job("mend", needs=["a"], **ON_FAILURE))

    await hands.play()

    assert await hands.status(run_id) == {"run": "success", "a": "success", "mend": "skipped"}
    assert await hands.reason(run_id, "mend") == "nothing_failed"


async def test_a_job_for_failures_waits_until_all_its_needs_have_ended(hands: Hands) -> None:
    run_id = await hands.submit(
        a_job("a"), a_job("b"), a_job("mend", needs=["a", "b"], **ON_FAILURE)
    )

    await hands.do(exit_code=1)

    assert (await hands.status(run_id))["mend"] == "blocked"


async def test_an_allowed_failure_counts_for_who_waits_for_failures(hands: Hands) -> None:
    run_id = await hands.submit(
        a_job("a", allow_failure=True), a_job("mend", needs=["a"], **ON_FAILURE)
    )

    await hands.play("a")

    assert await hands.status(run_id) == {"run": "success", "a": "failed", "mend": "success"}


async def test_a_need_skipped_because_of_a_failure_counts_as_one(hands: Hands) -> None:
    run_id = await hands.submit(
        a_job("a"), a_job("b", needs=["a"]), a_job("mend", needs=["b"], **ON_FAILURE)
    )

    order = await hands.play("a")

    assert order == ["a", "mend"]
    assert (await hands.status(run_id))["b"] == "skipped"


async def test_a_cancelled_need_is_no_failure_but_an_end(hands: Hands) -> None:
    run_id = await hands.submit(
        a_job("a"),
        a_job("mend", needs=["a"], **ON_FAILURE),
        a_job("tidy", needs=["a"], **ALWAYS),
    )

    await hands.cancel(run_id, "a")
    order = await hands.play()

    assert order == ["tidy"]
    assert await hands.reason(run_id, "mend") == "nothing_failed"


async def test_what_needs_a_job_that_had_nothing_to_mend_is_skipped(hands: Hands) -> None:
    run_id = await hands.submit(
        a_job("a"), a_job("mend", needs=["a"], **ON_FAILURE), a_job("after", needs=["mend"])
    )

    await hands.play()

    assert await hands.status(run_id) == {
        "run": "success",
        "a": "success",
        "mend": "skipped",
        "after": "skipped",
    }


@pytest.mark.parametrize("failing", [(), ("a",)])
async def test_a_job_that_runs_always_runs_after_any_end(
    hands: Hands, failing: tuple[str, ...]
) -> None:
    run_id = await hands.submit(
        a_job("a"), a_job("b", needs=["a"]), a_job("tidy", needs=["a", "b"], **ALWAYS)
    )

    order = await hands.play(*failing)

    assert order[-1] == "tidy"
    assert (await hands.status(run_id))["tidy"] == "success"


async def test_in_a_cancelled_run_nothing_starts_whatever_its_condition(hands: Hands) -> None:
    run_id = await hands.submit(
        a_job("a"), a_job("tidy", **ALWAYS), a_job("mend", needs=["a"], **ON_FAILURE)
    )
    claim = await hands.start()

    await hands.cancel(run_id)
    await hands.finish(claim, exit_code=1)

    assert await hands.play() == []
    assert await hands.status(run_id) == {
        "run": "cancelled",
        "a": "cancelled",
        "tidy": "cancelled",
        "mend": "cancelled",
    }


# -- without needs and stages: the run is looked at ------------------------------------------------


async def test_a_job_without_needs_that_runs_always_is_the_last(hands: Hands) -> None:
    await hands.submit(a_job("tidy", **ALWAYS), a_job("a"), a_job("b", needs=["a"]))

    assert await hands.play() == ["a", "b", "tidy"]


async def test_a_job_without_needs_for_failures_runs_after_any_in_the_run(hands: Hands) -> None:
    run_id = await hands.submit(a_job("mend", **ON_FAILURE), a_job("a"), a_job("b"))

    order = await hands.play("a")

    assert order == ["a", "b", "mend"]
    assert (await hands.status(run_id))["run"] == "failed"


async def test_a_job_without_needs_for_failures_is_skipped_when_all_is_well(hands: Hands) -> None:
    run_id = await hands.submit(a_job("mend", **ON_FAILURE), a_job("a"))

    await hands.play()

    assert await hands.status(run_id) == {"run": "success", "mend": "skipped", "a": "success"}


async def test_what_needs_a_watching_job_does_not_keep_it_waiting(hands: Hands) -> None:
    await hands.submit(a_job("tidy", **ALWAYS), a_job("report", needs=["tidy"]), a_job("a"))

    assert await hands.play() == ["a", "tidy", "report"]


async def test_a_run_of_nothing_but_watching_jobs_starts_at_once(hands: Hands) -> None:
    run_id = await hands.submit(a_job("tidy", **ALWAYS), a_job("mend", **ON_FAILURE))

    assert await hands.play() == ["tidy"]
    assert await hands.status(run_id) == {"run": "success", "tidy": "success", "mend": "skipped"}


# -- with stages -----------------------------------------------------------------------------------


async def test_after_a_failed_stage_only_what_runs_in_spite_of_it_runs(hands: Hands) -> None:
    run_id = await hands.submit(
        a_job("build", stage="build"),
        a_job("test", stage="test"),
        a_job("ship", stage="ship"),
        a_job("mend", stage="ship", **ON_FAILURE),
        a_job("tidy", stage="tidy", **ALWAYS),
        stages=["build", "test", "ship", "tidy"],
    )

    order = await hands.play("build")

    assert order == ["build", "mend", "tidy"]
    assert await hands.stages(run_id) == ["failed", "skipped", "success", "success"]
    assert (await hands.status(run_id))["run"] == "failed"


async def test_a_stage_for_failures_is_nothing_when_all_is_well(hands: Hands) -> None:
    run_id = await hands.submit(
        a_job("build", stage="build"),
        a_job("mend", stage="mend", **ON_FAILURE),
        a_job("ship", stage="ship"),
        stages=["build", "mend", "ship"],
    )

    order = await hands.play()

    assert order == ["build", "ship"]
    assert await hands.stages(run_id) == ["success", "success", "success"]
    assert (await hands.status(run_id))["run"] == "success"


async def test_an_allowed_failure_two_stages_ago_is_still_a_failure_to_mend(hands: Hands) -> None:
    await hands.submit(
        a_job("lint", stage="build", allow_failure=True),
        a_job("test", stage="test"),
        a_job("mend", stage="mend", **ON_FAILURE),
        stages=["build", "test", "mend"],
    )

    assert await hands.play("lint") == ["lint", "test", "mend"]


async def test_in_the_first_stage_nothing_can_have_failed_before(hands: Hands) -> None:
    run_id = await hands.submit(
        a_job("mend", stage="one", **ON_FAILURE),
        a_job("tidy", stage="one", **ALWAYS),
        stages=["one"],
    )

    assert await hands.play() == ["tidy"]
    assert await hands.status(run_id) == {"run": "success", "mend": "skipped", "tidy": "success"}


async def test_a_job_waits_for_its_stage_and_its_needs_whatever_its_condition(
    hands: Hands,
) -> None:
    order = ["a", "b", "tidy"]
    await hands.submit(
        a_job("a", stage="one"),
        a_job("b", stage="two", **ALWAYS),
        a_job("tidy", stage="two", needs=["b"], **ALWAYS),
        stages=["one", "two"],
    )

    assert await hands.play("a") == order


# -- what checks and losses make of a job ----------------------------------------------------------


@pytest.mark.parametrize(
    ("outcome", "status", "what"),
    [
        (Outcome.PRECHECK_FAILED, "precheck_failed", "precheck"),
        (Outcome.POSTCHECK_FAILED, "postcheck_failed", "postcheck"),
        (Outcome.FORBIDDEN, "failed", "forbidden"),
    ],
)
async def test_a_check_that_does_not_pass_is_its_own_end(
    hands: Hands, outcome: Outcome, status: str, what: str
) -> None:
    run_id = await hands.submit(a_job("a"), a_job("b", needs=["a"]))

    await hands.finish(await hands.start(), None, outcome=outcome)

    assert await hands.status(run_id) == {"run": "failed", "a": status, "b": "skipped"}
    assert await hands.reason(run_id, "a") == what


@pytest.mark.parametrize("kind", ["precheck_failed", "postcheck_failed", "timeout"])
async def test_a_named_kind_of_failure_is_tried_again(hands: Hands, kind: str) -> None:
    run_id = await hands.submit(a_job("a", retry=retry_at_once(1, on=[kind])))

    await hands.finish(await hands.start(), None, outcome=Outcome(kind))
    waiting = (await hands.status(run_id))["a"]
    await hands.runtime.advance(10.2)
    await hands.until(run_id, "job.queued", times=2)
    await hands.finish(await hands.start(), None, outcome=Outcome(kind))

    job = await hands.job(run_id, "a")
    assert (waiting, job.status.value, job.tries, job.attempts) == ("retrying", kind, 2, 2)


async def test_a_lost_try_waits_its_delay_where_the_rule_names_lost(hands: Hands) -> None:
    run_id = await hands.submit(a_job("a", retry=retry_at_once(1, on=["lost"])))
    await hands.start()

    await hands.runtime.advance(30.5)
    event = await hands.until(run_id, "job.retrying")
    nothing_yet = await hands.claim()
    await hands.runtime.advance(10.2)
    await hands.until(run_id, "job.queued", times=2)
    await hands.do()

    assert (event.facts["reason"], event.facts["delay_s"]) == ("lost", 10)
    assert nothing_yet == []
    assert (await hands.job(run_id, "a")).tries == 2


async def test_the_total_time_is_no_concern_of_the_wall_clock(hands: Hands) -> None:
    run_id = await hands.submit(a_job("a", retry=retry_at_once(9, max_time_s=60, on=["failed"])))
    claim = await hands.start()

    hands.runtime.step_wall_clock(3_600)
    await hands.finish(claim, 1)

    assert (await hands.status(run_id))["a"] == "retrying"


async def test_after_the_total_time_no_try_follows(hands: Hands) -> None:
    run_id = await hands.submit(a_job("a", retry=retry_at_once(9, max_time_s=25, backoff=1)))

    await hands.finish(await hands.start(), 1)
    await hands.runtime.advance(10.2)
    await hands.until(run_id, "job.queued", times=2)
    claim = await hands.start()
    await hands.runtime.advance(16)
    await hands.finish(claim, 1)

    job = await hands.job(run_id, "a")
    assert (job.status.value, job.tries) == ("failed", 2)


async def test_the_total_time_goes_on_after_a_restart_without_the_time_between(
    tmp_path: Path,
) -> None:
    runtime = ManualRuntime()
    rule = retry_at_once(9, max_time_s=25, backoff=1)
    async with hands_on(tmp_path, runtime) as before:
        run_id = await before.submit(a_job("a", retry=rule))
        claim = await before.start()
        await runtime.advance(20)
        await before.finish(claim, 1)
    await runtime.advance(3_600)

    async with hands_on(tmp_path, runtime) as after:
        still_waits = await after.status(run_id)
        await runtime.advance(10.2)
        await after.until(run_id, "job.queued", times=2)
        await after.finish(await after.start(), 1)
        job = await after.job(run_id, "a")

    assert still_waits["a"] == "retrying"
    assert (job.status.value, job.tries) == ("failed", 2)


async def test_the_phase_of_a_running_job_is_what_its_worker_last_said(hands: Hands) -> None:
    run_id = await hands.submit(a_job("a"))
    claim = await hands.start()

    unknown = (await hands.job(run_id, "a")).phase
    await hands.beat(claim, phase="pre_checks")
    checking = (await hands.job(run_id, "a")).phase
    await hands.finish(claim)

    assert (unknown, checking) == (None, "pre_checks")
    assert (await hands.job(run_id, "a")).phase is None


async def test_the_worker_is_told_what_to_check_and_what_the_pipeline_demands(
    hands: Hands,
) -> None:
    await hands.submit(
        a_job(
            "a",
            pre_checks=[{"name": "file_exists", "params": {"path": "x"}}],
            post_checks=[{"name": "regex_absent"}],
        ),
        inherit_env=["PATH"],
        plugins=["checks.py"],
        security={"allow_shell": False},
    )
    (claim,) = await hands.claim()

    context = await hands.run(claim)

    assert [check.name for check in context.pre_checks] == ["file_exists"]
    assert context.pre_checks[0].params == {"path": "x"}
    assert [check.name for check in context.post_checks] == ["regex_absent"]
    assert (context.inherit_env, context.plugins) == (("PATH",), ("checks.py",))
    assert context.security is not None
    assert context.security.allow_shell is False
