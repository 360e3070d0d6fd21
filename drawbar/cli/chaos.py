"""`chaos`: a cluster, work for it, faults on a schedule, and a verdict for each promise."""

from pathlib import Path
from typing import Annotated

import typer

from drawbar.cli.options import Data, Json

PlanFile = Annotated[
    Path, typer.Argument(metavar="PLAN", help="A chaos plan, as YAML; examples/chaos/ has some.")
]
Seed = Annotated[
    int | None,
    typer.Option("--seed", help="Instead of the plan's: who is struck when.", show_default=False),
]
Duration = Annotated[
    float | None,
    typer.Option(
        "--duration",
        metavar="SECONDS",
        min=1,
        max=86_400,
        help="Instead of the plan's: how long faults are on.",
        show_default=False,
    ),
]
Keep = Annotated[
    Path | None,
    typer.Option(
        "--keep",
        metavar="DIR",
        help="Keep everything there: history, logs, data, timeline.html. Must be empty.",
        show_default=False,
    ),
]
Minimize = Annotated[
    bool,
    typer.Option("--minimize", help="When it fails: find fewer steps with which it still does."),
]
GatewayUrl = Annotated[
    str | None,
    typer.Option("--gateway", metavar="URL", help="Attach to it; with --registry and --jobstore."),
]
RegistryUrl = Annotated[
    str | None, typer.Option("--registry", metavar="URL", help="Of the cluster to attach to.")
]
JobstoreUrl = Annotated[
    str | None, typer.Option("--jobstore", metavar="URL", help="Of the cluster to attach to.")
]


def chaos(
    plan: PlanFile,
    seed: Seed = None,
    duration: Duration = None,
    keep: Keep = None,
    minimize: Minimize = False,
    gateway: GatewayUrl = None,
    registry: RegistryUrl = None,
    jobstore: JobstoreUrl = None,
    data: Data = None,
    as_json: Json = False,
) -> int:
    """Break a real cluster on a schedule while it works, and judge what it promises.

    Daemons run as processes in a folder of their own. Exits with 1 when a promise is broken, or
    one that the plan expects was not put to the test.

    Example: drawbar chaos examples/chaos/storm.yaml --seed 7
    """
    from drawbar.cli.tormenting import torment

    urls = {"gateway": gateway, "registry": registry, "jobstore": jobstore}
    return torment(plan, seed, duration, keep, urls, data, minimizes=minimize, as_json=as_json)
