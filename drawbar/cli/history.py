"""`history`, `diff`, `export`, `report`, `prune`: what past runs tell, and their end."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from drawbar.cli.options import AnyJobName, Data, Json, RunNumber, Server


class ExportFormat(StrEnum):
    JSONL = "jsonl"
    CSV = "csv"
    JUNIT = "junit"


class ReportFormat(StrEnum):
    MD = "md"
    HTML = "html"


Pipeline = Annotated[
    str | None,
    typer.Option(
        "--pipeline",
        metavar="NAME",
        help="Of this pipeline. Default: the one that ran last.",
        show_default=False,
    ),
]
OnlyPipeline = Annotated[
    str | None,
    typer.Option("--name", metavar="NAME", help="Only runs of this pipeline.", show_default=False),
]
Runs = Annotated[int, typer.Option("--runs", "-n", min=1, max=1_000, help="How many runs.")]
Before = Annotated[
    int, typer.Argument(metavar="RUN", help="The earlier run.", min=1, show_default=False)
]
After = Annotated[
    int, typer.Argument(metavar="RUN", help="The later run.", min=1, show_default=False)
]
AllJobs = Annotated[bool, typer.Option("--all", help="Also jobs that did the same.")]
AnyRun = Annotated[
    int | None,
    typer.Argument(metavar="RUN", help="A run's number; or give --all.", min=1, show_default=False),
]
AllRuns = Annotated[bool, typer.Option("--all", help="Every run, the newest first.")]
Since = Annotated[
    str | None,
    typer.Option(
        "--since",
        metavar="AGE|DATE",
        help="With --all: only runs since then, for example 7d.",
        show_default=False,
    ),
]
ExportAs = Annotated[
    ExportFormat | None,
    typer.Option(
        "--format", help="Default: what the file's name says, else jsonl.", show_default=False
    ),
]
ReportAs = Annotated[
    ReportFormat | None,
    typer.Option(
        "--format", help="Default: what the file's name says, else md.", show_default=False
    ),
]
Output = Annotated[
    Path | None,
    typer.Option(
        "--output", "-o", metavar="FILE", help="Write here. Default: stdout.", show_default=False
    ),
]
Keep = Annotated[
    str,
    typer.Option(
        "--keep",
        metavar="AGE",
        help="How long ended runs are kept, for example 90d.",
        show_default=False,
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")]


def history(
    job: AnyJobName = None,
    pipeline: Pipeline = None,
    runs: Runs = 20,
    server: Server = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Show how a job did in past runs: durations, success rate, flakiness.

    Without a job: every job of the pipeline, one line each.

    Example: drawbar history compile --runs 50
    """
    from drawbar.cli.looking_back import print_history

    print_history(job, pipeline, runs, server=server, data=data, as_json=as_json)


def diff(
    before: Before,
    after: After,
    everything: AllJobs = False,
    server: Server = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Compare two runs: what became of each job, how long it took, what was changed in it.

    Example: drawbar diff 11 12
    """
    from drawbar.cli.looking_back import print_diff

    print_diff(before, after, everything, server=server, data=data, as_json=as_json)


def export(
    run: AnyRun = None,
    everything: AllRuns = False,
    form: ExportAs = None,
    output: Output = None,
    name: OnlyPipeline = None,
    since: Since = None,
    server: Server = None,
    data: Data = None,
) -> None:
    """Write runs and their jobs for other programs: JSON Lines, CSV or JUnit XML.

    Example: drawbar export 12 --format junit -o results.xml
    """
    from drawbar.cli.exporting import export_runs

    export_runs(
        run,
        everything,
        form=None if form is None else form.value,
        output=output,
        name=name,
        since=since,
        server=server,
        data=data,
    )


def report(
    run: RunNumber,
    form: ReportAs = None,
    output: Output = None,
    server: Server = None,
    data: Data = None,
) -> None:
    """Write a page about a run, with a chart of when its jobs ran: Markdown or HTML.

    Example: drawbar report 12 -o run-12.html
    """
    from drawbar.cli.exporting import write_report

    write_report(run, None if form is None else form.value, output=output, server=server, data=data)


def prune(
    keep: Keep,
    name: OnlyPipeline = None,
    dry_run: DryRun = False,
    server: Server = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Forget old runs, their logs and artifacts included. Runs that go on are never touched.

    Example: drawbar prune --keep 90d --dry-run
    """
    from drawbar.cli.looking_back import prune_runs

    prune_runs(keep, name, dry_run, server=server, data=data, as_json=as_json)
