"""`drawbar run` and `drawbar submit`."""

from pathlib import Path
from typing import Annotated

import typer

from drawbar.cli.notifications import MailFrom, NotifyHosts, Smtp, Telling
from drawbar.cli.options import (
    ContinueOnError,
    Data,
    Env,
    FailFast,
    Json,
    Labels,
    Parallel,
    Params,
    PipelineFile,
    ResumeFailedOnly,
    ResumeFrom,
    Sequential,
    Server,
    Skip,
)
from drawbar.cli.rules import (
    AllowCommand,
    AllowPattern,
    AllowPlugins,
    Docker,
    ImagesName,
    ImagesOption,
    LevelName,
    LevelOption,
    NoShell,
    PolicyName,
    PolicyOption,
    WarmOption,
    WorkspaceDir,
    read_rules,
)

Slots = Annotated[
    int | None,
    typer.Option(
        "--workers",
        "-j",
        metavar="N",
        min=1,
        max=10_000,
        help="Run at most N jobs at a time. Default: the document's max_workers; here also 4 for "
        "each core, at most 32.",
        show_default=False,
    ),
]
DryRun = Annotated[
    bool,
    typer.Option("--dry-run", "-n", help="Only print the plan: order, commands, expected time."),
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
    param: Params = None,
    dry_run: DryRun = False,
    sequential: Sequential = False,
    parallel: Parallel = False,
    workers: Slots = None,
    continue_on_error: ContinueOnError = False,
    fail_fast: FailFast = False,
    skip: Skip = None,
    resume: ResumeFrom = None,
    failed_only: ResumeFailedOnly = False,
    label: Labels = None,
    data: Data = None,
    server: RunServer = None,
    policy: PolicyOption = PolicyName.OFF,
    policy_level: LevelOption = LevelName.MEDIUM,
    allow_command: AllowCommand = None,
    allow_pattern: AllowPattern = None,
    workspace: WorkspaceDir = None,
    no_shell: NoShell = False,
    allow_plugins: AllowPlugins = None,
    images: ImagesOption = ImagesName.RUN,
    docker: Docker = None,
    warm: WarmOption = True,
    smtp: Smtp = None,
    mail_from: MailFrom = None,
    notify_host: NotifyHosts = None,
    as_json: Json = False,
) -> int:
    """Run a pipeline here and now, and watch it.

    Exit code: 0 success, 1 failed, 2 bad file or usage, 130 interrupted.

    The first Ctrl-C cancels the run, the second kills it.

    Example: drawbar run release.yaml --env STAGE=test
    """
    from drawbar.cli.pipelines import load_pipeline, start_of, submitted_from

    spec = load_pipeline(
        file,
        env,
        param,
        is_sequential=sequential,
        is_parallel=parallel,
        workers=workers,
        continue_on_error=continue_on_error,
        fail_fast=fail_fast,
    )
    if not dry_run:
        spec = submitted_from(spec, Path.cwd())
    start = start_of(spec, skip=skip, resume=resume, failed_only=failed_only)
    if dry_run:
        from drawbar.cli.labels import worker_labels
        from drawbar.cli.planning import show_plan

        here = worker_labels(label or ()) if server is None else None
        show_plan(start, here=here, workers=workers, server=server, data=data, as_json=as_json)
        return 0
    from drawbar.cli.images import say_refused
    from drawbar.cli.running import Wishes, run_pipeline

    wishes = Wishes(
        file=file,
        data=data,
        server=server,
        slots=workers,
        labels=tuple(label or ()),
        rules=read_rules(
            policy,
            policy_level,
            allow_command,
            allow_pattern,
            workspace,
            no_shell,
            allow_plugins,
            images,
            docker,
            warm,
        ),
        told=Telling(smtp, mail_from, tuple(notify_host or ())),
        as_json=as_json,
    )
    if server is None:
        say_refused(start, wishes.rules)
    return run_pipeline(start, wishes)


def submit(
    file: PipelineFile,
    env: Env = None,
    param: Params = None,
    dry_run: DryRun = False,
    sequential: Sequential = False,
    parallel: Parallel = False,
    workers: Slots = None,
    continue_on_error: ContinueOnError = False,
    fail_fast: FailFast = False,
    skip: Skip = None,
    resume: ResumeFrom = None,
    failed_only: ResumeFailedOnly = False,
    server: Server = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Hand a pipeline to the job service, and do not wait for it.

    Example: drawbar submit nightly.yaml
    """
    from drawbar.cli.connect import asking_jobs
    from drawbar.cli.pipelines import load_pipeline, start_of, submitted_from
    from drawbar.cli.render.objects import write_json

    spec = load_pipeline(
        file,
        env,
        param,
        is_sequential=sequential,
        is_parallel=parallel,
        workers=workers,
        continue_on_error=continue_on_error,
        fail_fast=fail_fast,
    )
    if not dry_run:
        spec = submitted_from(spec, Path.cwd())
    start = start_of(spec, skip=skip, resume=resume, failed_only=failed_only)
    if dry_run:
        from drawbar.cli.planning import show_plan

        show_plan(start, here=None, workers=None, server=server, data=data, as_json=as_json)
        return
    run_id = asking_jobs(
        lambda jobs, runtime: jobs.submit(start.request(runtime.new_id())), server, data
    ).run_id
    if as_json:
        write_json({"run_id": run_id})
    else:
        typer.echo(f"run {run_id} submitted; follow it with: drawbar show {run_id} --follow")
