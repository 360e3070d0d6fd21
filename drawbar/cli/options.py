"""Options that several commands share, each defined once."""

from pathlib import Path
from typing import Annotated

import typer

PipelineFile = Annotated[
    Path,
    typer.Argument(metavar="FILE", help="The pipeline: YAML, JSON or TOML.", show_default=False),
]
RunNumber = Annotated[
    int, typer.Argument(metavar="RUN", help="The run's number.", min=1, show_default=False)
]
JobName = Annotated[str, typer.Argument(metavar="JOB", help="The job's id.", show_default=False)]
AnyJobName = Annotated[
    str | None,
    typer.Argument(metavar="JOB", help="A job's id; without it: all jobs.", show_default=False),
]
WorkerName = Annotated[
    str, typer.Argument(metavar="NAME", help="The worker's name.", show_default=False)
]

Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
Data = Annotated[
    Path | None,
    typer.Option(
        "--data",
        metavar="DIR",
        envvar="DRAWBAR_DATA",
        help="The data directory. Default: the user's own.",
        show_default=False,
    ),
]
Env = Annotated[
    list[str] | None,
    typer.Option(
        "--env",
        "-e",
        metavar="NAME=VALUE",
        help="A variable for every job; it wins over the document. May be repeated.",
        show_default=False,
    ),
]
Params = Annotated[
    list[str] | None,
    typer.Option(
        "--param",
        "-p",
        metavar="NAME=VALUE",
        help="A parameter of the document. May be repeated.",
        show_default=False,
    ),
]
Sequential = Annotated[bool, typer.Option("--sequential", help="One job at a time.")]
Parallel = Annotated[
    bool, typer.Option("--parallel", help="Side by side, also where the document says otherwise.")
]
ContinueOnError = Annotated[
    bool,
    typer.Option(
        "--continue-on-error", help="After a failure only skip what needs the job that failed."
    ),
]
FailFast = Annotated[
    bool, typer.Option("--fail-fast", help="After a failure cancel all of the run.")
]
Skip = Annotated[
    list[str] | None,
    typer.Option(
        "--skip",
        metavar="JOB",
        help="Leave this job out, as if it had succeeded. May be repeated.",
        show_default=False,
    ),
]
ResumeFrom = Annotated[
    int | None,
    typer.Option(
        "--resume",
        metavar="RUN",
        min=1,
        help="Go on where that run ended: what succeeded in it is not run again.",
        show_default=False,
    ),
]
ResumeFailedOnly = Annotated[
    bool,
    typer.Option(
        "--failed-only", help="With --resume: run only what failed, not what never started."
    ),
]
Server = Annotated[
    str | None,
    typer.Option(
        "--server",
        metavar="URL",
        envvar="DRAWBAR_JOBSTORE_URL",
        help="The job service. Default: http://127.0.0.1:7402.",
        show_default=False,
    ),
]
RegistryUrl = Annotated[
    str | None,
    typer.Option(
        "--registry",
        metavar="URL",
        envvar="DRAWBAR_REGISTRY_URL",
        help="The registry. Default: http://127.0.0.1:7401.",
        show_default=False,
    ),
]
Labels = Annotated[
    list[str] | None,
    typer.Option(
        "--label",
        metavar="KEY=VALUE",
        help="What this worker is, besides os and arch; for jobs with 'requires'. Repeatable.",
        show_default=False,
    ),
]
Follow = Annotated[bool, typer.Option("--follow", "-f", help="Go on until it ends.")]
Why = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why, for the record.")]
