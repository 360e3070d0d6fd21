"""When the run before still goes on, and what people do with schedules."""

from pathlib import Path
from typing import Any

import pytest

from jobstore.schedules.scheduler import MAX_QUEUED
from shared.errors import (
    BadPipeline,
    UnknownBackfill,
    UnknownSchedule,
)
from shared.protocol import jobs as j
from shared.protocol.pipeline import PipelineSpec
from shared.protocol.schedules import (
    PauseScheduleRequest,
    ScheduleRequest,
)
from shared.protocol.states import RunStatus
from tests.support.carriers import direct, over_http
from tests.support.jobstore import Hands, a_job, hands_on
from tests.support.runtime import ManualRuntime
from tests.support.schedules import HOUR_S, Clock, a_backfill, nightly, noon


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
