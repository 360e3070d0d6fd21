"""Runs that start by themselves: when, how often, and what crashes and clocks do not change."""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from jobstore.schedules.due import MAX_MISSED
from jobstore.schedules.scheduler import MAX_QUEUED, Scheduler
from shared.errors import (
    BadPipeline,
    BadRequest,
    Overloaded,
    UnknownBackfill,
    UnknownSchedule,
)
from shared.ids import RunId
from shared.protocol import jobs as j
from shared.protocol.pipeline import PipelineSpec
from shared.protocol.schedules import (
    BackfillRequest,
    PauseScheduleRequest,
    ScheduleRequest,
    ScheduleView,
)
from shared.protocol.states import RunStatus
from tests.support.carriers import direct, over_http
from tests.support.jobstore import Hands, a_job, hands_on
from tests.support.runtime import T0, ManualRuntime

HOUR_S = 3_600.0  # T0 is noon


@pytest.fixture
async def hands(tmp_path: Path) -> AsyncIterator[Hands]:
    async with hands_on(tmp_path) as hands:
        yield hands


def nightly(cron: str = "@hourly", name: str = "nightly", **schedule: Any) -> ScheduleRequest:
    spec = {"name": name, "jobs": [a_job("one")], "schedule": {"cron": cron, **schedule}}
    return ScheduleRequest(pipeline=PipelineSpec.model_validate(spec))


class Clock:
    """A scheduler, and the clock on the wall, which is all that it goes by."""

    def __init__(self, hands: Hands) -> None:
        self.hands = hands
        self.table = hands.service.scheduler()

    async def at(self, hours: float) -> None:
        """It is so many hours after T0, and the scheduler has looked."""
        now = self.hands.runtime.now()
        self.hands.runtime.step_wall_clock((T0 - now).total_seconds() + hours * HOUR_S)
        await self.table.look_once()

    async def runs(self) -> list[j.RunSummary]:
        """Oldest first."""
        found = await self.hands.service.list_runs(j.RunFilter(limit=1_000))
        return list(found.runs)[::-1]

    async def view(self, name: str = "nightly") -> ScheduleView:
        listed = (await self.hands.service.list_schedules()).schedules
        return next(view for view in listed if view.name == name)

    async def scheduled_for(self, run_id: RunId) -> str:
        """What the run's job reads in DRAWBAR_SCHEDULED_AT."""
        claim = await self.hands.start()
        context = await self.hands.run(claim)
        assert claim.run_id == run_id
        await self.hands.finish(claim)
        return context.env["DRAWBAR_SCHEDULED_AT"]


def noon(hours: float) -> datetime:
    return T0 + timedelta(hours=hours)


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


# -- when the run before still runs ------------------------------------------------------------


async def test_overlap_skip_starts_nothing_while_a_run_goes_on(hands: Hands) -> None:
    clock = Clock(hands)
    await hands.service.put_schedule(nightly(overlap="skip"))
    await clock.at(1)
    await clock.at(2)

    (run,) = await clock.runs()
    view = await clock.view()
    assert (view.skipped_at, view.skipped_why) == (noon(2), f"run {run.run_id} of it still ran")

    await hands.do()
    await clock.at(3)
    assert len(await clock.runs()) == 2


async def test_overlap_queue_starts_each_when_the_one_before_has_ended(hands: Hands) -> None:
    clock = Clock(hands)
    await hands.service.put_schedule(nightly(overlap="queue"))
    for hour in (1, 2, 3):
        await clock.at(hour)
    assert len(await clock.runs()) == 1
    assert (await clock.view()).queued == 2

    seen = []
    for step in range(1, 4):
        seen.append(await clock.scheduled_for((await clock.runs())[-1].run_id))
        await clock.at(3 + step / 10)

    assert [at[11:16] for at in seen] == ["13:00", "14:00", "15:00"]
    assert (await clock.view()).queued == 0


async def test_queued_times_survive_a_restart(tmp_path: Path) -> None:
    runtime = ManualRuntime()
    async with hands_on(tmp_path, runtime) as hands:
        clock = Clock(hands)
        await hands.service.put_schedule(nightly(overlap="queue", catch_up="none"))
        await clock.at(1)
        await clock.at(2)
    async with hands_on(tmp_path, runtime) as hands:
        clock = Clock(hands)
        await hands.service.cancel(j.CancelRequest(run_id=(await clock.runs())[0].run_id))
        await clock.at(2.5)
        assert len(await clock.runs()) == 2


