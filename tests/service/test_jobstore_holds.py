"""What holds a job back that could run: a lock, a person's approval, and room in its run."""

from pathlib import Path

import pytest

from shared.errors import Conflict, UnknownJob
from shared.protocol.gateway import Outcome
from shared.protocol.states import HeldFor
from tests.support.jobstore import ANN, BEN, Hands, a_job, hands_on, retry_at_once
from tests.support.runtime import ManualRuntime


async def test_jobs_of_one_lock_run_one_at_a_time_across_runs(hands: Hands) -> None:
    first = await hands.submit(a_job("a", lock="db"), a_job("b", lock="db"))
    second = await hands.submit(a_job("c", lock="db"), a_job("free"))

    claims = await hands.claim(slots=9)
    held = [(await hands.job(run, job)).held_for for run, job in ((first, "b"), (second, "c"))]

    assert [claim.job_id for claim in claims] == ["a", "free"]
    assert held == [HeldFor.LOCK, HeldFor.LOCK]


async def test_a_lock_goes_to_the_oldest_of_highest_priority(hands: Hands) -> None:
    await hands.submit(a_job("a", lock="db"), a_job("b", lock="db"))
    await hands.submit(a_job("urgent", lock="db", priority=5))

    assert await hands.play() == ["a", "urgent", "b"]


async def test_other_locks_are_no_hindrance(hands: Hands) -> None:
    await hands.submit(a_job("a", lock="db"), a_job("b", lock="net"))

    assert len(await hands.claim(slots=9)) == 2


@pytest.mark.parametrize("exit_code", [0, 1])
async def test_a_job_gives_its_lock_up_when_it_ends(hands: Hands, exit_code: int) -> None:
    run_id = await hands.submit(a_job("a", lock="db"), a_job("b", lock="db"))

    await hands.do(exit_code)

    assert (await hands.job(run_id, "b")).held_for is None
    assert (await hands.status(run_id))["b"] == "queued"


async def test_a_job_has_no_lock_while_it_waits_for_its_next_try(hands: Hands) -> None:
    run_id = await hands.submit(
        a_job("a", lock="db", retry=retry_at_once(1)), a_job("b", lock="db")
    )

    await hands.do(exit_code=1)
    b = await hands.start()
    await hands.runtime.advance(10.2)
    await hands.until(run_id, "job.held", times=2)
    waiting = await hands.job(run_id, "a")
    await hands.finish(b)

    assert (waiting.status.value, waiting.held_for) == ("held", HeldFor.LOCK)
    assert await hands.play() == ["a"]


async def test_a_refused_or_drained_job_keeps_its_lock(hands: Hands) -> None:
    run_id = await hands.submit(a_job("a", lock="db"), a_job("b", lock="db"))
    (claim,) = await hands.claim()

    await hands.refuse(claim)
    refused = await hands.status(run_id)
    (claim,) = await hands.claim(BEN)
    await hands.run(claim, BEN)
    await hands.finish(claim, None, BEN, outcome=Outcome.DRAINED)

    assert (refused["a"], refused["b"]) == ("queued", "held")
    assert (await hands.status(run_id))["b"] == "held"


async def test_a_cancelled_job_gives_its_lock_up(hands: Hands) -> None:
    run_id = await hands.submit(a_job("a", lock="db"), a_job("b", lock="db"))

    await hands.cancel(run_id, "a")

    assert await hands.play() == ["b"]


async def test_a_cancelled_run_gives_up_the_lock_of_a_job_that_waits_for_room(
    hands: Hands,
) -> None:
    crowded = await hands.submit(a_job("a"), a_job("b", lock="db"), max_workers=1)
    other = await hands.submit(a_job("c", lock="db"))
    before = [
        (await hands.job(crowded, "b")).held_for,
        (await hands.job(other, "c")).held_for,
    ]

    await hands.cancel(crowded)

    assert before == [HeldFor.MAX_WORKERS, HeldFor.LOCK]
    assert await hands.play() == ["c"]


async def test_a_job_that_nobody_takes_gives_its_lock_up(hands: Hands) -> None:
    run_id = await hands.submit(
        a_job("a", lock="db", requires={"gpu": "yes"}, queue_timeout_s=60), a_job("b", lock="db")
    )

    await hands.runtime.advance(60.2)
    await hands.until(run_id, "job.timeout")

    assert await hands.play() == ["b"]


async def test_a_dependent_with_the_same_lock_has_its_turn(hands: Hands) -> None:
    await hands.submit(a_job("a", lock="db"), a_job("b", lock="db", needs=["a"]))

    assert await hands.play() == ["a", "b"]


async def test_a_lock_is_held_across_a_restart(tmp_path: Path) -> None:
    runtime = ManualRuntime()
    async with hands_on(tmp_path, runtime) as before:
        await before.submit(a_job("a", lock="db"), a_job("b", lock="db"))
        claim = await before.start()

    async with hands_on(tmp_path, runtime) as after:
        nothing = await after.claim(BEN)
        await after.finish(claim)
        assert nothing == []
        assert await after.play() == ["b"]


