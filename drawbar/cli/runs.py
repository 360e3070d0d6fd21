"""`runs`, `show`, `cancel`, `retry`: what became of runs, and what to do about them."""

from typing import Annotated

import typer

from drawbar.cli.history import OnlyPipeline
from drawbar.cli.options import AnyJobName, Data, Follow, Json, RunNumber, Server, Why
from shared.protocol.states import RunStatus

Limit = Annotated[int, typer.Option("--limit", "-n", min=1, max=10_000, help="How many.")]
OnlyStatus = Annotated[
    RunStatus | None,
    typer.Option("--status", help="Only runs that are so.", show_default=False),
]
SinceOption = Annotated[
    str | None,
    typer.Option(
        "--since",
        metavar="AGE|DATE",
        help="Only runs since then, for example 2d or 2026-01-31.",
        show_default=False,
    ),
]
BeforeRun = Annotated[
    int | None,
    typer.Option(
        "--before",
        metavar="RUN",
        min=1,
        help="Only runs older than this one: the next page.",
        show_default=False,
    ),
]
FailedOnly = Annotated[
    bool, typer.Option("--failed-only", help="Carry over the jobs that succeeded.")
]


def runs(
    limit: Limit = 20,
    name: OnlyPipeline = None,
    status: OnlyStatus = None,
    since: SinceOption = None,
    before: BeforeRun = None,
    server: Server = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """List runs, the newest first.

    Example: drawbar runs --name release --status failed --since 2d
    """
    from drawbar.cli.listing import list_runs

    list_runs(
        limit,
        name=name,
        status=status,
        since=since,
        before=before,
        server=server,
        data=data,
        as_json=as_json,
    )


def show(
    run: RunNumber,
    follow: Follow = False,
    server: Server = None,
    data: Data = None,
    as_json: Json = False,
) -> int:
    """Show one run and its jobs; with -f, watch it until it ends.

    With -f the exit code is that of the run: 0 when it succeeded, else 1.

    Example: drawbar show 12
    """
    from drawbar.cli.watching import show_run

    return show_run(run, follow=follow, server=server, data=data, as_json=as_json)


def cancel(
    run: RunNumber,
    job: AnyJobName = None,
    reason: Why = "",
    server: Server = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Cancel a run, or one job of it.

    Example: drawbar cancel 12 --reason "wrong branch"
    """
    from drawbar.cli import cancelling
    from drawbar.cli.render.objects import write_json
    from shared.ids import JobId, RunId
    from shared.protocol.jobs import CancelRequest

    job_id = None if job is None else JobId(job)
    ask = CancelRequest(run_id=RunId(run), job_id=job_id, reason=reason)
    ended = cancelling.cancel(ask, server, data)
    what = f"run {run}" if job is None else f"job {job} of run {run}"
    if as_json:
        write_json({"run_id": run, "job_id": job, "cancelled": ended is None})
    elif ended is not None:
        typer.echo(f"{what} has already ended: {ended}")
    else:
        typer.echo(f"{what} is cancelled; what still runs was told to stop")


def retry(
    run: RunNumber,
    failed_only: FailedOnly = False,
    server: Server = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Start a new run of a run's pipeline.

    Example: drawbar retry 12 --failed-only
    """
    from drawbar.cli.connect import asking_jobs
    from drawbar.cli.render.objects import write_json
    from shared.ids import RunId
    from shared.protocol.jobs import RetryRequest

    new = asking_jobs(
        lambda jobs, runtime: jobs.retry(
            RetryRequest(
                idempotency_key=runtime.new_id(), run_id=RunId(run), failed_only=failed_only
            )
        ),
        server,
        data,
    ).run_id
    if as_json:
        write_json({"run_id": new})
    else:
        typer.echo(f"run {new} submitted, a retry of run {run}")
