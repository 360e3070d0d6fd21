"""A process of proxies: its composition root."""

import random
from collections.abc import Callable, Sequence
from typing import Any

import structlog

from faults.proxy.control import build_app
from faults.proxy.plan import ProxyPlan, host_and_port
from faults.proxy.proxy import Proxy
from shared.daemon import Part, run_until_signalled
from shared.http.server import Server
from shared.runtime import Runtime
from shared.tokens import Verifier

log = structlog.get_logger()


async def serve(
    plan: ProxyPlan,
    runtime: Runtime,
    *,
    control: tuple[str, int] | None,
    verifier: Verifier | None,
    started: Callable[[Sequence[Proxy], str | None], None],
) -> None:
    """Served until SIGTERM or SIGINT. `started` hears of the proxies, and the control's URL."""
    proxies = {proxy.name: proxy for proxy in made_from(plan, runtime)}
    server = None
    if control is not None and verifier is not None:
        server = Server(build_app(proxies, verifier), *control)
    parts: list[Part] = [*proxies.values(), *([server] if server else [])]
    await run_until_signalled(
        parts, lambda: started(list(proxies.values()), server.url if server else None)
    )


def made_from(plan: ProxyPlan, runtime: Runtime) -> list[Proxy]:
    """The proxies of a plan, with its faults; each has chances of its own, from the seed."""
    made = []
    for spec in plan.proxies:
        host, port = host_and_port(spec.listen)
        proxy = Proxy(
            spec.name,
            host_and_port(spec.upstream),
            runtime,
            random.Random(f"{plan.seed} {spec.name}"),
            host=host,
            port=port,
            protocol=spec.protocol,
            told=_log_of(spec.name),
        )
        proxy.put(spec.faults)
        made.append(proxy)
    return made


def _log_of(name: str) -> Callable[[str, dict[str, Any]], None]:
    def tell(kind: str, facts: dict[str, Any]) -> None:
        log.warning("fault.injected", proxy=name, kind=kind, **facts)

    return tell
