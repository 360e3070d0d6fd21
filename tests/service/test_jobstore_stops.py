"""What a failure that counts means for the rest of its run: on_error."""

from datetime import timedelta

import pytest

from shared.errors import Conflict, StaleFence
from shared.protocol.execution import Reschedule
from shared.protocol.gateway import Outcome, Verdict
from tests.support.jobstore import BEN, Hands, a_job, retry_at_once

ALWAYS = {"when": "always"}


async def test_by_default_a_failure_stops_only_what_needs_it(hands: Hands) -> None:
    run_id = await hands.submit(a_job("a"), a_job("b", needs=["a"]), a_job("c"))

    assert await hands.play("a") == ["a", "c"]
    assert (await hands.status(run_id))["b"] == "skipped"


async def test_a_stopped_run_starts_nothing_new_and_lets_go_on_what_runs(hands: Hands) -> None:
    run_id = await hands.submit(
        a_job("bad"),
        a_job("runs"),
        a_job("queued"),
        a_job("blocked", needs=["runs"]),
        on_error="stop",
    )
    bad, runs = await hands.start(), await hands.start()

    await hands.finish(bad, 1)
    at_once = await hands.status(run_id)
    verdict = await hands.beat(runs)
    await hands.finish(runs)

    assert at_once == {
        "run": "running",
        "bad": "failed",
        "runs": "running",
        "queued": "skipped",
        "blocked": "skipped",
    }
    assert verdict.verdict is Verdict.RENEWED
    assert await hands.reason(run_id, "blocked") == "fail_fast"
    assert (await hands.status(run_id)) == at_once | {"run": "failed", "runs": "success"}
    assert await hands.claim() == []


async def test_a_stop_ends_held_jobs_and_the_waits_for_a_retry(hands: Hands) -> None:
    run_id = await hands.submit(
        a_job("again", retry=retry_at_once(1)),
        a_job("bad"),
        a_job("held"),
        a_job("unapproved", approve=True),
        max_workers=1,
        on_error="stop",
    )
    await hands.do(exit_code=1)

    await hands.do(exit_code=1)

    assert await hands.status(run_id) == {
        "run": "failed",
        "again": "failed",
        "bad": "failed",
        "held": "skipped",
        "unapproved": "skipped",
    }
    await hands.runtime.advance(11)
    assert await hands.claim() == []


@pytest.mark.parametrize("on_error", ["stop", "cancel"])
@pytest.mark.parametrize(
    ("outcome", "exit_code", "what"),
    [
        (Outcome.EXITED, 7, "exit_code"),
        (Outcome.TIMEOUT, None, "timeout"),
        (Outcome.PRECHECK_FAILED, None, "precheck"),
        (Outcome.POSTCHECK_FAILED, 0, "postcheck"),
    ],
)
async def test_a_job_that_a_stop_finds_waiting_for_its_retry_ends_as_its_last_try_did(
    hands: Hands, on_error: str, outcome: Outcome, exit_code: int | None, what: str
) -> None:
    retry = retry_at_once(1, on=["failed", "timeout", "precheck_failed", "postcheck_failed"])
    run_id = await hands.submit(
        a_job("again", retry=retry),
        a_job("bad"),
        a_job("mend", needs=["again"], when="on_failure"),
        on_error=on_error,
    )
    await hands.finish(await hands.start(), exit_code, outcome=outcome)

    await hands.do(exit_code=1)

    job = await hands.job(run_id, "again")
    status = "failed" if outcome is Outcome.EXITED else outcome.value
    assert (job.status, job.exit_code, await hands.reason(run_id, "again")) == (
        status,
        exit_code,
        what,
    )
    times = 1 + (status == "failed")  # the other one has failed before
    facts = (await hands.until(run_id, f"job.{status}", times=times)).facts
    assert (facts["exit_code"], facts["reason"]) == (exit_code, what)
    assert await hands.play() == ["mend"]


async def test_a_job_lost_before_the_stop_of_its_run_has_failed(hands: Hands) -> None:
    run_id = await hands.submit(
        a_job("lost", retry=retry_at_once(1, on=["lost"])), a_job("bad"), on_error="stop"
    )
    await hands.start()
    await hands.runtime.advance(31)
    await hands.until(run_id, "job.retrying")

    await hands.do(exit_code=1)

    assert (await hands.status(run_id))["lost"] == "failed"
    assert await hands.reason(run_id, "lost") == "lost"


async def test_a_rescheduled_task_has_not_failed_and_a_stop_skips_it(hands: Hands) -> None:
    run_id = await hands.submit(a_job("later"), a_job("bad"), on_error="stop")
    at = hands.runtime.now() + timedelta(hours=1)
    task = Reschedule(at=at)
    await hands.finish(await hands.start(), None, outcome=Outcome.TASK_ENDED, task=task)

    await hands.do(exit_code=1)

    assert (await hands.status(run_id))["later"] == "skipped"
    assert await hands.reason(run_id, "later") == "fail_fast"


async def test_a_claim_that_was_not_started_is_void_when_the_run_stops(hands: Hands) -> None:
    run_id = await hands.submit(a_job("bad"), a_job("claimed"), on_error="stop")
    bad = await hands.start()
    (claim,) = await hands.claim(BEN)

    await hands.finish(bad, 1)

    with pytest.raises(StaleFence) as caught:
        await hands.run(claim, BEN)
    assert caught.value.facts["state"] == "cancelled"
    assert await hands.status(run_id) == {"run": "failed", "bad": "failed", "claimed": "skipped"}


