"""Asking for leave to run a claim, or to refuse it, while the gateway is away or full."""

import asyncio
from dataclasses import dataclass, field
from typing import cast

import pytest

from shared.errors import Forbidden, Overloaded, ServiceError, Unauthenticated, Unavailable
from shared.ids import WorkerId
from shared.protocol.gateway import RunContext
from shared.protocol.states import AttemptStatus
from shared.retry_budget import BURST, TRICKLE_PER_S, RetryBudget
from tests.support.gateway import FakeGateway, Held, Job
from tests.support.runtime import ManualRuntime
from worker.asking import ask_to_run, refuse
from worker.crew import Crew
from worker.lease import Holder
from worker.settings import WorkerSettings

START_TTL_S = 15.0


class Full(FakeGateway):
    """Says how long it wants to be left alone where a verb is away."""

    def __init__(self) -> None:
        super().__init__()
        self.retry_after_s = 0.0

    def _enter(self, verb: str) -> None:
        try:
            super()._enter(verb)
        except Unavailable:
            raise Overloaded(retry_after_s=self.retry_after_s) from None


@dataclass
class Stage:
    """Claims that a worker got from its gateway, and what asking needs of that worker."""

    runtime: ManualRuntime = field(default_factory=ManualRuntime)
    gateway: Full = field(default_factory=Full)
    settings: WorkerSettings = field(default_factory=lambda: WorkerSettings(name="w", slots=1))
    attempts: list[Held] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.budget = RetryBudget(self.runtime)

    @property
    def crew(self) -> Crew:
        return cast(Crew, self)  # as far as asking is concerned

    def holders(self, count: int) -> list[Holder]:
        self.attempts = [self.gateway.add(Job(start_ttl_s=START_TTL_S)) for _ in range(count)]
        return [cast(Holder, Claimed(one)) for one in self.attempts]

    def asked(self, verb: str) -> int:
        return self.gateway.calls.count(verb)


class Claimed:
    """What of a `Holder` is sent."""

    def __init__(self, attempt: Held) -> None:
        self.attempt_id, self.fence = attempt.attempt_id, attempt.fence
        self.worker_id = WorkerId("w")


@pytest.fixture
async def stage() -> Stage:
    return Stage()


@pytest.mark.parametrize("verb", ["run", "refuse"])
async def test_nothing_is_asked_again_sooner_than_the_gateway_says(stage: Stage, verb: str) -> None:
    (holder,) = stage.holders(1)
    stage.gateway.away.add(verb)
    stage.gateway.retry_after_s = 5.0
    asking = asyncio.create_task(ask(stage, verb, holder))
    await stage.runtime.advance(4.9)
    before = stage.asked(verb)
    stage.gateway.away.clear()
    await stage.runtime.advance(1.0)

    await asking

    assert (before, stage.asked(verb)) == (1, 2)


@pytest.mark.parametrize("verb", ["run", "refuse"])
async def test_many_claims_of_one_worker_ask_again_within_one_budget(
    stage: Stage, verb: str
) -> None:
    jobs, outage_s = 50, 10
    stage.gateway.away.add(verb)
    asking = [asyncio.create_task(ask(stage, verb, one)) for one in stage.holders(jobs)]

    await stage.runtime.advance(outage_s)
    asked = stage.asked(verb)
    stage.gateway.away.clear()
    await stage.runtime.advance(START_TTL_S - outage_s)
    await asyncio.gather(*asking)

    assert asked <= jobs + BURST + outage_s * TRICKLE_PER_S
    wanted = {"run": AttemptStatus.RUNNING, "refuse": AttemptStatus.REFUSED}[verb]
    assert {attempt.state for attempt in stage.attempts} == {wanted}


async def test_a_refusal_that_cannot_be_told_in_time_is_given_up(stage: Stage) -> None:
    (holder,) = stage.holders(1)
    stage.gateway.away.add("refuse")
    asking = asyncio.create_task(ask(stage, "refuse", holder))

    await stage.runtime.advance(2 * START_TTL_S)

    assert await asking is False
    assert stage.attempts[0].state is AttemptStatus.CLAIMED


async def ask(stage: Stage, verb: str, holder: Holder) -> RunContext | bool | None:
    """As an attempt does that was claimed at this moment."""
    if verb == "run":
        return await ask_to_run(holder, stage.crew)
    return await refuse(holder, stage.crew, "why", stage.runtime.mono() + START_TTL_S)


@pytest.mark.parametrize("error", [Unauthenticated, Forbidden])
async def test_a_token_that_is_turned_down_is_not_sent_again(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, error: type[ServiceError]
) -> None:
    """A worker that was restarted has none for it. The job lapses to its place."""
    (holder,) = stage.holders(1)
    asked = 0

    async def turn_down(_: object) -> None:
        nonlocal asked
        asked += 1
        raise error

    monkeypatch.setattr(stage.gateway, "refuse", turn_down)

    assert not await refuse(holder, stage.crew, "why", stage.runtime.mono() + START_TTL_S)
    assert asked == 1
