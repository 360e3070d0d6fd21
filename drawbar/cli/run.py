"""`drawbar run` and `drawbar submit`."""

from pathlib import Path
from typing import Annotated

import typer

from drawbar.cli.options import Data, Env, Json, Labels, PipelineFile, Server

Sequential = Annotated[bool, typer.Option("--sequential", help="One job at a time.")]
Parallel = Annotated[
    bool, typer.Option("--parallel", help="Side by side, also where the document says otherwise.")
]
Slots = Annotated[
    int | None,
    typer.Option(
        "--workers",
        "-j",
        metavar="N",
        min=1,
        max=10_000,
        help="Run at most N jobs at a time. Default: 4 for each core, at most 32.",
        show_default=False,
    ),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", "-n", help="Only print what would run, and in which order.")
]
RunServer = Annotated[
    str | None,
    typer.Option(
        "--server",
        metavar="URL",
        help="Run it on the workers of this job service. Default: run it here.",
        show_default=False,
    ),
]


def run(
    file: PipelineFile,
    env: Env = None,
    dry_run: DryRun = False,
    sequential: Sequential = False,
    parallel: Parallel = False,
    workers: Slots = None,
    label: Labels = None,
    data: Data = None,
    server: RunServer = None,
    as_json: Json = False,
) -> int:
    """Run a pipeline here and now, and watch it.

    Exit code: 0 success, 1 failed, 2 bad file or usage, 130 interrupted.

    The first Ctrl-C cancels the run, the second kills it.

    Example: drawbar run release.yaml --env STAGE=test
    """
    from drawbar.cli.pipelines import load_pipeline, submitted_from

    spec = load_pipeline(file, env, is_sequential=sequential, is_parallel=parallel)
    if dry_run:
        from drawbar.cli.plan import print_plan

        print_plan(spec, as_json=as_json)
        return 0
    if workers is not None and server is not None:  # here it is the number of slots
        spec = spec.model_copy(update={"max_workers": min(workers, spec.max_workers or workers)})
    from drawbar.cli.running import Wishes, run_pipeline

    wishes = Wishes(
        data=data, server=server, slots=workers, labels=tuple(label or ()), as_json=as_json
    )
    return run_pipeline(submitted_from(spec, Path.cwd()), wishes)


def submit(
    file: PipelineFile,
    env: Env = None,
    sequential: Sequential = False,
    parallel: Parallel = False,
    server: Server = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Hand a pipeline to the job service, and do not wait for it.

    Example: drawbar submit nightly.yaml
    """
    from drawbar.cli.connect import asking_jobs
    from drawbar.cli.pipelines import load_pipeline, submitted_from
    from drawbar.cli.render.objects import write_json
    from shared.protocol.jobs import SubmitRequest

    spec = load_pipeline(file, env, is_sequential=sequential, is_parallel=parallel)
    spec = submitted_from(spec, Path.cwd())
    run_id = asking_jobs(
        lambda jobs, runtime: jobs.submit(
            SubmitRequest(idempotency_key=runtime.new_id(), pipeline=spec)
        ),
        server,
        data,
    ).run_id
    if as_json:
        write_json({"run_id": run_id})
    else:
        typer.echo(f"run {run_id} submitted; follow it with: drawbar show {run_id} --follow")
