"""A person takes a job for a success while its run goes on: it is judged anew as a whole."""

import pytest

from shared.errors import Conflict, UnknownJob
from shared.protocol import jobs as j
from shared.protocol.gateway import Outcome
from tests.support.jobstore import Hands, a_job, retry_at_once


async def test_what_was_skipped_because_of_a_marked_job_runs_after_all(hands: Hands) -> None:
    run_id = await hands.submit(
        a_job("other"), a_job("a"), a_job("b", needs=["a"]), a_job("c", needs=["b"])
    )
    other = await hands.start()
    await hands.do(exit_code=1)
    skipped = await hands.status(run_id)

    await hands.mark(run_id, "a")
    await hands.mark(run_id, "a")  # the answer got lost: the same again
    revived = await hands.status(run_id)
    order = await hands.play()
    await hands.finish(other)

    assert (skipped["b"], skipped["c"]) == ("skipped", "skipped")
    assert (revived["b"], revived["c"]) == ("queued", "blocked")
    assert order == ["b", "c"]
    assert await hands.status(run_id) == {
        "run": "success",
        "other": "success",
        "a": "success",
        "b": "success",
        "c": "success",
    }


async def test_a_marked_job_says_who_took_it_for_a_success_and_what_it_was(hands: Hands) -> None:
    run_id = await hands.submit(a_job("a"), a_job("other"))
    await hands.do(exit_code=7)
    ended_at = (await hands.job(run_id, "a")).ended_at

    await hands.runtime.advance(60)
    await hands.mark(run_id, "a")
    event = await hands.until(run_id, "job.marked")
    job = await hands.job(run_id, "a")

    assert (job.marked_by, job.exit_code, job.ended_at) == ("eve", 7, ended_at)
    assert job.reason == j.Reason(
        who="operator", what="marked", message="taken for a success by eve: seen"
    )
    assert event.facts == {"by": "eve", "reason": "seen", "was": "failed", "status": "success"}


@pytest.mark.parametrize("outcome", ["timeout", "precheck_failed", "postcheck_failed"])
async def test_every_kind_of_failure_can_be_marked(hands: Hands, outcome: str) -> None:
    run_id = await hands.submit(a_job("a"), a_job("b"))
    await hands.finish(await hands.start(), None, outcome=Outcome(outcome))

    await hands.mark(run_id, "a")
    await hands.do()

    assert (await hands.status(run_id))["run"] == "success"


async def test_what_also_needs_another_failed_job_stays_skipped(hands: Hands) -> None:
    run_id = await hands.submit(
        a_job("a"), a_job("bad"), a_job("b", needs=["a", "bad"]), a_job("open")
    )
    await hands.do(exit_code=1)
    await hands.do(exit_code=1)

    await hands.mark(run_id, "a")

    assert (await hands.status(run_id))["b"] == "skipped"
    await hands.mark(run_id, "bad")
    assert (await hands.status(run_id))["b"] == "queued"


async def test_a_blocked_job_that_is_marked_lets_its_dependents_run(hands: Hands) -> None:
    run_id = await hands.submit(a_job("a"), a_job("b", needs=["a"]), a_job("c", needs=["b"]))

    await hands.mark(run_id, "b")
    both = await hands.claim(slots=9)

    assert [claim.job_id for claim in both] == ["a", "c"]


async def test_a_queued_job_that_is_marked_gives_up_its_place_and_its_lock(hands: Hands) -> None:
    run_id = await hands.submit(a_job("a", lock="db"), a_job("b", lock="db"), max_workers=1)

    await hands.mark(run_id, "a")

    assert await hands.play() == ["b"]
    assert (await hands.status(run_id))["run"] == "success"


async def test_a_held_job_can_be_marked(hands: Hands) -> None:
    run_id = await hands.submit(a_job("ship", approve=True))

    await hands.mark(run_id, "ship")

    assert await hands.status(run_id) == {"run": "success", "ship": "success"}


async def test_a_job_that_waits_for_its_next_try_can_be_marked(hands: Hands) -> None:
    run_id = await hands.submit(a_job("a", retry=retry_at_once(1)))
    await hands.do(exit_code=1)

    await hands.mark(run_id, "a")
    await hands.runtime.advance(11)

    assert await hands.status(run_id) == {"run": "success", "a": "success"}
    assert await hands.claim() == []


