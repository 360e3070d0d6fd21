"""`up`, `jobstore`, `registry`, `gateway`, `worker`, `token`: what operators start."""

from enum import StrEnum
from typing import Annotated

import typer

from drawbar.cli.disturbing import AllowFaults, Disturbance, FaultLog, FaultPlan
from drawbar.cli.fitness import CheckOnly, MaxSkew, MinDisk, MinMemory, health_limits
from drawbar.cli.notifications import MailFrom, NotifyHosts, Smtp, Telling
from drawbar.cli.options import Data, Json, Labels
from drawbar.cli.reaching import CallbackUrl, Reach, TriggerFolder, TriggerHost
from drawbar.cli.rules import (
    AllowCommand,
    AllowPattern,
    AllowPlugins,
    Docker,
    ImagesName,
    ImagesOption,
    LevelName,
    LevelOption,
    Mask,
    NoShell,
    PolicyName,
    PolicyOption,
    WarmOption,
    WorkspaceDir,
    read_rules,
)
from drawbar.cli.sizes import MaxArtifact, MaxArtifacts, MaxLog, read_sizes


class RoleName(StrEnum):
    VIEWER = "viewer"
    SUBMITTER = "submitter"
    OPERATOR = "operator"
    ADMIN = "admin"


Listen = Annotated[
    str,
    typer.Option("--listen", metavar="HOST:PORT", help="Where to listen; port 0 takes a free one."),
]
GatewayUrl = Annotated[
    str, typer.Option("--gateway", metavar="URL", envvar="DRAWBAR_GATEWAY_URL", help="The gateway.")
]
RegistryUrl = Annotated[
    str,
    typer.Option("--registry", metavar="URL", envvar="DRAWBAR_REGISTRY_URL", help="The registry."),
]
JobstoreUrl = Annotated[
    str,
    typer.Option(
        "--jobstore", metavar="URL", envvar="DRAWBAR_JOBSTORE_URL", help="The job service."
    ),
]
Slots = Annotated[
    int | None,
    typer.Option(
        "--slots",
        metavar="N",
        min=1,
        max=10_000,
        help="Jobs at a time. Default: 4 for each core, at most 32.",
        show_default=False,
    ),
]
Name = Annotated[
    str | None,
    typer.Option("--name", metavar="NAME", help="Default: the machine's name.", show_default=False),
]
Policy = Annotated[
    str,
    typer.Option(
        "--registry-policy",
        metavar="strict|grace=S|off",
        help="Whether jobs may start while the registry is away.",
    ),
]
DrainS = Annotated[
    float | None,
    typer.Option(
        "--drain",
        metavar="SECONDS",
        min=0,
        help="How long running jobs may go on after SIGTERM. Default: until they end.",
        show_default=False,
    ),
]
UploadS = Annotated[
    float,
    typer.Option(
        "--upload",
        metavar="SECONDS",
        envvar="DRAWBAR_UPLOAD",
        min=0,
        help="When draining, how long results, logs and artifacts may take to be reported once "
        "all jobs have ended. The next worker of this name goes on with the rest.",
    ),
]
LeaseS = Annotated[
    float,
    typer.Option(
        "--lease",
        metavar="SECONDS",
        envvar="DRAWBAR_LEASE",
        min=1,
        max=3_600,
        help="How long a worker may be silent before its jobs are given to others.",
    ),
]
KeepRuns = Annotated[
    str | None,
    typer.Option(
        "--keep",
        metavar="AGE",
        envvar="DRAWBAR_KEEP",
        help="Forget runs that ended longer ago, for example 90d. Default: keep all.",
        show_default=False,
    ),
]
SilentAfterS = Annotated[
    float,
    typer.Option(
        "--silent-after",
        metavar="SECONDS",
        envvar="DRAWBAR_SILENT_AFTER",
        min=1,
        max=3_600,
        help="When a worker without a sign of life is offline. It reports four times as often.",
    ),
]
PortBase = Annotated[
    int,
    typer.Option(
        "--port-base",
        min=0,
        max=65_532,
        help="The gateway's port; registry +1, jobstore +2. 0: free ones.",
    ),
]
Reattach = Annotated[
    bool,
    typer.Option(
        help="Jobs outlive a worker that dies, and the next one goes on with them. Without it "
        "they end with their worker, and are lost.",
    ),
]
Host = Annotated[str, typer.Option("--host", help="The address to listen on.")]
Role = Annotated[RoleName, typer.Option("--role", help="What its bearer may do.")]
Bearer = Annotated[str, typer.Option("--name", help="Who it is for; shown in logs.")]
Days = Annotated[float, typer.Option("--days", min=0.001, max=3_650, help="How long it lasts.")]


def up(
    data: Data = None,
    port_base: PortBase = 7400,
    host: Host = "127.0.0.1",
    slots: Slots = None,
    label: Labels = None,
    drain: DrainS = None,
    keep: KeepRuns = None,
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
    mask: Mask = None,
    max_log: MaxLog = "4G",
    max_artifact: MaxArtifact = "16G",
    max_artifacts: MaxArtifacts = "64G",
    smtp: Smtp = None,
    mail_from: MailFrom = None,
    notify_host: NotifyHosts = None,
    trigger_folder: TriggerFolder = None,
    trigger_host: TriggerHost = None,
    callback_url: CallbackUrl = None,
    allow_faults: AllowFaults = False,
    fault_plan: FaultPlan = None,
    fault_log: FaultLog = None,
) -> int:
    """All services and a worker in one process; further workers may join.

    SIGTERM or Ctrl-C lets running jobs finish; a second one stops them.

    Example: drawbar up --slots 8
    """
    from drawbar.cli.serving import serve_up

    rules = read_rules(
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
        mask,
    )
    sizes = read_sizes(max_log, max_artifact, max_artifacts)
    told = Telling(smtp, mail_from, tuple(notify_host or ()))
    reach = Reach(tuple(trigger_folder or ()), tuple(trigger_host or ()), callback_url)
    faults = Disturbance(allow_faults, fault_plan, fault_log)
    return serve_up(
        data, host, port_base, slots, label or [], drain, keep, rules, sizes, told, reach, faults
    )


