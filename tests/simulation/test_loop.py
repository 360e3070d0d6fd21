"""The seeded loop: order, time, death and pauses of simulated processes."""

import asyncio
import subprocess
from collections.abc import Callable

import pytest

from simulation.loop import Deadlock, Escaped
from tests.simulation.universe import Universe, universe


def order_of_steps(seed: int) -> list[str]:
    with universe(seed) as u:
        seen: list[str] = []

        async def step(name: str) -> None:
            for n in range(4):
                seen.append(f"{name}{n}")
                await asyncio.sleep(0)

        async def scenario() -> None:
            await asyncio.wait([u.process(name).spawn(step(name), "step") for name in "ab"])

        u.play(scenario)
        return seen


def test_a_process_keeps_its_own_order_while_the_seed_orders_processes() -> None:
    orders = [order_of_steps(seed) for seed in range(8)]

    for seen in orders:
        assert [s for s in seen if s[0] == "a"] == ["a0", "a1", "a2", "a3"]
    assert len({tuple(seen) for seen in orders}) > 1
    assert order_of_steps(3) == orders[3]


def test_a_killed_process_does_nothing_more_not_even_its_finally() -> None:
    with universe() as u:
        seen: list[str] = []

        async def live() -> None:
            try:
                while True:
                    await asyncio.sleep(1)
                    seen.append("alive")
            finally:
                seen.append("finally")

        async def scenario() -> None:
            process = u.process("a")
            process.spawn(live(), "live")
            await asyncio.sleep(2.5)
            process.kill()
            await asyncio.sleep(10)

        u.play(scenario)

        assert seen == ["alive", "alive"]


def test_a_paused_process_goes_on_where_it_was() -> None:
    with universe() as u:
        seen: list[float] = []

        async def tick() -> None:
            for _ in range(3):
                await asyncio.sleep(1)
                seen.append(round(u.loop.now, 2))

        async def scenario() -> None:
            process = u.process("a")
            done = process.spawn(tick(), "tick")
            await asyncio.sleep(1.5)
            process.paused_until = u.loop.now + 10
            await done

        u.play(scenario)

        assert seen == pytest.approx([1.0, 11.5, 12.5], abs=0.01)


def test_monotonic_clocks_of_two_processes_have_nothing_in_common() -> None:
    with universe() as u:
        clocks: list[float] = []

        async def read() -> None:
            clocks.append(asyncio.get_running_loop().time())

        async def scenario() -> None:
            await asyncio.wait([u.process(n).spawn(read(), "read") for n in ("a", "b", "a")])

        u.play(scenario)

        assert len({round(clock) for clock in clocks}) == 3


def test_a_deadlock_names_the_tasks_that_wait() -> None:
    with universe() as u:

        async def wait_for_nothing() -> None:
            await asyncio.Event().wait()

        async def scenario() -> None:
            await u.process("a").spawn(wait_for_nothing(), "waiting-in-vain")

        with pytest.raises(Deadlock, match="waiting-in-vain"):
            u.play(scenario)


async def start_a_process() -> None:
    await asyncio.create_subprocess_exec("true", stdout=subprocess.PIPE)


async def open_a_real_connection() -> None:
    await asyncio.open_connection("localhost", 80)


@pytest.mark.parametrize("escape", [start_a_process, open_a_real_connection])
def test_reaching_for_the_real_world_is_refused(escape: Callable[[], object]) -> None:
    with universe() as u:

        async def scenario() -> None:
            with pytest.raises(Escaped):
                await escape()  # type: ignore[misc]  # both return coroutines

        u.play(scenario)


def test_cancelled_tasks_of_a_group_end_in_the_order_in_which_they_began() -> None:
    # asyncio keeps them in a set; by address, 1,500 of them came out in another order each run.
    with universe() as u:
        ended: list[int] = []

        async def one(n: int) -> None:
            try:
                await asyncio.sleep(100)
            finally:
                ended.append(n)

        async def group(u: Universe) -> None:
            async with asyncio.TaskGroup() as tasks:
                for n in range(300):
                    tasks.create_task(one(n))
                await asyncio.sleep(1)
                raise ZeroDivisionError

        async def scenario() -> None:
            with pytest.raises(ExceptionGroup):
                await group(u)

        u.play(scenario)

        assert sorted(ended) == list(range(300))
        rotated = ended.index(0)
        assert ended[rotated:] + ended[:rotated] == list(range(300))