async def test_the_queue_has_a_bound(hands: Hands) -> None:
    clock = Clock(hands)
    await hands.service.put_schedule(nightly("* * * * *", overlap="queue"))
    for minute in range(1, MAX_QUEUED + 5):
        await clock.at(minute / 60)

    view = await clock.view()
    assert (view.queued, len(await clock.runs())) == (MAX_QUEUED, 1)
    assert "wait already" in (view.skipped_why or "")


async def test_overlap_cancel_ends_the_run_before(hands: Hands) -> None:
    clock = Clock(hands)
    await hands.service.put_schedule(nightly(overlap="cancel"))
    await clock.at(1)
    await clock.at(2)

    old, new = await clock.runs()
    assert (old.status, new.status) == (RunStatus.CANCELLED, RunStatus.PENDING)


# -- what people do with schedules -------------------------------------------------------------


async def test_a_paused_schedule_starts_nothing_and_catches_up_with_nothing(hands: Hands) -> None:
    clock = Clock(hands)
    await hands.service.put_schedule(nightly(catch_up="all"))
    paused = await hands.service.pause_schedule(
        PauseScheduleRequest(name="nightly", is_paused=True)
    )
    assert (paused.is_paused, paused.next_at) == (True, None)
    await clock.at(5.5)

    resumed = await hands.service.pause_schedule(
        PauseScheduleRequest(name="nightly", is_paused=False)
    )
    await clock.at(5.6)
    assert (resumed.next_at, await clock.runs()) == (noon(6), [])

    await clock.at(6)
    assert len(await clock.runs()) == 1


async def test_a_schedule_that_is_added_again_replaces_the_former(hands: Hands) -> None:
    clock = Clock(hands)
    await hands.service.put_schedule(nightly())
    await clock.at(1)
    await hands.do()
    hands.runtime.step_wall_clock(HOUR_S / 2)

    again = await hands.service.put_schedule(nightly("0 0 * * *"))

    assert (again.cron, again.last_at) == ("0 0 * * *", noon(1))
    await clock.at(3)
    assert len(await clock.runs()) == 1


async def test_a_removed_schedule_is_gone_with_its_backfills(hands: Hands) -> None:
    clock = Clock(hands)
    await hands.service.put_schedule(nightly())
    await hands.service.backfill(a_backfill())

    await hands.service.remove_schedule("nightly")
    await clock.at(5)

    assert (await hands.service.list_schedules()).schedules == ()
    (backfill,) = (await hands.service.list_backfills()).backfills
    assert (backfill.status, await clock.runs()) == ("cancelled", [])
    with pytest.raises(UnknownSchedule):
        await hands.service.remove_schedule("nightly")


@pytest.mark.parametrize(
    ("schedule", "said"),
    [
        ({"cron": "61 * * * *"}, "minute"),
        ({"cron": "@daily", "timezone": "Europe/Belrin"}, "Europe/Berlin"),
        (None, "has no schedule"),
    ],
)
async def test_a_schedule_that_means_nothing_is_refused(
    hands: Hands, schedule: dict[str, str] | None, said: str
) -> None:
    spec = {"name": "x", "jobs": [a_job("one")], "schedule": schedule}

    with pytest.raises(BadPipeline, match=said):
        await hands.service.put_schedule(
            ScheduleRequest(pipeline=PipelineSpec.model_validate(spec))
        )
    assert (await hands.service.list_schedules()).schedules == ()


# -- backfills ---------------------------------------------------------------------------------


def a_backfill(
    since: str = "2025-12-01", until: str = "2025-12-04", key: str = "k", name: str = "nightly"
) -> BackfillRequest:
    return BackfillRequest.model_validate(
        {"idempotency_key": key, "name": name, "since": since, "until": until}
    )


async def test_a_backfill_runs_one_time_after_another(hands: Hands) -> None:
    clock = Clock(hands)
    await hands.service.put_schedule(nightly("0 3 * * *", timezone="Europe/Berlin"))
    asked = await hands.service.backfill(a_backfill())
    assert (asked.times, asked.started, asked.status) == (3, 0, "running")

    seen = []
    for step in range(1, 4):
        await clock.at(step / 100)
        await clock.at(step / 100)
        runs = await clock.runs()
        assert len(runs) == step
        seen.append(await clock.scheduled_for(runs[-1].run_id))
    await clock.at(0.5)

    assert seen == [f"2025-12-0{day}T03:00:00+01:00" for day in (1, 2, 3)]
    (view,) = (await hands.service.list_backfills()).backfills
    assert (view.status, view.started, view.last_run) == ("done", 3, runs[-1].run_id)
    assert {run.schedule for run in runs} == {"nightly"}


