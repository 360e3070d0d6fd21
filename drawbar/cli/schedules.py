"""`schedules` and its subcommands: runs that start by themselves."""

from typing import Annotated

import typer

from drawbar.cli.options import Data, Env, Json, Params, PipelineFile, Server

ScheduleName = Annotated[
    str, typer.Argument(metavar="NAME", help="The schedule's name.", show_default=False)
]
Since = Annotated[
    str,
    typer.Option(
        "--since",
        metavar="TIME",
        help="From this time, for example 2026-11-01 or 2026-11-01T03:00, in the schedule's zone.",
        show_default=False,
    ),
]
Until = Annotated[
    str,
    typer.Option("--until", metavar="TIME", help="Up to and without this one.", show_default=False),
]
HowMany = Annotated[int, typer.Option("--number", "-n", min=1, max=1_000, help="How many.")]
BackfillNumber = Annotated[
    int, typer.Argument(metavar="BACKFILL", help="The backfill's number.", show_default=False)
]


def schedules(
    context: typer.Context, server: Server = None, data: Data = None, as_json: Json = False
) -> None:
    """Runs that start by themselves: list them, or do something about them.

    Example: drawbar schedules
    """
    from drawbar.cli import scheduling

    if context.invoked_subcommand is None:
        scheduling.list_schedules(server, data, as_json)
    else:
        scheduling.check_place(context)


def add(
    file: PipelineFile,
    env: Env = None,
    param: Params = None,
    server: Server = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Start runs of a pipeline at the times of its schedule.

    One that was added under the same name before is replaced.

    Example: drawbar schedules add nightly.yaml
    """
    from drawbar.cli import scheduling

    scheduling.add_schedule(file, env, param, server=server, data=data, as_json=as_json)


def preview(file: PipelineFile, number: HowMany = 5, as_json: Json = False) -> None:
    """Print the next times of a pipeline's schedule, without adding it.

    Example: drawbar schedules next nightly.yaml -n 10
    """
    from drawbar.cli import scheduling

    scheduling.preview(file, number, as_json)


def pause(
    name: ScheduleName, server: Server = None, data: Data = None, as_json: Json = False
) -> None:
    """Start no runs until it is resumed.

    Example: drawbar schedules pause nightly
    """
    from drawbar.cli import scheduling

    scheduling.pause_schedule(name, True, server, data, as_json)


def resume(
    name: ScheduleName, server: Server = None, data: Data = None, as_json: Json = False
) -> None:
    """Start runs again; times that passed meanwhile are not made up for.

    Example: drawbar schedules resume nightly
    """
    from drawbar.cli import scheduling

    scheduling.pause_schedule(name, False, server, data, as_json)


def remove(
    name: ScheduleName, server: Server = None, data: Data = None, as_json: Json = False
) -> None:
    """Forget a schedule, and cancel its backfills. Its runs stay.

    Example: drawbar schedules remove nightly
    """
    from drawbar.cli import scheduling

    scheduling.remove_schedule(name, server, data, as_json)


def backfill(
    name: ScheduleName,
    since: Since,
    until: Until,
    server: Server = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Start a run for each time of a schedule in a span, one after another.

    Example: drawbar schedules backfill nightly --since 2026-11-01 --until 2026-11-08
    """
    from drawbar.cli import scheduling

    scheduling.backfill(name, since, until, server=server, data=data, as_json=as_json)


def backfills(server: Server = None, data: Data = None, as_json: Json = False) -> None:
    """List backfills: those that go on, then the latest others.

    Example: drawbar schedules backfills
    """
    from drawbar.cli import scheduling

    scheduling.list_backfills(server, data, as_json)


def cancel_backfill(
    backfill: BackfillNumber, server: Server = None, data: Data = None, as_json: Json = False
) -> None:
    """Start no more runs of a backfill; the one that runs goes on.

    Example: drawbar schedules cancel-backfill 3
    """
    from drawbar.cli import scheduling

    scheduling.cancel_backfill(backfill, server, data, as_json)
