"""The registry as a daemon: its composition root.

Its one loop, the watch (every second: who fell silent), is started by the service itself.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Final

import structlog
from aiohttp import web

from registry.routes import add_registry_routes
from registry.service import RegistryService, RegistrySettings
from shared.daemon import run_until_signalled
from shared.http.openapi import About
from shared.http.server import Server, new_app
from shared.interference import Interference, Undisturbed
from shared.keys import Keys
from shared.runtime import Runtime
from shared.services import Registry
from shared.tokens import Minter, Verifier

log = structlog.get_logger()

ABOUT: Final = About("registry", "Which workers there are, and what is wanted of them.")


async def serve(
    data: Path,
    keys: Keys,
    runtime: Runtime,
    *,
    host: str,
    port: int,
    settings: RegistrySettings | None = None,
    started: Callable[[str], None] = lambda _: None,
    faults: Interference | None = None,
) -> None:
    """Served until SIGTERM or SIGINT; raises what the service failed with.

    `data` is the service's own folder, held by the caller. `started` is told the URL.
    """
    faults = faults or Undisturbed(runtime)
    runtime = faults.runtime
    service = RegistryService(data / "registry.db", runtime, settings)
    verifier = Verifier(keys.signing.public_key(), runtime)
    minter = Minter(keys.signing, runtime, verifier)
    app = build_app(faults.serves(service), verifier, minter, keys.enrolment_secret)
    faults.add_routes(app, verifier)
    server = Server(app, host, port)

    def announce() -> None:
        log.info("registry.started", url=server.url)
        started(server.url)

    await run_until_signalled([faults, service, server], announce)


def build_app(
    service: Registry, verifier: Verifier, minter: Minter, enrolment_secret: str
) -> web.Application:
    """Workers enrol with the secret and then use their own tokens; people carry a role."""

    async def ready() -> None:
        await service.list_workers()

    app = new_app(ready, ABOUT)
    add_registry_routes(app, service, verifier, minter, enrolment_secret)
    return app
