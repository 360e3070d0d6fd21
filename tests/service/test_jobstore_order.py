"""Which job comes when: dependencies, stages, priorities, labels, max_workers."""

import asyncio

from shared.protocol.gateway import Claim
from tests.support.jobstore import ANN, BEN, Hands, a_job


def ids(claims: list[Claim]) -> list[str]:
    return [claim.job_id for claim in claims]


async def test_jobs_are_claimed_in_the_order_of_submission(hands: Hands) -> None:
    await hands.submit(a_job("a"), a_job("b"))
    await hands.submit(a_job("c"))

    assert ids(await hands.claim(slots=9)) == ["a", "b", "c"]


async def test_a_higher_priority_goes_first(hands: Hands) -> None:
    await hands.submit(a_job("low"), a_job("high", priority=5))

    assert ids(await hands.claim(slots=9)) == ["high", "low"]


async def test_a_job_waits_for_all_that_it_needs(hands: Hands) -> None:
    await hands.submit(a_job("a"), a_job("b"), a_job("c", needs=["a", "b"]))

    await hands.do()
    between = ids(await hands.claim(BEN, slots=9))
    assert between == ["b"]


async def test_a_dependent_runs_after_the_last_of_its_needs(hands: Hands) -> None:
    run_id = await hands.submit(a_job("a"), a_job("b", needs=["a"]))

    await hands.do()
    await hands.do()

    assert await hands.status(run_id) == {"run": "success", "a": "success", "b": "success"}


async def test_what_needs_a_failed_job_is_skipped_however_far_down(hands: Hands) -> None:
    run_id = await hands.submit(
        a_job("a"), a_job("b", needs=["a"]), a_job("c", needs=["b"]), a_job("free")
    )

    await hands.do(exit_code=1)
    await hands.do()

    assert await hands.status(run_id) == {
        "run": "failed",
        "a": "failed",
        "b": "skipped",
        "c": "skipped",
        "free": "success",
    }


async def test_an_allowed_failure_stays_failed_and_holds_nothing_up(hands: Hands) -> None:
    run_id = await hands.submit(a_job("a", allow_failure=True), a_job("b", needs=["a"]))

    await hands.do(exit_code=1)
    await hands.do()

    assert await hands.status(run_id) == {"run": "success", "a": "failed", "b": "success"}


async def test_a_stage_starts_when_the_one_before_it_succeeded(hands: Hands) -> None:
    run_id = await hands.submit(
        a_job("build1", stage="build"),
        a_job("build2", stage="build"),
        a_job("test", stage="test"),
        stages=["build", "test"],
    )

    await hands.do()
    held_back = await hands.status(run_id)
    await hands.do()

    assert held_back["test"] == "blocked"
    assert (await hands.status(run_id))["test"] == "queued"


async def test_a_failed_stage_skips_the_stages_after_it(hands: Hands) -> None:
    run_id = await hands.submit(
        a_job("build", stage="build"),
        a_job("test", stage="test"),
        a_job("ship", stage="ship"),
        stages=["build", "test", "ship"],
    )

    await hands.do(exit_code=2)

    view = await hands.service.show_run(run_id)
    assert [stage.status.value for stage in view.stages] == ["failed", "skipped", "skipped"]
    assert view.status.value == "failed"


async def test_an_empty_stage_does_not_hold_the_next_one_up(hands: Hands) -> None:
    run_id = await hands.submit(
        a_job("ship", stage="ship"), stages=["build", "test", "ship", "after"]
    )

    await hands.do()

    assert await hands.status(run_id) == {"run": "success", "ship": "success"}


async def test_a_worker_gets_only_jobs_whose_labels_it_has(hands: Hands) -> None:
    await hands.submit(a_job("gpu", requires={"gpu": "yes"}), a_job("any"))

    assert ids(await hands.claim(ANN, slots=9, os="linux")) == ["any"]
    assert ids(await hands.claim(BEN, slots=9, gpu="yes", os="linux")) == ["gpu"]


async def test_a_run_never_has_more_than_max_workers_jobs_at_once(hands: Hands) -> None:
    run_id = await hands.submit(*[a_job(f"j{n}") for n in range(5)], max_workers=2)

    first = await hands.claim(slots=9)
    more = await hands.claim(BEN, slots=9)
    await hands.run(first[0])
    await hands.finish(first[0])
    then = await hands.claim(BEN, slots=9)

    assert (ids(first), ids(more), ids(then)) == (["j0", "j1"], [], ["j2"])
    assert list((await hands.status(run_id)).values()).count("held") == 2


async def test_held_jobs_of_higher_priority_get_the_room_first(hands: Hands) -> None:
    await hands.submit(
        a_job("first", priority=9), a_job("low"), a_job("high", priority=5), max_workers=1
    )

    await hands.do()

    assert ids(await hands.claim(slots=9)) == ["high"]


async def test_a_waiting_claim_gets_what_a_finish_sets_free(hands: Hands) -> None:
    await hands.submit(a_job("a"), a_job("b", needs=["a"]))
    claim = await hands.start()

    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        waiting = group.create_task(hands.claim(BEN, wait_s=60))
        await hands.until_asked()
        await hands.finish(claim)

    assert ids(waiting.result()) == ["b"]


async def test_waiting_workers_share_what_becomes_ready(hands: Hands) -> None:
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        ann = group.create_task(hands.claim(ANN, slots=8, wait_s=60))
        ben = group.create_task(hands.claim(BEN, slots=8, wait_s=60))
        await hands.until_asked()
        await hands.submit(*[a_job(f"j{n}") for n in range(8)])

    assert (len(ann.result()), len(ben.result())) == (4, 4)
