"""Jobs that take more than one slot: they are given where they fit, and small ones do not starve
them."""

import asyncio
from itertools import count
from pathlib import Path

from jobstore.store.savings import KEPT_S
from shared.protocol.gateway import Claim
from shared.sqlite import Tx
from tests.support.jobstore import ANN, BEN, Hands, a_job, hands_on


def ids(claims: list[Claim]) -> list[str]:
    return [claim.job_id for claim in claims]


async def test_no_more_is_claimed_than_fits_into_the_free_slots(hands: Hands) -> None:
    await hands.submit(*(a_job(f"j{n}", slots=2) for n in range(4)))

    claims = await hands.claim(slots=5, of=5)

    assert [(c.job_id, c.slots) for c in claims] == [("j0", 2), ("j1", 2)]


async def test_what_is_larger_than_a_worker_is_not_for_it(hands: Hands) -> None:
    await hands.submit(a_job("big", slots=5), a_job("small"))

    assert ids(await hands.claim(slots=4, of=4)) == ["small"]
    assert ids(await hands.claim(BEN, slots=5, of=5)) == ["big"]


async def test_small_jobs_do_not_keep_a_big_one_waiting(hands: Hands) -> None:
    await hands.submit(a_job("first"), a_job("big", slots=4), *(a_job(f"s{n}") for n in range(9)))

    assert ids(await hands.claim(slots=4, of=4)) == ["first"]
    assert ids(await hands.claim(slots=3, of=4)) == []
    assert ids(await hands.claim(slots=4, of=4)) == ["big"]


async def test_one_worker_saves_slots_and_the_others_go_on(hands: Hands) -> None:
    await hands.submit(a_job("big", slots=4), *(a_job(f"s{n}") for n in range(9)))

    assert ids(await hands.claim(ANN, slots=2, of=4)) == []
    assert ids(await hands.claim(BEN, slots=2, of=4)) == ["s0", "s1"]


async def test_whoever_has_room_gets_the_big_job_though_another_saves_for_it(hands: Hands) -> None:
    await hands.submit(a_job("big", slots=4), *(a_job(f"s{n}") for n in range(9)))
    await hands.claim(ANN, slots=2, of=4)

    assert ids(await hands.claim(BEN, slots=4, of=4)) == ["big"]
    assert ids(await hands.claim(ANN, slots=2, of=4)) == ["s0", "s1"]


async def test_a_worker_that_asks_no_more_saves_for_nobody(hands: Hands) -> None:
    await hands.submit(a_job("big", slots=4), *(a_job(f"s{n}") for n in range(9)))
    await hands.claim(ANN, slots=2, of=4)

    await hands.runtime.advance(KEPT_S + 1)

    assert ids(await hands.claim(BEN, slots=2, of=4)) == []


async def test_a_higher_priority_does_not_wait_for_a_big_job(hands: Hands) -> None:
    await hands.submit(a_job("big", slots=4), a_job("small"), a_job("urgent", priority=1))

    assert ids(await hands.claim(slots=2, of=4)) == ["urgent"]


async def test_a_claim_that_waits_is_told_to_come_back_for_a_big_job(hands: Hands) -> None:
    waiting = asyncio.ensure_future(hands.claim(slots=1, of=4, wait_s=20))
    await hands.until_asked()

    await hands.submit(a_job("big", slots=4))

    assert ids(await asyncio.wait_for(waiting, 5)) == []
    assert ids(await hands.claim(slots=4, of=4)) == ["big"]


async def test_the_same_claim_again_names_the_same_slots(hands: Hands) -> None:
    await hands.submit(a_job("big", slots=3))

    first = await hands.claim(slots=3, claim_id="once")
    again = await hands.claim(slots=3, claim_id="once")

    assert first == again
    assert again[0].slots == 3


async def test_a_claim_costs_the_same_however_many_big_jobs_it_passes_over(tmp_path: Path) -> None:
    costs = [await cost_of_a_claim(tmp_path / str(big), big) for big in (30, 3_000)]

    assert costs[1] <= 1.3 * costs[0]


async def cost_of_a_claim(folder: Path, big: int) -> int:
    """In steps of SQLite's virtual machine."""
    async with hands_on(folder) as hands:
        await hands.submit(*(a_job(f"b{n}", slots=4) for n in range(big)), a_job("small"))
        await hands.claim(ANN, slots=2, of=4)
        steps = count()

        def watch(tx: Tx) -> None:
            tx.conn.set_progress_handler(lambda: next(steps) < 0, 1)

        await hands.service._store.database.write(watch)
        assert ids(await hands.claim(BEN, slots=1, of=4)) == ["small"]
        return next(steps)