async def test_a_job_that_a_worker_has_cannot_be_marked(hands: Hands) -> None:
    run_id = await hands.submit(a_job("a"))
    (claim,) = await hands.claim()

    with pytest.raises(Conflict):
        await hands.mark(run_id, "a")
    await hands.run(claim)
    with pytest.raises(Conflict):
        await hands.mark(run_id, "a")
    with pytest.raises(UnknownJob):
        await hands.mark(run_id, "nothing")


async def test_a_skipped_job_that_is_marked_lets_what_needs_it_run(hands: Hands) -> None:
    run_id = await hands.submit(
        a_job("bad"), a_job("b", needs=["bad"]), a_job("c", needs=["b"]), a_job("open")
    )
    await hands.do(exit_code=1)

    await hands.mark(run_id, "b")

    status = await hands.status(run_id)
    assert (status["bad"], status["b"], status["c"]) == ("failed", "success", "queued")
    await hands.play()
    assert (await hands.status(run_id))["run"] == "failed"


async def test_a_cancelled_job_can_be_marked(hands: Hands) -> None:
    run_id = await hands.submit(a_job("a"), a_job("b", needs=["a"]), a_job("c"))
    await hands.cancel(run_id, "a")

    await hands.mark(run_id, "a")

    assert await hands.play() == ["b", "c"]
    assert (await hands.status(run_id))["run"] == "success"


async def test_a_stopped_run_goes_on_when_its_failure_is_marked(hands: Hands) -> None:
    run_id = await hands.submit(
        a_job("bad"), a_job("runs"), a_job("queued"), a_job("b", needs=["bad"]), on_error="stop"
    )
    bad, runs = await hands.start(), await hands.start()
    await hands.finish(bad, 1)

    await hands.mark(run_id, "bad")
    order = await hands.play()
    await hands.finish(runs)

    assert sorted(order) == ["b", "queued"]
    assert (await hands.status(run_id))["run"] == "success"


async def test_a_stopped_run_stops_again_at_the_next_failure(hands: Hands) -> None:
    run_id = await hands.submit(
        a_job("bad"), a_job("runs"), a_job("next"), a_job("last"), on_error="stop"
    )
    bad, runs = await hands.start(), await hands.start()
    await hands.finish(bad, 1)
    await hands.mark(run_id, "bad")

    order = await hands.play("next")
    await hands.finish(runs)

    assert order == ["next"]
    assert await hands.status(run_id) == {
        "run": "failed",
        "bad": "success",
        "runs": "success",
        "next": "failed",
        "last": "skipped",
    }


@pytest.mark.parametrize("has_ended", [False, True])
async def test_a_job_that_was_stopped_for_a_failure_is_no_success_once_that_is_marked(
    hands: Hands, *, has_ended: bool
) -> None:
    run_id = await hands.submit(
        a_job("bad", stage="build"),
        a_job("stopped", stage="build"),
        a_job("tidies", stage="build", needs=["bad"], when="always"),
        a_job("ship", stage="ship"),
        stages=["build", "ship"],
        on_error="cancel",
    )
    bad, stopped = await hands.start(), await hands.start()
    await hands.finish(bad, 1)
    tidies = await hands.start()

    if not has_ended:
        await hands.mark(run_id, "bad")
    await hands.finish(stopped, None, outcome=Outcome.CANCELLED)
    if has_ended:
        await hands.mark(run_id, "bad")
    await hands.finish(tidies)

    assert await hands.claim() == []
    assert await hands.stages(run_id) == ["cancelled", "skipped"]
    assert await hands.status(run_id) == {
        "run": "cancelled",
        "bad": "success",
        "stopped": "cancelled",
        "tidies": "success",
        "ship": "skipped",
    }


