"""What people do to a mapped job, they do to its instances."""

import pytest

from shared.errors import Conflict
from shared.ids import RunId
from shared.protocol import execution as e
from shared.protocol import gateway as g
from tests.support.jobstore import Hands
from tests.support.stored_tasks import a_task, end, leave


async def three(hands: Hands) -> RunId:
    """A job of three instances, and one that waits for it."""
    return await hands.submit(a_task("a", mapped_over=[1, 2, 3]), a_task("b", "a"))


async def test_cancelling_a_mapped_job_ends_its_instances_and_then_itself(hands: Hands) -> None:
    run_id = await three(hands)

    await hands.cancel(run_id, "a")

    assert await hands.status(run_id) == {
        "run": "cancelled",
        "a": "cancelled",
        "a[0]": "cancelled",
        "a[1]": "cancelled",
        "a[2]": "cancelled",
        "b": "skipped",
    }


async def test_an_instance_that_runs_is_told_to_stop_and_the_job_ends_with_it(
    hands: Hands,
) -> None:
    run_id = await three(hands)
    running = await hands.start()

    await hands.cancel(run_id, "a")

    assert (await hands.status(run_id))["a"] == "blocked"
    assert (await hands.status(run_id))["a[1]"] == "cancelled"
    assert (await hands.beat(running)).verdict is g.Verdict.CANCEL
    await hands.finish(running, None, outcome=g.Outcome.CANCELLED)
    assert (await hands.status(run_id))["a"] == "cancelled"


async def test_cancelling_a_mapped_job_leaves_what_has_ended(hands: Hands) -> None:
    run_id = await three(hands)
    await leave(hands, "x")

    await hands.cancel(run_id, "a")

    ended = await hands.status(run_id)
    assert (ended["a[0]"], ended["a[1]"], ended["a"]) == ("success", "cancelled", "cancelled")
    with pytest.raises(Conflict):
        await hands.cancel(run_id, "a[0]")


async def test_cancelling_a_mapped_job_before_it_is_unfolded_makes_no_instance(
    hands: Hands,
) -> None:
    run_id = await hands.submit(a_task("l"), a_task("a", "l", mapped_over="l"))

    await hands.cancel(run_id, "a")
    await leave(hands, [1, 2])

    assert await hands.status(run_id) == {"run": "cancelled", "l": "success", "a": "cancelled"}


async def test_marking_a_failed_mapped_job_mends_its_instances_and_the_run(hands: Hands) -> None:
    run_id = await hands.submit(a_task("a", mapped_over=[1, 2, 3]))
    await leave(hands, "x")
    for _ in range(2):
        await end(hands, e.Fail(reason="no"), exit_code=1)
    assert (await hands.status(run_id))["run"] == "failed"

    await hands.mark(run_id, "a")

    assert set((await hands.status(run_id)).values()) == {"success"}
    assert (await hands.job(run_id, "a[0]")).marked_by is None
    assert (await hands.job(run_id, "a[2]")).marked_by == "eve"


async def test_what_waited_for_a_failed_mapped_job_runs_once_that_is_marked(
    hands: Hands,
) -> None:
    run_id = await hands.submit(a_task("a", mapped_over=[1]), a_task("b", "a"), a_task("other"))
    claims: dict[str, g.Claim] = {}
    for _ in range(2):
        claim = await hands.start()
        claims[claim.job_id] = claim
    await hands.finish(claims["a[0]"], 1, outcome=g.Outcome.TASK_ENDED, task=e.Fail(reason="no"))
    assert (await hands.status(run_id))["b"] == "skipped"

    await hands.mark(run_id, "a")

    assert (await hands.status(run_id))["b"] == "queued"
    await hands.finish(claims["other"], task=e.Succeed())
    await end(hands, e.Succeed())
    assert set((await hands.status(run_id)).values()) == {"success"}


async def test_marking_a_mapped_job_that_waits_lets_what_follows_go_on(hands: Hands) -> None:
    run_id = await three(hands)
    await leave(hands, "x")

    await hands.mark(run_id, "a")

    marked = await hands.status(run_id)
    assert (marked["a[1]"], marked["a"], marked["b"]) == ("success", "success", "queued")


async def test_a_mapped_job_of_which_a_worker_has_an_instance_is_not_marked(hands: Hands) -> None:
    run_id = await three(hands)
    running = await hands.start()

    with pytest.raises(Conflict, match=r"'a\[0\]' is running"):
        await hands.mark(run_id, "a")

    assert (await hands.status(run_id))["a[1]"] == "queued"
    await hands.finish(running, task=e.Succeed())


async def test_marking_a_mapped_job_again_changes_nothing(hands: Hands) -> None:
    run_id = await three(hands)
    await hands.mark(run_id, "a")
    before = await hands.status(run_id)

    await hands.mark(run_id, "a")

    assert await hands.status(run_id) == before
