"""All services and a worker in one process, with HTTP open for people and for further workers.

The worker of this process is handed the services as objects; whoever comes over HTTP meets the
same objects behind their usual doors.
"""

import os
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import gateway.app
import jobstore.app
import registry.app
from gateway.service import GatewayService
from jobstore.execution_data.vault import Vault, keys_from
from jobstore.notifications.settings import NotificationSettings
from jobstore.service import JobStoreService
from jobstore.settings import JobStoreSettings
from jobstore.triggers.ports import Outside
from registry.service import RegistryService
from shared.collector import spare_the_collector
from shared.daemon import Part, listening_to_signals, until
from shared.files import DiskFiles
from shared.http.admission import Admission
from shared.http.server import Server
from shared.interference import Interference, Undisturbed
from shared.keys import Keys
from shared.renewal import AttemptTokens
from shared.runtime import Runtime
from shared.tokens import Minter, Verifier
from worker.app import drained, worker_component
from worker.daemon import Worker
from worker.health import Health
from worker.machine import prepare_machine
from worker.machine_checks import machine_checks
from worker.settings import WorkerSettings
from worker.tasks.runner import task_runner


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where each service listens, as URLs."""

    gateway: str
    registry: str
    jobstore: str


async def serve(
    data: Path,
    keys: Keys,
    settings: WorkerSettings,
    runtime: Runtime,
    *,
    host: str,
    port_base: int,
    drain_s: float | None = None,
    jobstore_settings: JobStoreSettings | None = None,
    notifications: NotificationSettings | None = None,
    outside: Outside | None = None,
    started: Callable[[Addresses], None] = lambda _: None,
    draining: Callable[[int], None] = lambda _: None,
    faults: Interference | None = None,
) -> int:
    """Served until SIGTERM or SIGINT; the exit status. Raises what a part failed with.

    The first signal lets running jobs end (for `drain_s` at most) while everything goes on
    serving; the second kills them. `draining` hears how many they are. `data` is held by the
    caller. `port_base` 0: free ports.
    """
    outside = outside or Outside()
    faults = faults or Undisturbed(runtime)
    at_store, at_registry, at_gateway, at_worker = (
        faults.within(service) for service in ("jobstore", "registry", "gateway", "worker")
    )
    jobs = JobStoreService(
        data / "jobstore" / "jobs.db",
        at_store.files(DiskFiles(data / "jobstore" / "files", runtime)),
        at_store.runtime,
        jobstore_settings or JobStoreSettings(),
        Vault(keys_from(data / "keys", runtime, os.environ)),
        outside,
    )
    workers = RegistryService(data / "registry" / "registry.db", at_registry.runtime)
    stored, enrolling = at_store.serves(jobs), at_registry.serves(workers)
    execution = at_gateway.serves(at_gateway.calls(stored.execution))
    forwarder = at_gateway.serves(GatewayService(at_gateway.calls(stored), at_gateway.runtime))
    verifier = Verifier(keys.signing.public_key(), runtime)
    minter = Minter(keys.signing, runtime, verifier)
    door = Admission(lambda: jobs.wait_s, commit_ended=jobs.commit_ended)
    apps = (
        gateway.app.build_app(
            forwarder, verifier, AttemptTokens(minter, runtime), execution, at_gateway.calls(stored)
        ),
        registry.app.build_app(enrolling, verifier, minter, keys.enrolment_secret),
        jobstore.app.build_app(stored, verifier, stored.execution, door),
    )
    for at_service, app in zip((at_gateway, at_registry, at_store), apps, strict=True):
        at_service.add_routes(app, verifier)
    servers = [Server(app, host, port_base + n if port_base else 0) for n, app in enumerate(apps)]
    async with AsyncExitStack() as stack:
        signals = stack.enter_context(listening_to_signals())
        beside = jobstore.app.beside(jobs, notifications, runtime)
        parts: list[Part] = [faults, jobs, workers, *beside, *servers]
        for part in parts:
            stack.push_async_callback(part.stop)
            await part.start()
        here = data / "workers" / settings.name
        shell, workspace = prepare_machine(here, None, runtime)
        stack.callback(shell.close)
        runner = task_runner(shell, at_worker.calls(execution), here, at_worker.runtime, settings)
        stack.push_async_callback(runner.close)
        health = Health(machine_checks(here, runner, settings.health, runtime), runtime)
        worker = Worker(
            settings,
            at_worker.calls(forwarder),
            at_worker.calls(enrolling),
            runner,
            workspace,
            at_worker.runtime,
            None,
            health,
        )
        component = worker_component(worker, jobs.components, settings.name, runtime)
        stack.push_async_callback(component.stop)
        await component.start()
        outside.doorstep_at(servers[2].url)
        spare_the_collector()
        started(Addresses(*(server.url for server in servers)))
        await until(signals.stop, [jobs, workers, *beside, worker])
        return await drained(
            worker,
            signals,
            drain_s=drain_s,
            draining=draining,
            beside=[jobs, workers, *beside],
        )
