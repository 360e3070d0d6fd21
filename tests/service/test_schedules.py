"""Runs start by themselves: each at its time, none twice, and none lost."""

from pathlib import Path
from typing import Any

import pytest

from jobstore.schedules.due import MAX_MISSED
from jobstore.schedules.scheduler import Scheduler
from shared.errors import (
    Overloaded,
)
from shared.protocol import jobs as j
from shared.protocol.states import RunStatus
from tests.support.jobstore import Hands, hands_on
from tests.support.runtime import ManualRuntime
from tests.support.schedules import HOUR_S, Clock, nightly, noon


async def test_a_run_starts_at_its_time_and_not_before(hands: Hands) -> None:
    clock = Clock(hands)
    await hands.service.put_schedule(nightly())

    await clock.at(0.99)
    assert await clock.runs() == []

    await clock.at(1)
    await clock.at(1.5)
    (run,) = await clock.runs()
    assert (run.name, run.schedule) == ("nightly", "nightly")


async def test_a_run_is_told_for_which_time_it_is(hands: Hands) -> None:
    clock = Clock(hands)
    await hands.service.put_schedule(nightly("30 14 * * *", timezone="Europe/Berlin"))

    await clock.at(1.6)

    (run,) = await clock.runs()
    assert await clock.scheduled_for(run.run_id) == "2026-01-01T14:30:00+01:00"


async def test_a_listing_says_what_was_and_what_comes(hands: Hands) -> None:
    clock = Clock(hands)
    added = await hands.service.put_schedule(nightly())
    assert (added.next_at, added.last_at, added.last_run) == (noon(1), None, None)

    await clock.at(1)
    (run,) = await clock.runs()
    await hands.do()

    view = await clock.view()
    assert (view.next_at, view.last_at) == (noon(2), noon(1))
    assert (view.last_run, view.last_status) == (run.run_id, RunStatus.SUCCESS)


# -- no run twice, and none lost ---------------------------------------------------------------


async def test_a_crash_between_submit_and_record_neither_doubles_nor_loses_a_run(
    tmp_path: Path,
) -> None:
    class Dies(Scheduler):
        async def _record(self, *_: Any, **__: Any) -> Any:
            raise KeyboardInterrupt

    runtime = ManualRuntime()
    async with hands_on(tmp_path, runtime) as hands:
        await hands.service.put_schedule(nightly())
        runtime.step_wall_clock(HOUR_S)
        with pytest.raises(KeyboardInterrupt):
            await Dies(hands.service._store.database, hands.service, runtime).look_once()
    async with hands_on(tmp_path, runtime) as hands:
        clock = Clock(hands)
        await clock.at(1.01)
        await clock.at(1.02)

        (run,) = await clock.runs()
        assert run.schedule == "nightly"
        assert (await clock.view()).last_run == run.run_id


async def test_a_service_that_is_overloaded_is_asked_again(hands: Hands) -> None:
    class Sheds:
        def __init__(self) -> None:
            self.times = 0

        async def submit(self, ask: j.SubmitRequest) -> j.SubmitReply:
            self.times += 1
            if self.times == 1:
                raise Overloaded
            return await hands.service.submit(ask)

        async def cancel(self, ask: j.CancelRequest) -> None: ...

    table = Scheduler(hands.service._store.database, Sheds(), hands.runtime)
    await hands.service.put_schedule(nightly())
    hands.runtime.step_wall_clock(HOUR_S)

    with pytest.raises(Overloaded):
        await table.look_once()
    await table.look_once()

    assert len(await Clock(hands).runs()) == 1


async def test_a_clock_put_back_repeats_nothing_and_stops_nothing(hands: Hands) -> None:
    clock = Clock(hands)
    await hands.service.put_schedule(nightly())
    for hour in (1, 2, 3):
        await clock.at(hour)
        await hands.do()

    hands.runtime.step_wall_clock(-2.5 * HOUR_S)
    for _ in range(6):
        hands.runtime.step_wall_clock(HOUR_S / 2)
        await clock.table.look_once()
    assert len(await clock.runs()) == 3

    hands.runtime.step_wall_clock(HOUR_S / 2)
    await clock.table.look_once()
    assert [run.schedule for run in await clock.runs()] == ["nightly"] * 4


async def test_a_clock_that_was_a_year_ahead_does_not_stop_a_schedule_for_a_year(
    hands: Hands,
) -> None:
    clock = Clock(hands)
    await hands.service.put_schedule(nightly())
    hands.runtime.step_wall_clock(365 * 24 * HOUR_S)
    await clock.table.look_once()
    await hands.do()
    hands.runtime.step_wall_clock(-365 * 24 * HOUR_S)
    await clock.table.look_once()

    await clock.at(1)

    assert len(await clock.runs()) == 2
    assert (await clock.view()).next_at == noon(2)


