"""The job service as a daemon: where its parts are put together."""

from aiohttp import web

from jobstore.routes import add_people_routes
from shared.http.identity import through_gateway
from shared.http.server import new_app
from shared.http.worker_routes import add_worker_routes
from shared.services import JobService
from shared.tokens import Verifier


def build_app(service: JobService, verifier: Verifier) -> web.Application:
    """Gateways ask for workers with a service token, people with a client token."""

    async def ready() -> None:
        await service.list_runs(limit=1)

    app = new_app(ready)
    add_worker_routes(app, service, through_gateway(verifier))
    add_people_routes(app, service, verifier)
    return app
