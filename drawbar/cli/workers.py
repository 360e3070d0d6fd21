"""`workers` and what an operator may want of one: drain, pause, resume, stop."""

from typing import Annotated

import typer

from drawbar.cli.options import Data, Json, RegistryUrl, WorkerName

Reason = Annotated[
    str,
    typer.Option(
        "--reason", metavar="TEXT", help="Why, for whoever looks next.", show_default=False
    ),
]
Deadline = Annotated[
    float | None,
    typer.Option(
        "--deadline",
        metavar="SECONDS",
        min=0,
        help="Stop jobs that still run after this time; they cost no try. Default: wait.",
        show_default=False,
    ),
]


def workers(registry: RegistryUrl = None, data: Data = None, as_json: Json = False) -> None:
    """List the workers: what each one does, and when it last reported.

    Example: drawbar workers
    """
    from drawbar.cli.connect import asking_registry
    from drawbar.cli.render.console import console
    from drawbar.cli.render.objects import write_all
    from drawbar.cli.render.tables import workers_table

    found = asking_registry(lambda client: client.list_workers(), registry, data).workers
    if as_json:
        write_all(found)
    elif found:
        console().print(workers_table(found))
    else:
        typer.echo("no workers yet; start one with: drawbar worker")


def drain(
    name: WorkerName,
    reason: Reason,
    deadline: Deadline = None,
    registry: RegistryUrl = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Let a worker finish what it runs, claim nothing more, and leave.

    Example: drawbar worker-drain box-7 --reason "new kernel"
    """
    _wish("drain", name, reason, registry, data, as_json, deadline)


def pause(
    name: WorkerName,
    reason: Reason,
    registry: RegistryUrl = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Let a worker finish what it runs and claim nothing more, until it is resumed.

    Example: drawbar worker-pause box-7 --reason "looking at its disk"
    """
    _wish("pause", name, reason, registry, data, as_json)


def resume(
    name: WorkerName,
    reason: Reason = "resumed",
    registry: RegistryUrl = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Let a paused worker claim jobs again.

    Example: drawbar worker-resume box-7
    """
    _wish("run", name, reason, registry, data, as_json)


def stop(
    name: WorkerName,
    reason: Reason,
    registry: RegistryUrl = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Stop what a worker runs, which costs no try, and let it leave.

    Example: drawbar worker-stop box-7 --reason "it is on fire"
    """
    _wish("stop", name, reason, registry, data, as_json)


def _wish(
    wanted: str,
    name: str,
    reason: str,
    registry: str | None,
    data: Data,
    as_json: bool,
    deadline_s: float | None = None,
) -> None:
    from drawbar.cli.connect import asking_registry
    from drawbar.cli.render.objects import write_json
    from drawbar.cli.render.words import one_line
    from shared.protocol.registry import WishRequest
    from shared.protocol.states import Desired

    ask = WishRequest(desired=Desired(wanted), reason=reason, deadline_s=deadline_s)
    view = asking_registry(lambda client: client.wish(name, ask), registry, data)
    if as_json:
        write_json(view.model_dump(mode="json"))
    else:
        verb = "resume" if wanted == "run" else wanted
        when = " at its next report" if view.status != "offline" else " when it is back"
        typer.echo(f"worker {one_line(view.name)} ({view.status}) will {verb}{when}")