@pytest.mark.parametrize("catch_up", ["none", "latest", "all"])
async def test_a_clock_put_forward_starts_no_storm(hands: Hands, catch_up: str) -> None:
    clock = Clock(hands)
    await hands.service.put_schedule(nightly("* * * * *", catch_up=catch_up, overlap="queue"))

    hands.runtime.step_wall_clock(10 * 365 * 24 * HOUR_S + 30)
    for _ in range(5):
        await clock.table.look_once()

    assert len(await clock.runs()) <= 2


# -- after a downtime --------------------------------------------------------------------------


async def test_without_catch_up_missed_times_are_let_go(hands: Hands) -> None:
    clock = Clock(hands)
    await hands.service.put_schedule(nightly(catch_up="none"))

    await clock.at(5.5)

    view = await clock.view()
    assert await clock.runs() == []
    assert (view.skipped_at, view.next_at) == (noon(5), noon(6))
    assert "missed" in (view.skipped_why or "")


async def test_a_time_that_passed_within_a_minute_was_not_missed(hands: Hands) -> None:
    clock = Clock(hands)
    await hands.service.put_schedule(nightly(catch_up="none"))

    await clock.at(1 + 59 / HOUR_S)

    assert len(await clock.runs()) == 1


async def test_catching_up_with_the_latest_starts_one_run(hands: Hands) -> None:
    clock = Clock(hands)
    await hands.service.put_schedule(nightly(catch_up="latest"))

    await clock.at(5.5)

    (run,) = await clock.runs()
    assert await clock.scheduled_for(run.run_id) == "2026-01-01T17:00:00+00:00"


async def test_catching_up_with_all_starts_one_run_after_another(hands: Hands) -> None:
    clock = Clock(hands)
    await hands.service.put_schedule(nightly(catch_up="all"))

    seen = []
    for step in range(6):
        await clock.at(3.5 + step / 100)
        runs = await clock.runs()
        if runs[-1].status is RunStatus.PENDING:
            assert [run.status for run in runs[:-1]] == [RunStatus.SUCCESS] * (len(runs) - 1)
            seen.append(await clock.scheduled_for(runs[-1].run_id))

    assert [at[11:16] for at in seen] == ["13:00", "14:00", "15:00"]
    (missed,) = (await hands.service.list_backfills()).backfills
    assert (missed.kind, missed.status, missed.started) == ("missed", "done", 3)


async def test_while_it_catches_up_new_times_wait_behind_the_old(hands: Hands) -> None:
    clock = Clock(hands)
    await hands.service.put_schedule(nightly(catch_up="all", overlap="skip"))
    await clock.at(2.5)
    await clock.at(3)

    seen = []
    for step in range(1, 8):
        await clock.at(3 + step / 100)
        if (await clock.runs())[-1].status is RunStatus.PENDING:
            seen.append(await clock.scheduled_for((await clock.runs())[-1].run_id))

    assert [at[11:16] for at in seen] == ["13:00", "14:00", "15:00"]
    assert len(await clock.runs()) == 3


async def test_catching_up_with_all_has_a_bound(hands: Hands) -> None:
    clock = Clock(hands)
    await hands.service.put_schedule(nightly("* * * * *", catch_up="all"))

    await clock.at(24 * 30 + 1 / 2 + 1 / 50)

    (missed,) = (await hands.service.list_backfills()).backfills
    assert missed.times in (MAX_MISSED, MAX_MISSED + 1)


async def test_catching_up_goes_on_after_a_restart(tmp_path: Path) -> None:
    runtime = ManualRuntime()
    async with hands_on(tmp_path, runtime) as hands:
        await hands.service.put_schedule(nightly(catch_up="all"))
        await Clock(hands).at(3.5)
    async with hands_on(tmp_path, runtime) as hands:
        clock = Clock(hands)
        await clock.at(3.6)
        assert len(await clock.runs()) == 1
        await hands.do()
        await clock.at(3.7)
        assert len(await clock.runs()) == 2


async def test_a_scheduler_that_runs_by_itself_starts_what_is_due(hands: Hands) -> None:
    table = hands.service.scheduler()
    await table.start()
    try:
        await hands.service.put_schedule(nightly())
        claim = None
        while claim is None:
            hands.runtime.step_wall_clock(HOUR_S / 4)
            await hands.runtime.advance(1)
            claim = next(iter(await hands.claim()), None)
    finally:
        await table.stop()

    assert hands.runtime.now() >= noon(1)
