"""Calls that gather while others are under way travel together, and none gets lost."""

import asyncio
import random
from collections.abc import Sequence

import pytest

from shared.errors import Unavailable
from shared.http.together import MAX_FLYING, Together


class Line:
    """Sends when it is told to; answers with the call's double."""

    def __init__(self, max_calls: int = 64) -> None:
        self.flights: list[list[int]] = []
        self.gate = asyncio.Semaphore(0)
        self.error: Exception | None = None
        self.together = Together[int, int](self.send, max_calls)

    async def send(self, calls: Sequence[int]) -> Sequence[int | Exception]:
        self.flights.append(list(calls))
        await self.gate.acquire()
        if self.error is not None:
            raise self.error
        return [2 * call if call >= 0 else ValueError(str(call)) for call in calls]

    def land(self, flights: int = 1_000) -> None:
        for _ in range(flights):
            self.gate.release()


async def turn() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_an_idle_line_sends_at_once_and_alone() -> None:
    line = Line()
    line.land()

    assert await line.together.call(21) == 42
    assert line.flights == [[21]]


async def test_calls_that_gather_travel_together() -> None:
    line = Line()
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(line.together.call(n)) for n in range(10)]
        await turn()
        assert line.flights == [[n] for n in range(MAX_FLYING)]
        line.land()

    assert [task.result() for task in tasks] == [2 * n for n in range(10)]
    assert sorted(n for flight in line.flights for n in flight) == list(range(10))
    assert len(line.flights) <= 2 * MAX_FLYING


async def test_a_flight_carries_no_more_than_it_may() -> None:
    line = Line(max_calls=3)
    async with asyncio.TaskGroup() as group:
        for n in range(20):
            group.create_task(line.together.call(n))
        await turn()
        line.land()

    assert max(len(flight) for flight in line.flights) == 3
    assert sorted(n for flight in line.flights for n in flight) == list(range(20))


async def test_each_call_has_its_own_error() -> None:
    line = Line()
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(asyncio.wait_for(line.together.call(n), 5)) for n in (1, 2, 3, 4)
        ]
        bad = group.create_task(_error_of(line, -1))
        await turn()
        line.land()

    assert [task.result() for task in tasks] == [2, 4, 6, 8]
    assert isinstance(bad.result(), ValueError)


async def test_a_flight_that_fails_fails_for_all_aboard() -> None:
    line = Line()
    line.error = Unavailable("gone")
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_error_of(line, n)) for n in range(6)]
        await turn()
        line.land()

    assert all(isinstance(task.result(), Unavailable) for task in tasks)


async def test_who_gives_up_leaves_nobody_behind() -> None:
    chance = random.Random(7)
    line = Line(max_calls=4)
    tasks = [asyncio.ensure_future(line.together.call(n)) for n in range(200)]

    for _ in range(400):
        await asyncio.sleep(0)
        if chance.random() < 0.3:
            chance.choice(tasks).cancel()
        if chance.random() < 0.5:
            line.land(1)
    line.land()
    async with asyncio.timeout(5):
        answers = await asyncio.gather(*tasks, return_exceptions=True)

    for n, answer in enumerate(answers):
        assert answer == 2 * n or isinstance(answer, asyncio.CancelledError | Unavailable)
    assert any(not isinstance(answer, BaseException) for answer in answers)


async def _error_of(line: Line, call: int) -> Exception:
    with pytest.raises((ValueError, Unavailable)) as caught:
        await line.together.call(call)
    return caught.value
