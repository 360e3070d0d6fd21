"""`faults` and `faults proxy`: breaking things on purpose."""

from pathlib import Path
from typing import Annotated

import typer

from drawbar.cli.options import Data, Json

At = Annotated[
    str,
    typer.Option("--at", metavar="GLOB", help="Only points of such a name, with wildcards."),
]
Plan = Annotated[
    Path | None,
    typer.Option(
        "--plan",
        metavar="FILE",
        help="Proxies and their faults, as YAML; then no other option is needed.",
        show_default=False,
    ),
]
ProxyListen = Annotated[
    str, typer.Option("--listen", metavar="HOST:PORT", help="Where clients connect; port 0: any.")
]
Upstream = Annotated[
    str | None,
    typer.Option(
        "--upstream", metavar="HOST:PORT", help="Whom it stands before.", show_default=False
    ),
]
Protocol = Annotated[
    str,
    typer.Option("--protocol", metavar="http|tcp", help="tcp: bytes are not looked into."),
]
Fault = Annotated[
    list[str] | None,
    typer.Option(
        "--fault",
        metavar="KIND[:FIELD=VALUE,…]",
        help="For example latency:latency_s=0.2,way=up. May be repeated.",
        show_default=False,
    ),
]
Control = Annotated[
    str | None,
    typer.Option(
        "--control",
        metavar="HOST:PORT",
        help="Where admins change faults while it runs (drawbar token --role admin).",
        show_default=False,
    ),
]
Seed = Annotated[int, typer.Option("--seed", help="What decides whom a fault strikes.")]


def faults(context: typer.Context, at: At = "*", as_json: Json = False) -> None:
    """Every point at which a fault can be injected, and what a proxy can do to connections.

    Daemons take faults only when they are started with --allow-faults.

    Example: drawbar faults --at 'worker.finish.*'
    """
    from drawbar.cli import breaking

    if context.invoked_subcommand is None:
        breaking.list_points(at, as_json)
    else:
        from drawbar.cli.scheduling import check_place

        check_place(context)


def proxy(
    upstream: Upstream = None,
    listen: ProxyListen = "127.0.0.1:0",
    protocol: Protocol = "http",
    fault: Fault = None,
    seed: Seed = 0,
    plan: Plan = None,
    control: Control = None,
    data: Data = None,
) -> None:
    """A bad network before a gateway, a database or any other TCP service.

    Example: drawbar faults proxy --upstream 127.0.0.1:7400 --fault lost_response:probability=0.1
    """
    from drawbar.cli import breaking

    breaking.serve_proxies(
        upstream, listen, protocol, fault or [], seed, plan, control=control, data=data
    )