def jobstore(
    listen: Listen = "127.0.0.1:7402",
    lease: LeaseS = 30.0,
    keep: KeepRuns = None,
    max_log: MaxLog = "4G",
    max_artifact: MaxArtifact = "16G",
    smtp: Smtp = None,
    mail_from: MailFrom = None,
    notify_host: NotifyHosts = None,
    trigger_folder: TriggerFolder = None,
    trigger_host: TriggerHost = None,
    callback_url: CallbackUrl = None,
    data: Data = None,
    allow_faults: AllowFaults = False,
    fault_plan: FaultPlan = None,
    fault_log: FaultLog = None,
) -> None:
    """The job service alone: it owns runs, jobs, logs and artifacts.

    Example: drawbar jobstore --listen 0.0.0.0:7402 --data /var/lib/drawbar
    """
    from drawbar.cli.serving import serve_jobstore

    sizes = read_sizes(max_log, max_artifact)
    told = Telling(smtp, mail_from, tuple(notify_host or ()))
    reach = Reach(tuple(trigger_folder or ()), tuple(trigger_host or ()), callback_url)
    faults = Disturbance(allow_faults, fault_plan, fault_log)
    serve_jobstore(listen, lease, keep, data, sizes, told, reach, faults)


def registry(
    listen: Listen = "127.0.0.1:7401",
    silent_after: SilentAfterS = 20.0,
    data: Data = None,
    allow_faults: AllowFaults = False,
    fault_plan: FaultPlan = None,
    fault_log: FaultLog = None,
) -> None:
    """The registry alone: it knows which workers live, and what operators want of them.

    Example: drawbar registry --listen 0.0.0.0:7401 --data /var/lib/drawbar
    """
    from drawbar.cli.serving import serve_registry

    faults = Disturbance(allow_faults, fault_plan, fault_log)
    serve_registry(listen, silent_after, data, faults)


def gateway(
    listen: Listen = "127.0.0.1:7400",
    jobstore: JobstoreUrl = "http://127.0.0.1:7402",
    data: Data = None,
    allow_faults: AllowFaults = False,
    fault_plan: FaultPlan = None,
    fault_log: FaultLog = None,
) -> None:
    """The gateway alone: workers talk to it, it talks to the job service, and keeps nothing.

    Example: drawbar gateway --listen 0.0.0.0:7400 --jobstore http://jobs.internal:7402
    """
    from drawbar.cli.serving import serve_gateway

    faults = Disturbance(allow_faults, fault_plan, fault_log)
    serve_gateway(listen, jobstore, data, faults)


def worker(
    gateway: GatewayUrl = "http://127.0.0.1:7400",
    registry: RegistryUrl = "http://127.0.0.1:7401",
    name: Name = None,
    slots: Slots = None,
    label: Labels = None,
    registry_policy: Policy = "strict",
    drain: DrainS = None,
    upload: UploadS = 300.0,
    data: Data = None,
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
    mask: Mask = None,
    max_log: MaxLog = "4G",
    max_artifact: MaxArtifact = "16G",
    max_artifacts: MaxArtifacts = "64G",
    min_disk: MinDisk = "256M",
    min_memory: MinMemory = "64M",
    max_skew: MaxSkew = 60.0,
    reattach: Reattach = True,
    check: CheckOnly = False,
    allow_faults: AllowFaults = False,
    fault_plan: FaultPlan = None,
    fault_log: FaultLog = None,
) -> int:
    """A worker: it pulls jobs from the gateway and runs them.

    SIGTERM or Ctrl-C lets running jobs finish; a second one stops them. SIGHUP and
    `drawbar worker-restart` restart the worker, and jobs run on.

    Example: drawbar worker --name box-7 --slots 4 --label gpu=yes
    """
    from drawbar.cli.serving import serve_worker

    rules = read_rules(
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
        mask,
    )
    return serve_worker(
        gateway,
        registry,
        name,
        slots,
        label or [],
        registry_policy,
        drain,
        upload,
        data,
        rules,
        read_sizes(max_log, max_artifact, max_artifacts),
        health_limits(min_disk, min_memory, max_skew),
        checks_only=check,
        reattach=reattach,
        faults=Disturbance(allow_faults, fault_plan, fault_log),
    )


def token(
    role: Role = RoleName.SUBMITTER,
    name: Bearer = "client",
    days: Days = 30,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Make a token for a person or a program, to be put into DRAWBAR_TOKEN.

    Needs this installation's signing key: run it where a service's data directory is.

    Example: drawbar token --role viewer --name dashboard --days 90
    """
    from drawbar.cli.keys import make_token

    made = make_token(role.value, name, days, data)
    if as_json:
        from drawbar.cli.render.objects import write_json

        write_json({"token": made, "role": role.value, "name": name, "days": days})
    else:
        typer.echo(made)
