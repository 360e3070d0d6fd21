"""Which fault strikes where: conditions, dice and what each action does to a call."""

import asyncio
from contextlib import suppress
from typing import Any

import pytest
from pydantic import ValidationError

from faults.hops import Side, around
from faults.injector import Injector
from faults.plan import PointPlan
from shared.errors import StaleFence, Unavailable
from tests.support.points import CLAIM, Parts, World, chunk, fault
from tests.support.runtime import ManualRuntime


async def test_without_a_plan_every_call_goes_through() -> None:
    world = World()
    await world.refuse()
    assert world.inner.calls == ["refuse x"]
    assert world.gateway.ready() == "as it is"
    assert world.told == []


async def test_a_dropped_request_does_not_arrive_and_a_dropped_reply_does() -> None:
    world = World(fault("drop_request", times=1), fault("drop_reply"))
    for _ in range(2):
        with pytest.raises(Unavailable):
            await world.refuse()
    assert world.inner.calls == ["refuse x"]
    assert [event["action"] for event in world.told] == ["drop_request", "drop_reply"]


async def test_a_duplicate_arrives_twice_with_its_body() -> None:
    world = World(fault("duplicate", "append_log"))
    assert await world.gateway.append_log(None, chunk()) == "kept"
    assert world.inner.bodies == [b"0123456789abc"] * 2


async def test_an_error_is_the_one_that_the_plan_names() -> None:
    world = World(fault("error", code="stale_fence"))
    with pytest.raises(StaleFence):
        await world.refuse()
    assert world.inner.calls == []


async def test_after_the_answer_the_call_was_made() -> None:
    world = World(fault("error", moment="after_send"))
    with pytest.raises(Unavailable):
        await world.refuse()
    assert world.inner.calls == ["refuse x"]


async def test_a_delayed_call_is_made_when_the_time_has_passed() -> None:
    world = World(fault("delay", seconds=5))
    waiting = asyncio.ensure_future(world.refuse())
    await world.runtime.advance(4.9)
    assert world.inner.calls == []
    await world.runtime.advance(0.2)
    await waiting
    assert world.inner.calls == ["refuse x"]


async def test_a_stalled_call_goes_on_when_the_plan_changes() -> None:
    world = World(fault("stall"))
    waiting = asyncio.ensure_future(world.refuse())
    await asyncio.sleep(0)
    assert world.inner.calls == []
    world.put()
    await waiting
    assert world.inner.calls == ["refuse x"]


async def test_a_held_call_is_overtaken() -> None:
    world = World(fault("reorder", times=1, seconds=60))
    first = asyncio.ensure_future(world.refuse("first"))
    await asyncio.sleep(0)
    await world.refuse("second")
    await first
    assert world.inner.calls == ["refuse second", "refuse first"]


async def test_bytes_end_early_or_have_one_bit_flipped() -> None:
    world = World(fault("truncate", "append_log", times=1), fault("corrupt", "append_log"))
    await world.gateway.append_log(None, chunk())
    await world.gateway.append_log(None, chunk())
    short, wrong = world.inner.bodies
    assert short == b"01234"
    bits = [a ^ b for a, b in zip(wrong, b"0123456789abc", strict=True)]
    assert sum(bit.bit_count() for bit in bits) == 1


async def test_a_stream_that_is_read_is_spoiled_as_well() -> None:
    world = World(fault("truncate", "read_input"))
    assert [piece async for piece in world.gateway.read_input(None)] == [b"01234"]


async def test_where_calls_are_parts_of_a_part_one_overtakes_another() -> None:
    world = World()
    server: Any = around(Parts(), "jobstore", Side.SERVER, world.injector)
    held = {"at": "jobstore.list_variables.received", "action": "reorder", "times": 1}
    world.put({**held, "seconds": 60})
    first = asyncio.ensure_future(server.values.list_variables("first"))
    await asyncio.sleep(0)
    await server.values.list_variables("second")
    await first
    assert server.values.asked == ["second", "first"]


async def test_conditions_choose_whom_a_fault_strikes() -> None:
    world = World(
        fault("error", worker="w-1", times=1),
        fault("drop_request", run=7, job="bu*"),
    )
    await world.refuse(worker="w-2")  # not this worker, and its run is not known yet
    await world.gateway.claim(CLAIM)
    with pytest.raises(Unavailable, match="dropped"):
        await world.refuse(worker="w-2")  # a claim told what the attempt is of
    assert world.told[-1]["job"] == "build"


async def test_a_fault_lets_some_pass_and_strikes_only_in_its_time() -> None:
    world = World(fault("error", skip=1, times=1, after_s=10, until_s=20))
    await world.refuse("too early")
    await world.runtime.advance(10)
    await world.refuse("let pass")
    with pytest.raises(Unavailable):
        await world.refuse("struck")
    await world.refuse("once is enough")
    assert len(world.inner.calls) == 3


async def test_one_seed_makes_the_same_choices() -> None:
    async def struck(seed: int) -> list[bool]:
        world = World(fault("error", probability=0.5), seed=seed)
        found = []
        for _ in range(30):
            try:
                await world.refuse()
            except Unavailable:
                found.append(True)
            else:
                found.append(False)
        return found

    assert await struck(1) == await struck(1)
    assert await struck(1) != await struck(2)


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"at": "worker.nothing.before_send", "action": "error"}, "no point is called"),
        ({"at": "worker.refuse.before_send", "action": "fsync_error"}, "cannot be done at"),
        ({"at": "worker.*", "action": "explode"}, "Input should be"),
        ({"at": "worker.*", "action": "error", "after_s": 5, "until_s": 5}, "later than"),
        ({"at": "worker.*", "action": "error", "probability": 2}, "less than or equal to 1"),
        ({"at": "worker.*", "action": "error", "when": "now"}, "not permitted"),
        ({"at": "worker.*", "action": "delay", "seconds": -1}, "only a clock"),
    ],
)
def test_a_plan_that_means_nothing_is_refused(wrong: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        PointPlan.model_validate({"faults": [wrong]})


async def test_a_plan_that_keeps_a_fault_does_not_begin_it_anew() -> None:
    once = fault("drop_request", times=1)
    world = World(once)
    with pytest.raises(Unavailable):
        await world.refuse()

    world.put(once, fault("delay", "claim", seconds=0))
    await world.refuse()
    world.put()
    world.put(once)
    with pytest.raises(Unavailable):
        await world.refuse()


async def test_what_else_there_is_does_not_change_whom_a_fault_strikes() -> None:
    """The seed is enough, however calls of one process happen to follow each other."""

    async def struck(*others: dict[str, Any]) -> list[bool]:
        world = World(fault("drop_request", probability=0.5), *others, seed=3)
        found = []
        for _ in range(20):
            if others:
                await world.gateway.claim(CLAIM)
            before = len(world.inner.calls)
            with suppress(Unavailable):
                await world.refuse()
            found.append(len(world.inner.calls) == before)
        return found

    assert await struck() == await struck(fault("delay", "claim", probability=0.5, seconds=0))


async def test_a_fault_for_a_worker_is_for_its_name_or_its_id() -> None:
    runtime = ManualRuntime()
    injector = Injector(runtime, about={"name": "box-7"})
    at = "worker.spawn.after"
    injector.put(
        PointPlan.model_validate({"faults": [{"at": at, "action": "delay", "worker": "box-*"}]})
    )
    assert injector.strike(at, {}) is not None
    injector.put(
        PointPlan.model_validate({"faults": [{"at": at, "action": "delay", "worker": "w-1"}]})
    )
    assert injector.strike(at, {}) is None
    assert injector.strike(at, {"worker": "w-1"}) is not None
