"""What is asked again while a service is away, by however many callers, and once it is back."""

import asyncio
from dataclasses import dataclass, field

import pytest

from shared.errors import Overloaded, ServiceError, Unavailable
from shared.http.retrying import persist
from shared.retry_budget import BURST, TRICKLE_PER_S, RetryBudget
from tests.support.runtime import ManualRuntime
from worker.backoff import LONGEST_ASKED_S, Backoff


@dataclass
class Away:
    """A service that is away until it returns, and when it was asked."""

    runtime: ManualRuntime = field(default_factory=ManualRuntime)
    is_away: bool = True
    asked_at: list[float] = field(default_factory=list)
    answered: int = 0

    def __post_init__(self) -> None:
        self.budget = RetryBudget(self.runtime)

    async def call(self, _: float) -> None:
        self.asked_at.append(self.runtime.mono())
        if self.is_away:
            raise Unavailable
        self.answered += 1

    async def ask(self, retry_for_s: float) -> None:
        await persist(self.runtime, self.budget, self.call, 10, retry_for_s)

    def asked_between(self, since: float, until: float) -> int:
        return sum(since <= at < until for at in self.asked_at)


async def test_in_an_outage_many_callers_ask_hardly_more_often_than_ever() -> None:
    service, a_second = Away(), 5
    start = service.runtime.mono()
    async with asyncio.TaskGroup() as group:
        for _ in range(100):
            for _ in range(a_second):
                group.create_task(service.ask(retry_for_s=600))
            await service.runtime.advance(1.0)

        assert service.asked_between(start + 60, start + 100) <= 1.1 * a_second * 40
        service.is_away = False
        for _ in range(40):
            await service.runtime.advance(0.5)

    assert service.answered == 100 * a_second


async def test_a_lone_caller_goes_on_asking() -> None:
    service = Away()
    start = service.runtime.mono()
    asking = asyncio.create_task(service.ask(retry_for_s=120))
    for _ in range(240):
        await service.runtime.advance(0.5)

    with pytest.raises(Unavailable):
        await asking
    assert service.asked_between(start, start + 10) >= 5
    assert service.asked_between(start + 60, start + 120) >= 60 * TRICKLE_PER_S / 2


async def test_who_may_not_ask_again_in_time_hears_why_it_failed() -> None:
    service = Away()
    for _ in range(int(BURST)):
        await service.budget.spend()
    asking = asyncio.create_task(service.ask(retry_for_s=1))
    for _ in range(10):
        await service.runtime.advance(0.5)

    with pytest.raises(Unavailable):
        await asking
    assert len(service.asked_at) == 1


async def test_each_success_of_a_repetition_lets_two_more_through() -> None:
    runtime = ManualRuntime()
    budget = RetryBudget(runtime)
    for _ in range(int(BURST)):
        await budget.spend()

    budget.succeeded(is_repeated=True)

    at_once = [await budget.spend(until=runtime.mono()) for _ in range(3)]
    assert at_once == [True, True, False]


@pytest.mark.parametrize(
    ("error", "at_least_s"),
    [
        (None, 0.0),
        (TimeoutError(), 0.0),
        (Overloaded(), 0.0),
        (Overloaded(retry_after_s=7), 7.0),
        (Overloaded(retry_after_s=1e9), LONGEST_ASKED_S),
    ],
)
def test_a_backoff_waits_as_long_as_it_was_asked_to_and_some_more_by_chance(
    error: ServiceError | None, at_least_s: float
) -> None:
    backoff = Backoff(ManualRuntime(), base_s=1.0, cap_s=1.0)

    pauses = [backoff.next_s(error) for _ in range(50)]

    assert all(at_least_s <= pause <= at_least_s + 1.0 for pause in pauses)
    assert len(set(pauses)) == 50