async def test_in_a_stopped_run_what_runs_in_spite_of_failures_runs(hands: Hands) -> None:
    run_id = await hands.submit(
        a_job("bad"),
        a_job("other"),
        a_job("mend", needs=["bad"], when="on_failure", retry=retry_at_once(1)),
        a_job("tidy", **ALWAYS),
        a_job("after", needs=["tidy"]),
        on_error="stop",
    )

    await hands.do(exit_code=1)
    await hands.do(exit_code=1)  # mend, which is tried again
    await hands.runtime.advance(10.2)
    await hands.until(run_id, "job.retrying")
    order = await hands.play()

    assert sorted(order) == ["mend", "tidy"]
    assert await hands.status(run_id) == {
        "run": "failed",
        "bad": "failed",
        "other": "skipped",
        "mend": "success",
        "tidy": "success",
        "after": "skipped",
    }


async def test_an_allowed_failure_stops_nothing(hands: Hands) -> None:
    run_id = await hands.submit(a_job("a", allow_failure=True), a_job("b"), on_error="cancel")

    await hands.play("a")

    assert await hands.status(run_id) == {"run": "success", "a": "failed", "b": "success"}


async def test_fail_fast_cancels_what_runs_and_the_run_has_failed(hands: Hands) -> None:
    run_id = await hands.submit(a_job("bad"), a_job("runs"), on_error="cancel")
    bad, runs = await hands.start(), await hands.start()

    await hands.finish(bad, 1)
    verdict = (await hands.beat(runs)).verdict
    await hands.finish(runs, None, outcome=Outcome.CANCELLED)

    assert verdict is Verdict.CANCEL
    assert await hands.status(run_id) == {"run": "failed", "bad": "failed", "runs": "cancelled"}
    assert await hands.reason(run_id, "runs") == "fail_fast"


async def test_fail_fast_leaves_what_runs_in_spite_of_failures(hands: Hands) -> None:
    run_id = await hands.submit(a_job("bad"), a_job("a"), a_job("tidy", needs=["a"], **ALWAYS))
    await hands.cancel(run_id)
    run_id = await hands.submit(
        a_job("a"), a_job("bad"), a_job("tidy", needs=["a"], **ALWAYS), on_error="cancel"
    )
    await hands.do()
    bad, tidy = await hands.start(), await hands.start()

    await hands.finish(bad, 1)

    assert (await hands.beat(tidy)).verdict is Verdict.RENEWED


async def test_a_failed_try_in_a_stopped_run_is_the_last(hands: Hands) -> None:
    run_id = await hands.submit(
        a_job("bad"), a_job("again", retry=retry_at_once(5)), on_error="stop"
    )
    bad, again = await hands.start(), await hands.start()

    await hands.finish(bad, 1)
    await hands.finish(again, 1)

    assert await hands.status(run_id) == {"run": "failed", "bad": "failed", "again": "failed"}


async def test_a_job_that_had_to_leave_its_worker_does_not_come_back_to_a_stopped_run(
    hands: Hands,
) -> None:
    run_id = await hands.submit(a_job("bad"), a_job("drained"), on_error="stop")
    bad, drained = await hands.start(), await hands.start()

    await hands.finish(bad, 1)
    await hands.finish(drained, None, outcome=Outcome.DRAINED)

    assert await hands.status(run_id) == {"run": "failed", "bad": "failed", "drained": "skipped"}
    assert (await hands.job(run_id, "drained")).tries == 0


async def test_a_job_lost_in_a_stopped_run_has_failed(hands: Hands) -> None:
    run_id = await hands.submit(a_job("bad"), a_job("lost"), on_error="stop")
    bad = await hands.start()
    await hands.start()
    await hands.finish(bad, 1)

    await hands.runtime.advance(31)
    await hands.until(run_id, "run.failed")

    assert (await hands.status(run_id))["lost"] == "failed"


async def test_later_stages_are_skipped_but_for_what_tidies_up(hands: Hands) -> None:
    run_id = await hands.submit(
        a_job("bad", stage="one"),
        a_job("peer", stage="one"),
        a_job("next", stage="two"),
        a_job("tidy", stage="three", **ALWAYS),
        stages=["one", "two", "three"],
        on_error="stop",
    )

    assert await hands.play("bad") == ["bad", "tidy"]
    assert await hands.stages(run_id) == ["failed", "skipped", "success"]
    assert (await hands.status(run_id))["run"] == "failed"


async def test_a_person_may_cancel_a_run_that_stopped(hands: Hands) -> None:
    run_id = await hands.submit(a_job("bad"), a_job("runs"), on_error="stop")
    bad, runs = await hands.start(), await hands.start()
    await hands.finish(bad, 1)

    await hands.cancel(run_id)
    await hands.finish(runs, None, outcome=Outcome.CANCELLED)

    assert (await hands.status(run_id))["run"] == "cancelled"


async def test_room_and_locks_of_what_was_skipped_are_free(hands: Hands) -> None:
    stopped = await hands.submit(
        a_job("bad"), a_job("locked", lock="db"), max_workers=2, on_error="stop"
    )
    waiting = await hands.submit(a_job("other", lock="db"))
    held = (await hands.status(waiting))["other"]
    bad = await hands.start()

    await hands.finish(bad, 1)

    assert held == "held"
    assert (await hands.status(stopped))["locked"] == "skipped"
    assert [claim.job_id for claim in await hands.claim(slots=9)] == ["other"]


async def test_a_stopped_jobs_end_cannot_be_undone_by_cancelling_it(hands: Hands) -> None:
    run_id = await hands.submit(a_job("bad"), a_job("other"), on_error="stop")
    await hands.do(exit_code=1)

    with pytest.raises(Conflict):
        await hands.cancel(run_id, "other")
