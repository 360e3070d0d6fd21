"""`logs`, `events`, `artifacts`: what jobs wrote, what happened, and what came out."""

from pathlib import Path
from typing import Annotated

import typer

from drawbar.cli.options import AnyJobName, Data, Follow, JobName, Json, RunNumber, Server

AttemptOption = Annotated[
    str | None,
    typer.Option(
        "--attempt",
        metavar="ID",
        help="Only this attempt. Default: all of the latest try.",
        show_default=False,
    ),
]
Get = Annotated[
    str | None,
    typer.Option("--get", metavar="PATH", help="Fetch this one, to stdout or below --to."),
]
Timestamps = Annotated[
    bool,
    typer.Option("--timestamps", "-t", help="Begin each line with when it came (UTC)."),
]
To = Annotated[
    Path | None,
    typer.Option("--to", metavar="DIR", help="Fetch into this folder, each under its path."),
]


def logs(
    run: RunNumber,
    job: JobName,
    follow: Follow = False,
    timestamps: Timestamps = False,
    attempt: AttemptOption = None,
    server: Server = None,
    data: Data = None,
) -> None:
    """Print a job's log, byte for byte; with -f, as it is written.

    Of a job that waited without a worker, what it wrote before the wait comes first.

    Example: drawbar logs 12 compile -f
    """
    from drawbar.cli.reading import print_log

    print_log(
        run,
        job,
        attempt=attempt,
        follow=follow,
        timestamps=timestamps,
        server=server,
        data=data,
    )


def events(
    run: RunNumber,
    follow: Follow = False,
    server: Server = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Print everything that happened to a run; with -f, as it happens.

    With --json: one object on each line.

    Example: drawbar events 12 -f
    """
    from drawbar.cli.reading import print_events

    print_events(run, follow=follow, server=server, data=data, as_json=as_json)


def artifacts(
    run: RunNumber,
    job: AnyJobName = None,
    get: Get = None,
    to: To = None,
    server: Server = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """List a run's artifacts, or fetch them.

    Example: drawbar artifacts 12 --get dist/app.whl --to .
    """
    from drawbar.cli.fetching import fetch_artifacts, list_artifacts

    if get is None and to is None:
        list_artifacts(run, job, server=server, data=data, as_json=as_json)
    else:
        fetch_artifacts(run, job, path=get, folder=to, server=server, data=data)
