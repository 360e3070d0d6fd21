"""`workers` and what an operator may want of one: drain, pause, resume, stop, restart, settings."""

from typing import TYPE_CHECKING, Annotated

import typer

from drawbar.cli.options import Data, Json, RegistryUrl, WorkerName

if TYPE_CHECKING:
    from shared.protocol.registry import WorkerView

AnyWorkerName = Annotated[
    str | None,
    typer.Argument(
        metavar="NAME", help="Everything about this one; without it: all.", show_default=False
    ),
]

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


For = Annotated[
    str | None,
    typer.Option(
        "--for",
        metavar="TIME",
        help="It resumes by itself after this time, for example 30m. Default: never.",
        show_default=False,
    ),
]
Until = Annotated[
    str | None,
    typer.Option(
        "--until",
        metavar="WHEN",
        help="It resumes by itself then, for example 2026-01-31T18:00.",
        show_default=False,
    ),
]
Now = Annotated[bool, typer.Option("--now", help="Kill what runs, without a grace period.")]
SetSlots = Annotated[
    int | None,
    typer.Option(
        "--slots", metavar="N", min=1, max=10_000, help="Jobs at a time.", show_default=False
    ),
]
SetLabels = Annotated[
    list[str] | None,
    typer.Option("--label", metavar="KEY=VALUE", help="Repeatable.", show_default=False),
]
Unlabel = Annotated[
    list[str] | None,
    typer.Option(
        "--unlabel", metavar="KEY", help="Take a label away. Repeatable.", show_default=False
    ),
]
Reset = Annotated[bool, typer.Option("--reset", help="First, back to what it was started with.")]
WhySet = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why, for the record.")]


def workers(
    name: AnyWorkerName = None,
    registry: RegistryUrl = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """List the workers: what each one does, and when it last reported.

    With a NAME: its health, and who did what to it when and why.

    Example: drawbar workers
    """
    from drawbar.cli.connect import asking_registry
    from drawbar.cli.render.console import console
    from drawbar.cli.render.objects import write_all, write_json

    if name is not None:
        from drawbar.cli.render.workers import print_worker

        details = asking_registry(lambda client: client.show_worker(name), registry, data)
        if as_json:
            write_json(details.model_dump(mode="json"))
        else:
            print_worker(details, console())
        return
    from drawbar.cli.render.workers import workers_table

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
    _wish("drain", name, reason, registry, data, as_json, deadline_s=deadline)


def pause(
    name: WorkerName,
    reason: Reason,
    for_: For = None,
    until: Until = None,
    registry: RegistryUrl = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Let a worker finish what it runs and claim nothing more, until it is resumed.

    Example: drawbar worker-pause box-7 --for 30m --reason "looking at its disk"
    """
    from drawbar.cli.ages import pause_s
    from shared.runtime import SystemRuntime

    for_s = pause_s(for_, until, SystemRuntime().now())
    _wish("pause", name, reason, registry, data, as_json, for_s=for_s)


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
    now: Now = False,
    registry: RegistryUrl = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Stop what a worker runs, which costs no try, and let it leave.

    Its jobs have their time to end after SIGTERM; with --now they are killed.

    Example: drawbar worker-stop box-7 --reason "it is on fire" --now
    """
    _wish("stop", name, reason, registry, data, as_json, is_now=now)


def restart(
    name: WorkerName,
    reason: Reason,
    registry: RegistryUrl = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Let a worker begin anew, perhaps as a newer version, while its jobs run on.

    Nothing else has to start it. Tasks, containers and jobs that have not begun are stopped
    first, which costs them no try.

    Example: drawbar worker-restart box-7 --reason "new version"
    """
    _wish("restart", name, reason, registry, data, as_json)


def change(
    name: WorkerName,
    slots: SetSlots = None,
    label: SetLabels = None,
    unlabel: Unlabel = None,
    reset: Reset = False,
    reason: WhySet = "",
    registry: RegistryUrl = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Change how many slots a worker has, or its labels, while it runs.

    It holds until it is changed again, also when the worker is started anew with other settings;
    --reset takes it back. With fewer slots, what runs goes on.

    Example: drawbar worker-set box-7 --slots 4 --label gpu=1 --unlabel spare
    """
    from drawbar.cli.connect import asking_registry
    from drawbar.cli.labels import changed_labels
    from drawbar.cli.render.objects import write_json
    from drawbar.cli.render.words import one_line
    from shared.protocol.registry import SettingsRequest

    ask = SettingsRequest(
        slots=slots,
        labels=changed_labels(label or [], unlabel or []),
        is_reset=reset,
        reason=reason,
    )
    view = asking_registry(lambda client: client.set_worker(name, ask), registry, data)
    if as_json:
        write_json(view.model_dump(mode="json"))
        return
    labels = " ".join(f"{k}={v}" for k, v in sorted(view.labels.items()))
    typer.echo(one_line(f"worker {view.name}: {view.slots} slots, {labels}{_when(view)}"))


def _wish(
    wanted: str,
    name: str,
    reason: str,
    registry: str | None,
    data: Data,
    as_json: bool,
    *,
    deadline_s: float | None = None,
    for_s: float | None = None,
    is_now: bool = False,
) -> None:
    from drawbar.cli.connect import asking_registry
    from drawbar.cli.failures import Usage
    from drawbar.cli.render.objects import write_json
    from drawbar.cli.render.words import one_line
    from shared.protocol.registry import MAX_REASON, WishRequest
    from shared.protocol.states import Desired

    if not 0 < len(reason) <= MAX_REASON:
        raise Usage(f"--reason takes 1 to {MAX_REASON} characters; found {len(reason)}")
    ask = WishRequest(
        desired=Desired(wanted), reason=reason, deadline_s=deadline_s, for_s=for_s, is_now=is_now
    )
    view = asking_registry(lambda client: client.wish(name, ask), registry, data)
    if as_json:
        write_json(view.model_dump(mode="json"))
        return
    verb = "resume" if wanted == "run" else wanted
    until = "" if view.until is None else f", until {view.until.astimezone():%Y-%m-%d %H:%M:%S}"
    typer.echo(f"worker {one_line(view.name)} ({view.status}) will {verb}{_when(view)}{until}")


def _when(view: "WorkerView") -> str:
    return " at its next report" if view.status != "offline" else " when it is back"