async def test_a_backfill_goes_on_after_a_restart(tmp_path: Path) -> None:
    runtime = ManualRuntime()
    async with hands_on(tmp_path, runtime) as hands:
        await hands.service.put_schedule(nightly("0 3 * * *"))
        await hands.service.backfill(a_backfill())
        await Clock(hands).at(0.1)
        await hands.do()
    async with hands_on(tmp_path, runtime) as hands:
        clock = Clock(hands)
        await clock.at(0.2)
        assert len(await clock.runs()) == 2
        assert await clock.scheduled_for((await clock.runs())[-1].run_id) == (
            "2025-12-02T03:00:00+00:00"
        )


async def test_a_crash_in_a_backfill_doubles_nothing(tmp_path: Path) -> None:
    runtime = ManualRuntime()
    async with hands_on(tmp_path, runtime) as hands:
        await hands.service.put_schedule(nightly("0 3 * * *"))
        backfill = await hands.service.backfill(a_backfill())
        await Clock(hands).at(0.1)
        before_the_record = "UPDATE backfill SET next_at = since, started = 0, last_run = NULL"
        await hands.service._store.database.write(lambda tx: tx.conn.execute(before_the_record))
    async with hands_on(tmp_path, runtime) as hands:
        clock = Clock(hands)
        await clock.at(0.2)

        (run,) = await clock.runs()
        (view,) = (await hands.service.list_backfills()).backfills
        assert (view.backfill_id, view.last_run) == (backfill.backfill_id, run.run_id)


async def test_a_cancelled_backfill_starts_no_more_runs(hands: Hands) -> None:
    clock = Clock(hands)
    await hands.service.put_schedule(nightly("0 3 * * *"))
    asked = await hands.service.backfill(a_backfill())
    await clock.at(0.1)

    cancelled = await hands.service.cancel_backfill(asked.backfill_id)
    again = await hands.service.cancel_backfill(asked.backfill_id)
    await hands.do()
    await clock.at(0.2)

    assert (cancelled.status, again.status) == ("cancelled", "cancelled")
    assert len(await clock.runs()) == 1
    with pytest.raises(UnknownBackfill):
        await hands.service.cancel_backfill(99)


async def test_the_same_key_asks_for_one_backfill(hands: Hands) -> None:
    await hands.service.put_schedule(nightly("0 3 * * *"))

    first = await hands.service.backfill(a_backfill(key="a"))
    again = await hands.service.backfill(a_backfill(key="a"))
    other = await hands.service.backfill(a_backfill(key="b"))

    assert first.backfill_id == again.backfill_id != other.backfill_id


@pytest.mark.parametrize(
    ("since", "until", "said"),
    [
        ("2025-12-01", "2025-12-01", "no time"),
        ("2025-12-04", "2025-12-01", "no time"),
        ("1825-12-01", "2025-12-01", "10,000"),
        ("0001-01-01T00:00:00+00:00", "0001-01-01T10:00:00+14:00", "no time"),
        ("9999-12-31T23:00:00-12:00", "9999-12-31T23:59:00-12:00", "no time"),
    ],
)
async def test_a_backfill_of_no_time_or_too_many_is_refused(
    hands: Hands, since: str, until: str, said: str
) -> None:
    await hands.service.put_schedule(nightly("0 3 * * *"))

    with pytest.raises(BadRequest, match=said):
        await hands.service.backfill(a_backfill(since, until))


# -- over every carrier ------------------------------------------------------------------------


@pytest.mark.parametrize("carry", [direct, over_http])
async def test_every_verb_travels(tmp_path: Path, carry: Any) -> None:
    name = "a/b c?%2e — ü{}"
    async with hands_on(tmp_path) as hands, carry(hands.service, hands.runtime) as carrier:
        jobs = carrier.jobs
        spec = nightly(name="x").pipeline.model_copy(update={"name": name.replace("/", "|")})
        added = await jobs.put_schedule(ScheduleRequest(pipeline=spec))
        assert (await jobs.list_schedules()).schedules == (added,)
        for is_paused in (True, True, False):
            ask = PauseScheduleRequest(name=spec.name, is_paused=is_paused)
            assert (await jobs.pause_schedule(ask)).is_paused is is_paused
        backfill = await jobs.backfill(a_backfill("2025-12-01", "2025-12-02", name=spec.name))
        assert (await jobs.list_backfills()).backfills == (backfill,)
        assert (await jobs.cancel_backfill(backfill.backfill_id)).status == "cancelled"
        await jobs.remove_schedule(spec.name)
        with pytest.raises(UnknownSchedule):
            await jobs.remove_schedule(spec.name)
        with pytest.raises(UnknownSchedule):
            await jobs.backfill(a_backfill(name=spec.name))
        with pytest.raises(UnknownBackfill):
            await jobs.cancel_backfill(77)
        with pytest.raises(BadPipeline):
            await jobs.put_schedule(nightly("nonsense"))


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
