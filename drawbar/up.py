"""All services and a worker in one process, with HTTP open for people and for further workers.

The worker of this process is handed the services as objects; whoever comes over HTTP meets the
same objects behind their usual doors.
"""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import gateway.app
import jobstore.app
import registry.app
from gateway.service import GatewayService
from jobstore.service import JobStoreService
from registry.service import RegistryService
from shared.daemon import Part, Signals, listening_to_signals, until
from shared.files import DiskFiles
from shared.http.server import Server
from shared.keys import Keys
from shared.runtime import Runtime
from shared.tokens import AttemptTokens, Minter, Verifier
from worker.daemon import Worker
from worker.machine import prepare_machine
from worker.settings import WorkerSettings

DRAINED = 0
STOPPED_HARD = 1


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
    started: Callable[[Addresses], None] = lambda _: None,
    draining: Callable[[int], None] = lambda _: None,
) -> int:
    """Served until SIGTERM or SIGINT; the exit status. Raises what a part failed with.

    The first signal lets running jobs end (for `drain_s` at most) while everything goes on
    serving; the second kills them. `draining` hears how many they are. `data` is held by the
    caller. `port_base` 0: free ports.
    """
    jobs = JobStoreService(
        data / "jobstore" / "jobs.db", DiskFiles(data / "jobstore" / "files", runtime), runtime
    )
    workers = RegistryService(data / "registry" / "registry.db", runtime)
    forwarder = GatewayService(jobs, runtime)
    verifier = Verifier(keys.signing.public_key(), runtime)
    minter = Minter(keys.signing, runtime, verifier)
    apps = (
        gateway.app.build_app(forwarder, verifier, AttemptTokens(minter, runtime)),
        registry.app.build_app(workers, verifier, minter, keys.enrolment_secret),
        jobstore.app.build_app(jobs, verifier),
    )
    servers = [Server(app, host, port_base + n if port_base else 0) for n, app in enumerate(apps)]
    async with AsyncExitStack() as stack:
        signals = stack.enter_context(listening_to_signals())
        parts: list[Part] = [jobs, workers, *servers]
        for part in parts:
            stack.push_async_callback(part.stop)
            await part.start()
        runner, workspace = prepare_machine(data / "workers" / settings.name, None, runtime)
        stack.callback(runner.close)
        worker = Worker(settings, forwarder, workers, runner, workspace, runtime)
        stack.push_async_callback(worker.stop)
        await worker.start()
        started(Addresses(*(server.url for server in servers)))
        await until(signals.stop, [jobs, workers, worker])
        draining(worker.busy)
        return await _drain(worker, drain_s, signals, [jobs, workers, worker])


async def _drain(
    worker: Worker, drain_s: float | None, signals: Signals, parts: list[object]
) -> int:
    """What ran has ended, or somebody is in a hurry."""
    over = asyncio.Event()

    async def drain() -> None:
        await worker.drain(drain_s)
        over.set()

    async def hurry() -> None:
        await signals.hurry.wait()
        over.set()

    async with asyncio.TaskGroup() as group:
        waiting = [group.create_task(drain()), group.create_task(hurry())]
        await until(over, parts)
        for task in waiting:
            task.cancel()
    return STOPPED_HARD if signals.hurry.is_set() else DRAINED