async def test_in_a_cancelled_run_a_mark_revives_nothing(hands: Hands) -> None:
    run_id = await hands.submit(a_job("bad"), a_job("runs"), a_job("b", needs=["bad"]))
    bad, runs = await hands.start(), await hands.start()
    await hands.finish(bad, 1)
    await hands.cancel(run_id)

    await hands.mark(run_id, "bad")
    nothing = await hands.claim()
    await hands.finish(runs, None, outcome=Outcome.CANCELLED)

    assert nothing == []
    assert (await hands.status(run_id))["run"] == "cancelled"


async def test_a_stage_goes_on_when_its_failure_is_marked(hands: Hands) -> None:
    run_id = await hands.submit(
        a_job("build", stage="one"),
        a_job("test", stage="two"),
        a_job("ship", stage="three"),
        a_job("tidy", stage="three", when="always"),
        stages=["one", "two", "three"],
    )
    await hands.do(exit_code=1)
    tidy = await hands.start()
    before = await hands.stages(run_id)

    await hands.mark(run_id, "build")
    marked = await hands.stages(run_id)
    order = await hands.play()
    await hands.finish(tidy)

    assert before == ["failed", "skipped", "running"]
    assert marked == ["success", "running", "running"]
    assert order == ["test", "ship"]
    assert await hands.stages(run_id) == ["success"] * 3
    assert (await hands.status(run_id))["run"] == "success"


async def test_one_of_two_failures_of_a_stage_is_not_enough(hands: Hands) -> None:
    run_id = await hands.submit(
        a_job("a", stage="one"),
        a_job("b", stage="one"),
        a_job("c", stage="two"),
        a_job("tidy", stage="two", when="always"),
        stages=["one", "two"],
    )
    await hands.do(exit_code=1)
    await hands.do(exit_code=1)

    await hands.mark(run_id, "a")

    assert await hands.stages(run_id) == ["failed", "running"]
    assert (await hands.status(run_id))["c"] == "skipped"


async def test_a_stage_that_is_cancelled_goes_on_when_that_is_marked(hands: Hands) -> None:
    run_id = await hands.submit(
        a_job("a", stage="one"),
        a_job("b", stage="two"),
        a_job("tidy", stage="two", when="always"),
        stages=["one", "two"],
    )
    await hands.cancel(run_id, "a")
    before = await hands.stages(run_id)

    await hands.mark(run_id, "a")

    assert before == ["cancelled", "running"]
    assert sorted(await hands.play()) == ["b", "tidy"]
    assert (await hands.status(run_id))["run"] == "success"


async def test_a_stage_that_tidied_up_is_reopened_for_what_it_had_skipped(hands: Hands) -> None:
    run_id = await hands.submit(
        a_job("build", stage="one"),
        a_job("test", stage="two"),
        a_job("mend", stage="two", when="always"),
        a_job("tidy", stage="three", when="always"),
        stages=["one", "two", "three"],
    )
    await hands.do(exit_code=1)
    await hands.do()
    tidy = await hands.start()
    before = await hands.stages(run_id)

    await hands.mark(run_id, "build")
    after = await hands.stages(run_id)
    order = await hands.play()
    await hands.finish(tidy)

    assert before == ["failed", "success", "running"]
    assert after == ["success", "running", "running"]
    assert order == ["test"]
    assert await hands.stages(run_id) == ["success"] * 3


async def test_who_waits_for_a_failure_has_none_when_it_was_marked(hands: Hands) -> None:
    run_id = await hands.submit(
        a_job("a"), a_job("b"), a_job("mend", needs=["a", "b"], when="on_failure")
    )
    await hands.do(exit_code=1)

    await hands.mark(run_id, "a")
    await hands.play()

    assert await hands.reason(run_id, "mend") == "nothing_failed"


async def test_who_watches_the_run_waits_for_what_was_revived(hands: Hands) -> None:
    run_id = await hands.submit(
        a_job("a"),
        a_job("b", needs=["a"]),
        a_job("other"),
        a_job("tidy", when="always"),
        a_job("mend", when="on_failure"),
    )
    await hands.do(exit_code=1)

    await hands.mark(run_id, "a")

    assert sorted((await hands.play())[:2]) == ["b", "other"]
    assert await hands.status(run_id) == {
        "run": "success",
        "a": "success",
        "b": "success",
        "other": "success",
        "tidy": "success",
        "mend": "skipped",
    }
