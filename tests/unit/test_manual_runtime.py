import asyncio

from tests.support.runtime import T0, ManualRuntime


async def test_a_sleeper_wakes_at_its_moment_and_not_before() -> None:
    runtime = ManualRuntime()
    sleeper = asyncio.ensure_future(runtime.sleep(5))
    await runtime.until_asleep()

    await runtime.advance(4.9)
    early = sleeper.done()
    await runtime.advance(0.2)

    assert (early, sleeper.done()) == (False, True)


async def test_a_loop_that_sleeps_again_wakes_as_often_as_time_allows() -> None:
    runtime = ManualRuntime()
    seen: list[float] = []

    async def tick() -> None:
        while True:
            await runtime.sleep(2)
            seen.append(runtime.mono() - 1_000)

    ticking = asyncio.ensure_future(tick())
    await runtime.until_asleep()
    await runtime.advance(7)
    ticking.cancel()

    assert seen == [2, 4, 6]


async def test_a_stepped_wall_clock_leaves_the_monotonic_one_alone() -> None:
    runtime = ManualRuntime()

    runtime.step_wall_clock(-3_600)

    assert runtime.mono() == 1_000
    assert (T0 - runtime.now()).total_seconds() == 3_600


async def test_the_same_seed_gives_the_same_ids() -> None:
    assert ManualRuntime(7).new_id() == ManualRuntime(7).new_id() != ManualRuntime(8).new_id()
