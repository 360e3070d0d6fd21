"""The job service as a daemon: its composition root.

The service itself starts its keeper (every 0.1 s: leases, timers, retries) and its triggerer
(deferred tasks), and clears away (every 60 s: pruned history, uploads that broke off). Beside it
live the scheduler (every 1 s: schedules, backfills) and the postman (every 1 s: notifications).
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

import structlog
from aiohttp import web

from jobstore.execution_data.routes import add_value_routes
from jobstore.execution_data.vault import Vault, keys_from
from jobstore.history.routes import add_history_routes
from jobstore.notifications.carriers import Carriers
from jobstore.notifications.postman import Postman
from jobstore.notifications.routes import add_notification_routes
from jobstore.notifications.settings import NotificationSettings
from jobstore.routes import add_people_routes
from jobstore.schedules.routes import add_schedule_routes
from jobstore.service import JobStoreService
from jobstore.settings import JobStoreSettings
from jobstore.triggers.ports import Outside
from jobstore.triggers.routes import add_wait_routes
from shared.components import ComponentRunner, Running
from shared.daemon import Part, run_until_signalled
from shared.files import DiskFiles
from shared.http.admission import Admission
from shared.http.component_routes import add_component_list, add_component_routes
from shared.http.execution_routes import add_execution_routes
from shared.http.identity import through_gateway
from shared.http.openapi import About
from shared.http.server import Server, new_app
from shared.http.worker_line import add_worker_line
from shared.http.worker_routes import add_worker_routes
from shared.interference import Interference, Undisturbed
from shared.keys import Keys
from shared.protocol.jobs import RunFilter
from shared.runtime import Runtime
from shared.services import Execution, WholeJobService
from shared.tokens import Verifier

log = structlog.get_logger()

ABOUT: Final = About(
    "jobstore",
    "Runs, logs, artifacts, schedules and values, for people; and what gateways ask for workers.",
    through_gateway=True,
)

NAME: Final = "jobstore"  # of the components of its process


async def serve(
    data: Path,
    keys: Keys,
    runtime: Runtime,
    *,
    host: str,
    port: int,
    settings: JobStoreSettings | None = None,
    notifications: NotificationSettings | None = None,
    outside: Outside | None = None,
    started: Callable[[str], None] = lambda _: None,
    faults: Interference | None = None,
) -> None:
    """Served until SIGTERM or SIGINT; raises what the service failed with.

    `data` is the service's own folder, held by the caller. `started` is told the URL.
    """
    outside = outside or Outside()
    faults = faults or Undisturbed(runtime)
    runtime = faults.runtime
    service = JobStoreService(
        data / "jobs.db",
        faults.files(DiskFiles(data / "files", runtime)),
        runtime,
        settings,
        Vault(keys_from(data.parent / "keys", runtime, os.environ)),
        outside,
    )
    verifier = Verifier(keys.signing.public_key(), runtime)
    admission = Admission(lambda: service.wait_s, commit_ended=service.commit_ended)
    app = build_app(faults.serves(service), verifier, faults.serves(service.execution), admission)
    faults.add_routes(app, verifier)
    server = Server(app, host, port)

    def announce() -> None:
        log.info("jobstore.started", url=server.url)
        outside.doorstep_at(server.url)
        started(server.url)

    parts = beside(service, notifications, runtime)
    await run_until_signalled([faults, service, *parts, server], announce)


def beside(
    service: JobStoreService, notifications: NotificationSettings | None, runtime: Runtime
) -> list[ComponentRunner]:
    """What lives beside the started service, and a record for each of the loops within it."""

    def component(kind: str, part: Part) -> ComponentRunner:
        return ComponentRunner(part, service.components, runtime, kind=kind, name=NAME)

    return [
        component("keeper", Running(service)),
        component("triggerer", Running(service.triggers)),
        component("scheduler", service.scheduler()),
        component("notifier", new_postman(service, notifications, runtime)),
    ]


def new_postman(
    service: JobStoreService, settings: NotificationSettings | None, runtime: Runtime
) -> Postman:
    """The part that sends what the service has to tell."""
    return Postman(
        service.outbox, Carriers(service, settings or NotificationSettings(), runtime), runtime
    )


def build_app(
    service: WholeJobService,
    verifier: Verifier,
    execution: Execution,
    admission: Admission | None = None,
) -> web.Application:
    """Gateways ask for workers with a service token, people with a client token."""

    async def ready() -> None:
        await service.list_runs(RunFilter(limit=1))

    app = new_app(ready, ABOUT, admission)
    add_worker_routes(app, service, through_gateway(verifier))
    add_worker_line(app, service, through_gateway(verifier))
    add_execution_routes(app, execution, through_gateway(verifier))
    add_people_routes(app, service, verifier)
    add_history_routes(app, service, verifier)
    add_schedule_routes(app, service, verifier)
    add_notification_routes(app, service, verifier)
    add_wait_routes(app, service, verifier)
    add_value_routes(app, service, verifier)
    add_component_routes(app, service, through_gateway(verifier))
    add_component_list(app, service, verifier)
    return app
