"""The door of a service: who is turned away when work waits, how soon, and until when."""

import asyncio

import pytest

from shared.errors import Overloaded
from shared.http import admission
from shared.http.admission import (
    ALERT_AT_ONCE,
    ALERT_S,
    AT_ONCE,
    BODIES_BYTES,
    BURST_S,
    LEAST_AT_ONCE,
    LONGEST_RETRY_S,
    LOOP_S,
    PEOPLES_BYTES,
    STORE_S,
    Admission,
    Rank,
)


class Service:
    """What the door can see: a clock, and how long writes wait."""

    def __init__(self) -> None:
        self.now = 0.0
        self.store_wait_s = 0.0
        self.door = Admission(lambda: self.store_wait_s, lambda: self.now)

    def call(self, rank: Rank) -> bool:
        """Whether one call was let in. It ends at once."""
        try:
            self.door.enter(rank)
        except Overloaded:
            return False
        self.door.leave(rank)
        return True


@pytest.fixture
async def service() -> Service:
    return Service()


async def test_a_service_that_is_quick_lets_everybody_in(service: Service) -> None:
    assert all(service.call(rank) for rank in Rank for _ in range(1_000))


async def test_a_burst_may_wait_and_a_standing_queue_may_not(service: Service) -> None:
    service.store_wait_s = STORE_S[Rank.PEOPLE] * 1.5

    at_first = service.call(Rank.PEOPLE)
    service.now += BURST_S
    later = service.call(Rank.PEOPLE)

    assert (at_first, later) == (True, False)


async def test_claims_are_let_in_for_longer_than_people_and_vital_calls_always(
    service: Service,
) -> None:
    outcomes = {}
    for wait_s in (0.3, 0.6, 60.0):
        service.store_wait_s = wait_s
        for rank in Rank:
            service.call(rank)
        service.now += BURST_S
        outcomes[wait_s] = [rank.name for rank in Rank if service.call(rank)]
        service.now += ALERT_S

    assert outcomes == {0.3: ["CLAIM", "VITAL"], 0.6: ["VITAL"], 60.0: ["VITAL"]}


async def test_who_waits_for_the_loop_waits_as_for_the_store(
    service: Service,
) -> None:
    outcomes = []
    for _ in range(3):
        outcomes.append(service.call(Rank.CLAIM))
        service.now += LOOP_S[Rank.CLAIM] * 2  # so long the loop does other things
        await asyncio.sleep(0)

    assert outcomes == [True, True, False]


async def test_a_slow_loop_serves_a_few_people_at_a_time_all_the_same(service: Service) -> None:
    for _ in range(3):  # slow for other reasons, perhaps: whoever is turned away costs time, too
        service.call(Rank.CLAIM)
        service.now += LOOP_S[Rank.CLAIM] * 2
        await asyncio.sleep(0)

    for _ in range(LEAST_AT_ONCE):
        service.door.enter(Rank.PEOPLE)

    assert not service.call(Rank.PEOPLE)


async def test_a_queue_that_is_gone_lets_people_in_at_once(service: Service) -> None:
    service.store_wait_s = 1.0
    service.call(Rank.PEOPLE)
    service.now += BURST_S
    assert not service.call(Rank.PEOPLE)

    service.store_wait_s = 0.0

    assert service.call(Rank.PEOPLE)


async def test_while_somebody_is_turned_away_few_people_are_served_at_once(
    service: Service,
) -> None:
    service.store_wait_s = 1.0
    service.call(Rank.PEOPLE)
    service.now += BURST_S
    service.call(Rank.PEOPLE)
    service.store_wait_s = 0.0

    for _ in range(ALERT_AT_ONCE):
        service.door.enter(Rank.PEOPLE)

    assert not service.call(Rank.PEOPLE)
    assert service.call(Rank.CLAIM)
    service.now += ALERT_S
    assert service.call(Rank.PEOPLE)


async def test_who_asks_again_is_told_to_wait_longer_while_it_lasts(service: Service) -> None:
    service.store_wait_s = 1.0
    service.call(Rank.PEOPLE)
    asked = []
    for _ in range(100):
        service.now += 1
        with pytest.raises(Overloaded) as turned_away:
            service.door.enter(Rank.PEOPLE)
        asked.append(turned_away.value.facts["retry_after_s"])

    assert asked[0] == 1
    assert asked == sorted(asked)
    assert asked[-1] == LONGEST_RETRY_S


@pytest.mark.parametrize("rank", Rank)
async def test_no_rank_has_more_in_progress_than_its_bound(
    service: Service, rank: Rank, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(admission.AT_ONCE, rank, 3)
    for _ in range(AT_ONCE[rank]):
        service.door.enter(rank)

    assert not service.call(rank)
    assert all(service.call(other) for other in Rank if other is not rank)
    service.door.leave(rank)
    assert service.call(rank)


async def test_what_people_send_leaves_room_for_what_workers_send(service: Service) -> None:
    service.door.hold(PEOPLES_BYTES, Rank.PEOPLE)

    with pytest.raises(Overloaded):
        service.door.hold(1, Rank.PEOPLE)
    service.door.hold(BODIES_BYTES - PEOPLES_BYTES, Rank.VITAL)
    with pytest.raises(Overloaded):
        service.door.hold(1, Rank.VITAL)
    service.door.let_go(BODIES_BYTES)
    service.door.hold(PEOPLES_BYTES, Rank.PEOPLE)


async def test_nothing_is_measured_where_nobody_asks(service: Service) -> None:
    assert service.door.wait_s == 0.0


async def test_people_who_were_let_in_wait_for_the_end_of_a_transaction_when_it_is_slow(
    service: Service,
) -> None:
    ended = asyncio.Event()
    door = Admission(lambda: service.store_wait_s, lambda: service.now, ended.wait)
    door.enter(Rank.PEOPLE)
    await door.turn(Rank.PEOPLE)  # there is not too much to do
    service.store_wait_s = 2 * STORE_S[Rank.PEOPLE]
    door.enter(Rank.PEOPLE)

    waiting = asyncio.create_task(door.turn(Rank.PEOPLE))
    await door.turn(Rank.VITAL)
    await asyncio.sleep(0)  # it has come as far as it can
    has_waited = not waiting.done()
    ended.set()
    async with asyncio.timeout(5):
        await waiting

    assert has_waited
