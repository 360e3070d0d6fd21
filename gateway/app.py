"""The gateway as a daemon: its composition root. It has no loops."""

from collections.abc import Callable
from typing import Final

import structlog
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.service import GatewayService
from shared.daemon import run_until_signalled
from shared.http.clients import ExecutionClient, JobsClient
from shared.http.component_routes import add_component_routes
from shared.http.data_routes import add_data_routes
from shared.http.execution_routes import add_execution_routes
from shared.http.identity import workers_own
from shared.http.openapi import About
from shared.http.server import Server, new_app
from shared.http.transport import Transport
from shared.http.worker_line import add_worker_line
from shared.http.worker_routes import add_worker_routes
from shared.interference import Interference, Undisturbed
from shared.renewal import AttemptTokens, Renewing
from shared.runtime import Runtime
from shared.services import Execution, Gateway, HasComponents
from shared.tokens import SERVICE_S, Minter, Verifier

log = structlog.get_logger()

ABOUT: Final = About("gateway", "What workers and their tasks ask.")


async def serve(
    jobstore_url: str,
    signing_key: Ed25519PrivateKey,
    runtime: Runtime,
    *,
    host: str,
    port: int,
    started: Callable[[str], None] = lambda _: None,
    faults: Interference | None = None,
) -> None:
    """Served until SIGTERM or SIGINT. `started` is told the URL."""
    faults = faults or Undisturbed(runtime)
    runtime = faults.runtime
    verifier = Verifier(signing_key.public_key(), runtime)
    minter = Minter(signing_key, runtime, verifier)
    token = Renewing(lambda: minter.service("gateway"), SERVICE_S, runtime)
    transport = Transport(jobstore_url, runtime, token=token, service="jobstore")
    jobs = faults.calls(JobsClient(transport))
    service = GatewayService(jobs, runtime)
    execution = faults.calls(ExecutionClient(transport))
    app = build_app(
        faults.serves(service),
        verifier,
        AttemptTokens(minter, runtime),
        faults.serves(execution),
        jobs,
    )
    faults.add_routes(app, verifier)
    server = Server(app, host, port)

    def announce() -> None:
        log.info("gateway.started", url=server.url, jobstore=jobstore_url)
        started(server.url)

    try:
        await run_until_signalled([faults, server], announce)
    finally:
        await transport.close()


def build_app(
    service: Gateway,
    verifier: Verifier,
    tokens: AttemptTokens,
    execution: Execution,
    jobs: HasComponents,
) -> web.Application:
    """Workers ask with their own tokens, and are handed those of their attempts."""

    async def ready() -> None:
        """Also while the job service is away: to say so to workers is this service's work."""

    app = new_app(ready, ABOUT)
    add_worker_routes(app, service, workers_own(verifier), tokens)
    add_worker_line(app, service, workers_own(verifier), tokens)
    add_execution_routes(app, execution, workers_own(verifier))
    add_data_routes(app, execution, verifier)
    add_component_routes(app, jobs, workers_own(verifier))
    return app
