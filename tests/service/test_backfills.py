"""Runs for times that have passed, one after another."""

from pathlib import Path

import pytest

from shared.errors import (
    BadRequest,
    UnknownBackfill,
)
from tests.support.jobstore import Hands, hands_on
from tests.support.runtime import ManualRuntime
from tests.support.schedules import Clock, a_backfill, nightly


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
