"""A person takes a job for a success when its run has ended: the record is mended, no more."""

from typing import Any

import pytest

from shared.ids import JobId
from shared.protocol import jobs as j
from shared.protocol.execution import Succeed
from shared.protocol.pipeline import JobSpec
from tests.support.jobstore import Hands, a_job


async def test_in_an_ended_run_the_record_is_mended_and_nothing_starts(hands: Hands) -> None:
    run_id = await hands.submit(a_job("a"), a_job("b", needs=["a"]))
    await hands.play("a")
    ended_at = (await hands.service.show_run(run_id)).ended_at

    await hands.mark(run_id, "a")
    one_left = await hands.status(run_id)
    nothing = await hands.claim()
    await hands.mark(run_id, "b")

    view = await hands.service.show_run(run_id)
    assert one_left == {"run": "failed", "a": "success", "b": "skipped"}
    assert nothing == []
    assert await hands.status(run_id) == {"run": "success", "a": "success", "b": "success"}
    assert (view.exit_code, view.ended_at) == (0, ended_at)
    assert view.counts == {"success": 2}


@pytest.mark.parametrize(
    ("what", "jobs", "pipeline"),
    [
        ("stage", [a_job("a", stage="1"), a_job("b", stage="2")], {"stages": ["1", "2"]}),
        ("fail_fast", [a_job("a"), a_job("b")], {"on_error": "stop"}),
        ("dependency", [a_job("a"), a_job("c", needs=["a"]), a_job("b", needs=["c"])], {}),
        (
            "dependency",
            [a_job("a"), a_job("c", needs=["a"], allow_failure=True), a_job("b", needs=["a", "c"])],
            {},
        ),
    ],
)
async def test_an_ended_run_is_no_success_while_a_failure_left_something_out(
    hands: Hands, what: str, jobs: list[JobSpec], pipeline: dict[str, Any]
) -> None:
    run_id = await hands.submit(*jobs, **pipeline)
    await hands.play("a")
    assert await hands.reason(run_id, "b") == what

    found = []
    for job in jobs:
        await hands.mark(run_id, job.id)
        found.append((await hands.status(run_id))["run"])

    assert found == ["failed"] * (len(jobs) - 1) + ["success"]


async def test_what_no_failure_left_out_does_not_keep_a_run_from_success(hands: Hands) -> None:
    run_id = await hands.submit(
        a_job("bad"),
        a_job("fork"),
        a_job("taken", needs=["fork"]),
        a_job("other", needs=["fork"]),
        a_job("after", needs=["other"]),
        a_job("mend", needs=["fork"], when="on_failure"),
        a_job("operator"),
        skip=("operator",),
    )
    await hands.do(exit_code=1)
    branch = Succeed(follow=(JobId("taken"),))
    await hands.finish(await hands.start(), 0, task=branch)
    await hands.play()
    assert await hands.reason(run_id, "after") == "dependency"

    await hands.mark(run_id, "bad")

    assert (await hands.status(run_id))["run"] == "success"


async def test_a_stage_is_no_success_while_a_failure_left_something_of_it_out(hands: Hands) -> None:
    run_id = await hands.submit(
        a_job("a", stage="one"),
        a_job("b", stage="one", needs=["a"]),
        a_job("none", stage="one", when="on_failure", needs=["ok"]),
        a_job("ok", stage="one"),
        stages=["one"],
    )
    await hands.play("a")

    await hands.mark(run_id, "a")
    between = await hands.stages(run_id)
    await hands.mark(run_id, "b")

    assert between == ["failed"]
    assert await hands.stages(run_id) == ["success"]
    assert (await hands.status(run_id))["none"] == "skipped"


async def test_a_run_with_another_failure_stays_failed(hands: Hands) -> None:
    run_id = await hands.submit(a_job("a"), a_job("b"))
    await hands.play("a", "b")

    await hands.mark(run_id, "a")
    one_left = (await hands.status(run_id))["run"]
    await hands.mark(run_id, "b")

    assert one_left == "failed"
    assert (await hands.status(run_id))["run"] == "success"


async def test_a_run_that_was_cancelled_stays_so(hands: Hands) -> None:
    run_id = await hands.submit(a_job("a"))
    await hands.cancel(run_id)

    await hands.mark(run_id, "a")

    assert await hands.status(run_id) == {"run": "cancelled", "a": "success"}


async def test_a_run_whose_only_cancelled_job_is_marked_has_succeeded(hands: Hands) -> None:
    run_id = await hands.submit(a_job("a"), a_job("b"))
    await hands.cancel(run_id, "a")
    await hands.play()

    await hands.mark(run_id, "a")

    assert (await hands.status(run_id))["run"] == "success"


async def test_the_stage_of_a_marked_job_is_mended_too(hands: Hands) -> None:
    run_id = await hands.submit(
        a_job("a", stage="one"), a_job("b", stage="two"), stages=["one", "two"]
    )
    await hands.play("a")

    await hands.mark(run_id, "a")
    between = await hands.stages(run_id)
    await hands.mark(run_id, "b")

    assert between == ["success", "skipped"]
    assert await hands.stages(run_id) == ["success", "success"]


async def test_a_stage_whose_cancelled_job_is_marked_is_mended(hands: Hands) -> None:
    run_id = await hands.submit(a_job("a", stage="one"), stages=["one"])
    await hands.cancel(run_id, "a")

    await hands.mark(run_id, "a")

    assert await hands.stages(run_id) == ["success"]


async def test_a_run_that_goes_on_from_it_carries_the_marked_job_over(hands: Hands) -> None:
    jobs = (a_job("a"), a_job("b", needs=["a"]))
    run_id = await hands.submit(*jobs)
    await hands.play("a")
    await hands.mark(run_id, "a")

    new = await hands.submit(*jobs, resume=j.Resume(run_id=run_id))
    order = await hands.play()

    assert order == ["b"]
    assert (await hands.job(new, "a")).marked_by == "eve"
    assert (await hands.status(new))["run"] == "success"
