"""Tables of jobs and schedules, wide and narrow."""

import io
from datetime import timedelta

from rich.console import Console, RenderableType

from drawbar.cli.render.tables import JobsTable
from drawbar.cli.render.times import backfills_table, schedules_table
from shared.ids import JobId, RunId
from shared.protocol.jobs import JobView, Reason
from shared.protocol.pipeline import CatchUp, Overlap
from shared.protocol.schedules import BackfillView, ScheduleView
from shared.protocol.states import JobStatus, RunStatus
from tests.support.runtime import T0


def printed(table: RenderableType, width: int) -> list[str]:
    out = io.StringIO()
    Console(file=out, width=width).print(table)
    return [line.rstrip() for line in out.getvalue().splitlines()]


def a_job(name: str, status: JobStatus, *, attempts: int = 1, reason: str = "") -> JobView:
    return JobView(
        id=JobId(name),
        stage=None,
        status=status,
        exit_code=0,
        reason=Reason(what="postcheck", who="job", message=reason) if reason else None,
        tries=attempts,
        attempts=attempts,
        refusals=0,
        needs=(),
        allow_failure=False,
        started_at=T0,
        ended_at=T0 + timedelta(seconds=3 * attempts),
    )


def a_schedule() -> ScheduleView:
    return ScheduleView(
        name="nightly",
        cron="0 3 * * *",
        timezone="Europe/Berlin",
        catch_up=CatchUp.LATEST,
        overlap=Overlap.SKIP,
        is_paused=False,
        next_at=T0 + timedelta(hours=1),
        last_at=T0,
        last_run=RunId(7),
        last_status=RunStatus.SUCCESS,
        skipped_at=T0,
        skipped_why="run 6 still went on",
    )


def a_backfill() -> BackfillView:
    return BackfillView(
        backfill_id=3,
        name="nightly",
        kind="asked",
        status="running",
        since=T0,
        until=T0 + timedelta(days=7),
        times=7,
        started=2,
        next_at=None,
        last_run=RunId(9),
    )


def test_a_job_that_was_carried_over_took_no_time() -> None:
    jobs = [a_job("built", JobStatus.SUCCESS, attempts=0), a_job("tested", JobStatus.SUCCESS)]

    _, built, tested = printed(JobsTable(RunId(2), jobs, T0), 80)

    assert built.split() == ["built", "✔", "success", "0", "carried", "over"]
    assert tested.split() == ["tested", "✔", "success", "0", "1", "3.0", "s"]


def test_a_check_that_did_not_pass_is_named_once() -> None:
    why = "pre-check check_tcp_port failed: connection refused"
    failed = a_job("load", JobStatus.PRECHECK_FAILED, reason=why)

    lines = printed(JobsTable(RunId(2), [failed], T0), 80)

    assert f"    {why}" in lines


def test_a_wide_terminal_has_a_line_for_each_schedule_and_backfill() -> None:
    schedules = printed(schedules_table([a_schedule()], T0), 200)
    backfills = printed(backfills_table([a_backfill()]), 200)

    assert (len(schedules), len(backfills)) == (2, 2)
    assert schedules[1].endswith("run 6 still went on")


def test_a_narrow_terminal_shows_the_same_and_cuts_nothing_off() -> None:
    schedules = printed(schedules_table([a_schedule()], T0), 80)
    backfills = printed(backfills_table([a_backfill()]), 80)

    assert "…" not in "".join(schedules + backfills)
    assert [line.split(":")[0].strip() for line in schedules[2:]] == ["last run", "note"]
    assert [line.split(":")[0].strip() for line in backfills[2:]] == ["span"]
    assert max(map(len, schedules + backfills)) <= 80