async def test_locks_and_room_together_let_all_run(hands: Hands) -> None:
    jobs = [a_job(f"j{n}", lock=f"lock{n % 2}") for n in range(6)]
    one = await hands.submit(*jobs, max_workers=1)
    two = await hands.submit(*jobs, max_workers=2)

    order = await hands.play()

    assert len(order) == 12
    assert (await hands.status(one))["run"] == (await hands.status(two))["run"] == "success"


# -- approval --------------------------------------------------------------------------------------


async def test_a_job_waits_for_approval_once_its_needs_are_met(hands: Hands) -> None:
    run_id = await hands.submit(a_job("build"), a_job("ship", needs=["build"], approve=True))

    early = await hands.status(run_id)
    await hands.play()
    ship = await hands.job(run_id, "ship")

    assert early["ship"] == "blocked"
    assert (ship.status.value, ship.held_for) == ("held", HeldFor.APPROVAL)
    assert (await hands.status(run_id))["run"] == "running"


async def test_an_approved_job_goes_on(hands: Hands) -> None:
    run_id = await hands.submit(a_job("ship", approve=True))

    await hands.approve(run_id, "ship")
    await hands.approve(run_id, "ship")  # the answer got lost: the same again
    event = await hands.until(run_id, "job.approved")

    assert event.facts["by"] == "eve"
    assert await hands.play() == ["ship"]
    assert (await hands.status(run_id))["run"] == "success"


async def test_a_refused_job_is_cancelled_and_what_needs_it_is_skipped(hands: Hands) -> None:
    run_id = await hands.submit(a_job("ship", approve=True), a_job("tell", needs=["ship"]))

    await hands.approve(run_id, "ship", is_granted=False)
    await hands.approve(run_id, "ship", is_granted=False)

    assert await hands.status(run_id) == {
        "run": "cancelled",
        "ship": "cancelled",
        "tell": "skipped",
    }
    assert await hands.reason(run_id, "ship") == "refused"


async def test_what_does_not_wait_for_approval_is_not_approved(hands: Hands) -> None:
    run_id = await hands.submit(
        a_job("plain"), a_job("later", needs=["plain"], approve=True), a_job("no", approve=True)
    )

    with pytest.raises(Conflict):
        await hands.approve(run_id, "plain")
    with pytest.raises(Conflict):
        await hands.approve(run_id, "later")
    with pytest.raises(UnknownJob):
        await hands.approve(run_id, "nothing")
    await hands.approve(run_id, "no", is_granted=False)
    with pytest.raises(Conflict):
        await hands.approve(run_id, "no")


async def test_an_approved_job_may_still_have_to_wait_for_lock_and_room(hands: Hands) -> None:
    run_id = await hands.submit(
        a_job("first"),
        a_job("locks", lock="db", priority=9),
        a_job("ship", approve=True, lock="db"),
        max_workers=1,
    )
    held = [(await hands.job(run_id, "ship")).held_for]

    locks = await hands.start()
    await hands.approve(run_id, "ship")
    held.append((await hands.job(run_id, "ship")).held_for)
    await hands.finish(locks)
    held.append((await hands.job(run_id, "ship")).held_for)

    assert held == [HeldFor.APPROVAL, HeldFor.LOCK, HeldFor.MAX_WORKERS]
    assert await hands.play() == ["first", "ship"]


async def test_approval_holds_for_every_try(hands: Hands) -> None:
    run_id = await hands.submit(a_job("ship", approve=True, retry=retry_at_once(1)))
    await hands.approve(run_id, "ship")

    await hands.do(exit_code=1)
    await hands.runtime.advance(10.2)
    await hands.until(run_id, "job.queued", times=2)

    assert await hands.play() == ["ship"]


async def test_who_waits_for_approval_takes_no_room(hands: Hands) -> None:
    await hands.submit(a_job("ship", approve=True, lock="db"), a_job("a"), max_workers=1)
    await hands.submit(a_job("b", lock="db"))

    assert await hands.play() == ["a", "b"]


async def test_a_job_that_waits_for_approval_can_be_cancelled(hands: Hands) -> None:
    run_id = await hands.submit(a_job("ship", approve=True))

    await hands.cancel(run_id, "ship")

    assert await hands.status(run_id) == {"run": "cancelled", "ship": "cancelled"}
    with pytest.raises(Conflict):
        await hands.approve(run_id, "ship")


async def test_an_approval_outlives_a_restart(tmp_path: Path) -> None:
    runtime = ManualRuntime()
    async with hands_on(tmp_path, runtime) as before:
        run_id = await before.submit(a_job("ship", approve=True))

    async with hands_on(tmp_path, runtime) as after:
        assert await after.claim(ANN) == []
        await after.approve(run_id, "ship")
        assert await after.play() == ["ship"]
