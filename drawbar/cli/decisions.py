"""`approve` and `mark`: a person lets a job go on, or takes it for a success."""

from enum import StrEnum
from typing import Annotated

import typer

from drawbar.cli.options import Data, JobName, Json, RunNumber, Server, Why


class Mark(StrEnum):
    SUCCESS = "success"


As = Annotated[Mark, typer.Argument(metavar="success", help="What it counts as from now on.")]
Refuse = Annotated[bool, typer.Option("--refuse", help="End the job as cancelled instead.")]


def approve(
    run: RunNumber,
    job: JobName,
    refuse: Refuse = False,
    reason: Why = "",
    server: Server = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Let a job go on that waits for approval, or refuse it.

    Example: drawbar approve 12 deploy --reason "seen by ops"
    """
    from drawbar.cli.deciding import decide, who
    from drawbar.cli.render.objects import write_json
    from shared.ids import JobId, RunId
    from shared.protocol.jobs import ApproveRequest

    ask = ApproveRequest(
        run_id=RunId(run), job_id=JobId(job), by=who(), is_granted=not refuse, reason=reason
    )
    decide(ask, server, data)
    if as_json:
        write_json({"run_id": run, "job_id": job, "approved": not refuse})
    elif refuse:
        typer.echo(f"job {job} of run {run} is refused, and ends as cancelled")
    else:
        typer.echo(f"job {job} of run {run} is approved, and goes on")


def mark(
    run: RunNumber,
    job: JobName,
    success: As,
    reason: Why = "",
    server: Server = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Take a job for a success that failed, or that has not started.

    What waited for it goes on. Of a run that has ended, a run that resumes it does.

    Example: drawbar mark 12 import success --reason "loaded by hand"
    """
    from drawbar.cli.deciding import decide, who
    from drawbar.cli.render.objects import write_json
    from shared.ids import JobId, RunId
    from shared.protocol.jobs import MarkRequest

    decide(MarkRequest(run_id=RunId(run), job_id=JobId(job), by=who(), reason=reason), server, data)
    if as_json:
        write_json({"run_id": run, "job_id": job, "marked": success.value})
    else:
        typer.echo(f"job {job} of run {run} counts as a success from now on")
