"""What `drawbar schedules` does."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import typer

from drawbar.cli.connect import asking_jobs, with_now
from drawbar.cli.failures import Usage
from drawbar.cli.pipelines import load_pipeline, submitted_from
from drawbar.cli.render.console import console
from drawbar.cli.render.objects import write_all, write_json
from drawbar.cli.render.times import backfills_table, schedules_table, when
from drawbar.cli.render.words import count, one_line
from shared.cron import Cron
from shared.protocol.pipeline import PipelineSpec, ScheduleSpec
from shared.protocol.schedules import (
    BackfillRequest,
    PauseScheduleRequest,
    ScheduleRequest,
    ScheduleView,
)
from shared.runtime import SystemRuntime


def check_place(context: typer.Context) -> None:
    """Usage: an option stands before the subcommand, which would not see it."""
    for parameter in context.command.params:
        source = context.get_parameter_source(parameter.name or "")
        if source is not None and source.name == "COMMANDLINE":
            flag, verb = max(parameter.opts, key=len), context.invoked_subcommand
            raise Usage(
                f"write {flag} behind the subcommand: drawbar {context.info_name} {verb} … {flag}"
            )


def list_schedules(server: str | None, data: Path | None, as_json: bool) -> None:
    found, now = asking_jobs(
        lambda jobs, runtime: with_now(jobs.list_schedules(), runtime),
        server,
        data,
        only_looks=True,
    )
    if as_json:
        write_all(found.schedules)
    elif found.schedules:
        console().print(schedules_table(found.schedules, now))
    else:
        typer.echo("no schedules yet; add one with: drawbar schedules add FILE")


def add_schedule(
    file: Path,
    env: Sequence[str] | None,
    params: Sequence[str] | None,
    *,
    server: str | None,
    data: Path | None,
    as_json: bool,
) -> None:
    spec = load_pipeline(file, env, params)
    _schedule_of(spec, file)
    ask = ScheduleRequest(pipeline=submitted_from(spec, Path.cwd()))
    added = asking_jobs(lambda jobs, _: jobs.put_schedule(ask), server, data)
    if as_json:
        write_json(added.model_dump(mode="json"))
    else:
        paused = " (it is paused)" if added.is_paused else ""
        typer.echo(f"{_what(added)}: {_next(added.next_at)}{paused}")


def preview(file: Path, number: int, as_json: bool) -> None:
    spec = load_pipeline(file)
    schedule = _schedule_of(spec, file)
    cron = Cron(schedule.cron, schedule.timezone)
    times: list[datetime] = []
    moment = SystemRuntime().now()
    while len(times) < number and (following := cron.after(moment)) is not None:
        moment = following
        times.append(moment.astimezone(cron.zone))
    if as_json:
        write_json({"name": spec.name, "times": [time.isoformat() for time in times]})
    else:
        typer.echo(f"{one_line(spec.name)}: {cron.explain()}, {schedule.timezone}")
        for time in times:
            typer.echo(f"  {time:%a %Y-%m-%d %H:%M %z}")


def pause_schedule(
    name: str, is_paused: bool, server: str | None, data: Path | None, as_json: bool
) -> None:
    ask = PauseScheduleRequest(name=name, is_paused=is_paused)
    view = asking_jobs(lambda jobs, _: jobs.pause_schedule(ask), server, data)
    if as_json:
        write_json(view.model_dump(mode="json"))
    elif is_paused:
        typer.echo(f"schedule {one_line(name)} is paused; what runs goes on")
    else:
        typer.echo(f"{_what(view)}: {_next(view.next_at)}")


def remove_schedule(name: str, server: str | None, data: Path | None, as_json: bool) -> None:
    asking_jobs(lambda jobs, _: jobs.remove_schedule(name), server, data)
    if as_json:
        write_json({"name": name, "removed": True})
    else:
        typer.echo(f"schedule {one_line(name)} is removed; its runs stay")


def backfill(
    name: str, since: str, until: str, *, server: str | None, data: Path | None, as_json: bool
) -> None:
    first, last = _moment("--since", since), _moment("--until", until)
    view = asking_jobs(
        lambda jobs, runtime: jobs.backfill(
            BackfillRequest(idempotency_key=runtime.new_id(), name=name, since=first, until=last)
        ),
        server,
        data,
    )
    if as_json:
        write_json(view.model_dump(mode="json"))
    else:
        runs = count(view.times, "run")
        typer.echo(
            f"backfill {view.backfill_id} of {one_line(name)}: {runs}, one after another; "
            "look at it with: drawbar schedules backfills"
        )


def list_backfills(server: str | None, data: Path | None, as_json: bool) -> None:
    found = asking_jobs(lambda jobs, _: jobs.list_backfills(), server, data, only_looks=True)
    if as_json:
        write_all(found.backfills)
    elif found.backfills:
        console().print(backfills_table(found.backfills))
    else:
        typer.echo("no backfills yet")


def cancel_backfill(backfill_id: int, server: str | None, data: Path | None, as_json: bool) -> None:
    view = asking_jobs(lambda jobs, _: jobs.cancel_backfill(backfill_id), server, data)
    if as_json:
        write_json(view.model_dump(mode="json"))
    elif view.status == "cancelled":
        typer.echo(f"backfill {backfill_id} starts no more runs; it had started {view.started}")
    else:
        typer.echo(f"backfill {backfill_id} has already ended: {view.status}")


def _schedule_of(spec: PipelineSpec, file: Path) -> ScheduleSpec:
    if spec.schedule is None:
        raise Usage(f'{file} has no schedule; give it one, for example schedule: "0 3 * * *"')
    return spec.schedule


def _what(view: ScheduleView) -> str:
    return f"schedule {one_line(view.name)}, {Cron(view.cron, view.timezone).explain()}"


def _next(at: datetime | None) -> str:
    return "it never comes again" if at is None else f"next {when(at)}"


def _moment(option: str, text: str) -> datetime:
    """Without an offset it stays a time of the schedule's zone, which the job service knows."""
    try:
        return datetime.fromisoformat(text.strip())
    except ValueError:
        raise Usage(
            f"{option} takes a date or time like 2026-11-01 or 2026-11-01T03:00; found {text!r}"
        ) from None
