"""What `drawbar faults` does."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer
import yaml
from pydantic import ValidationError

from drawbar.cli.failures import Usage, say
from drawbar.cli.parsing import parse_address
from drawbar.cli.render.console import console
from drawbar.cli.render.objects import write_json
from drawbar.cli.render.points import faults_table, points_table
from faults.points import matching
from faults.proxy.plan import ProxyPlan, proxy_plan_from
from faults.proxy.proxy import Proxy
from faults.proxy.words import KINDS
from faults.told import told
from shared.errors import Misconfigured


def list_points(at: str, as_json: bool) -> None:
    points = matching(at)
    if as_json:
        write_json(
            {
                "points": [
                    {"name": p.name, "actions": [a.value for a in p.actions], "what": p.what}
                    for p in points
                ],
                "proxy": [{"kind": kind, "fields": fields} for kind, fields in KINDS.items()],
            }
        )
        return
    if not points:
        raise Usage(f"no point is called {at!r}; `drawbar faults` lists all")
    console().print(points_table(points))
    if at == "*":
        typer.echo("\nWhat `drawbar faults proxy` can do to connections:\n")
        console().print(faults_table(KINDS))


def serve_proxies(
    upstream: str | None,
    listen: str,
    protocol: str,
    faults: Sequence[str],
    seed: int,
    file: Path | None,
    *,
    control: str | None,
    data: Path | None,
) -> None:
    """Served until a signal."""
    from drawbar.cli.keys import keys_of
    from drawbar.cli.places import data_dir
    from faults.proxy.app import serve
    from shared import logs
    from shared.runtime import SystemRuntime
    from shared.tokens import Verifier

    if (upstream is None) == (file is None):
        raise Usage("give either --upstream HOST:PORT or --plan FILE")
    if file is not None:
        plan = _plan_in(file)
    else:
        plan = _plan_of(str(upstream), listen, protocol, faults, seed)
    runtime = SystemRuntime()
    logs.configure(runtime, level="info")
    address = verifier = None
    if control is not None:
        address = parse_address(control, "--control")
        verifier = Verifier(keys_of(data_dir(data), runtime).signing.public_key(), runtime)
    asyncio.run(serve(plan, runtime, control=address, verifier=verifier, started=_announce))


def _announce(proxies: Sequence[Proxy], control: str | None) -> None:
    for proxy in proxies:
        host, port = proxy.upstream
        kinds = ", ".join(active.fault.kind for active in proxy.board.active) or "none yet"
        say(f"{proxy.name}: {proxy.host}:{proxy.port} → {host}:{port}, faults: {kinds}", prefix="")
    if control is not None:
        say(f"control: GET {control}/v1/proxies, PUT and DELETE …/NAME/faults", prefix="")


def _plan_in(file: Path) -> ProxyPlan:
    try:
        return proxy_plan_from(file)
    except Misconfigured as mistake:
        raise Usage(mistake.message) from None


def _plan_of(
    upstream: str, listen: str, protocol: str, faults: Sequence[str], seed: int
) -> ProxyPlan:
    spec = {
        "name": "proxy",
        "listen": listen,
        "upstream": upstream,
        "protocol": protocol,
        "faults": [_fault_of(text) for text in faults],
    }
    try:
        return ProxyPlan.model_validate({"seed": seed, "proxies": [spec]})
    except ValidationError as error:
        raise Usage(told(error)) from None


def _fault_of(text: str) -> dict[str, Any]:
    """`KIND:FIELD=VALUE,…` as a mapping; values as YAML would read them."""
    kind, _, fields = text.partition(":")
    fault: dict[str, Any] = {"kind": kind}
    for field in filter(None, fields.split(",")):
        name, equals, value = field.partition("=")
        if not equals:
            raise Usage(f"--fault takes KIND:FIELD=VALUE,…; found {text!r}")
        fault[name] = yaml.safe_load(value)
    return fault
