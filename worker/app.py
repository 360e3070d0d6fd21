"""The worker daemon: its composition root.

Loops of the worker, all in `worker/daemon.py`: presence (a report every `next_report_s` as the
registry says, or when something changed), polling (one long poll after the other), heartbeats
(every `heartbeat_s` as the run contexts say), logs (every 80 ms while jobs run), alarms (when due).
"""

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import structlog

from shared.collector import spare_the_collector
from shared.components import ComponentRunner
from shared.daemon import Signals, listening_to_signals, until
from shared.errors import ServiceError
from shared.http.clients import (
    ComponentsClient,
    ExecutionClient,
    GatewayClient,
    RegistryClient,
)
from shared.http.transport import Credential, Transport
from shared.interference import Interference, Undisturbed
from shared.loops import Loops
from shared.runtime import Runtime
from shared.services import Components
from worker.daemon import Worker
from worker.health import Health
from worker.machine import prepare_machine
from worker.machine_checks import ClockCheck, machine_checks
from worker.notify import Notifier
from worker.outbox.disk import DiskOutbox
from worker.settings import WorkerSettings
from worker.tasks.runner import task_runner

DRAINED = 0
STOPPED_HARD = 1
HANDED_OVER = 2  # what runs goes on; the caller puts a new worker in this one's place

log = structlog.get_logger()


async def serve(
    settings: WorkerSettings,
    *,
    data: Path,
    gateway_url: str,
    registry_url: str,
    enrolment_secret: str,
    runtime: Runtime,
    drain_s: float | None = None,
    started: Callable[[], None] = lambda: None,
    draining: Callable[[int], None] = lambda _: None,
    environment: Mapping[str, str] = MappingProxyType({}),
    faults: Interference | None = None,
) -> int:
    """The exit status, once the worker has ended. Raises what it failed with.

    The first SIGTERM or SIGINT drains (jobs may go on for `drain_s`, or until they end), the
    second kills what runs. SIGHUP, or an operator's wish for a restart, ends the worker only, and
    HANDED_OVER is returned. `data` is this worker's own folder, held by the caller. `draining` is
    told how many jobs run when the draining begins. `environment` says whether systemd listens.
    """
    faults = faults or Undisturbed(runtime)
    runtime = faults.runtime
    notifier = Notifier(environment, runtime, pid=settings.pid)
    signs = Loops(runtime)
    signs.add("systemd", notifier.run)

    async def headers() -> Mapping[str, str]:
        return (await to_gateway.request("GET", "/healthz")).headers

    def begin_to_drain(running: int) -> None:
        notifier.stopping(f"drains: waits for {running} jobs")
        draining(running)

    credential = Credential()
    to_gateway = Transport(gateway_url, runtime, token=credential, service="gateway")
    to_registry = Transport(registry_url, runtime, token=credential, service="registry")
    registry = RegistryClient(to_registry, enrolment_secret=enrolment_secret, credential=credential)
    outbox = DiskOutbox(data / "outbox", runtime, most=settings.max_unreported, disk=faults.disk)
    kept = [record.attempt_id for record in outbox.left()]
    shell, workspace = prepare_machine(data, None, runtime, kept, outlives=settings.reattach)
    gateway = GatewayClient(to_gateway, credential=credential)
    execution = ExecutionClient(to_gateway, gateway.execution_token)
    runner = task_runner(shell, faults.calls(execution), data, runtime, settings)
    try:
        await faults.start()
        # A terminal that is closed sends SIGHUP as well: there it ends the worker, as ever.
        begins_anew = settings.reattach and not os.isatty(0)
        with listening_to_signals(begins_anew=begins_anew) as signals:
            checks = machine_checks(data, runner, settings.health, runtime)
            checks.append(ClockCheck(headers, settings.health.max_skew_s, runtime))
            worker = Worker(
                settings,
                faults.calls(gateway),
                faults.calls(registry),
                runner,
                workspace,
                runtime,
                outbox,
                Health(checks, runtime),
                restart=signals.again.set,
            )
            component = worker_component(
                worker, faults.calls(ComponentsClient(to_gateway)), settings.name, runtime
            )
            try:
                await component.start()
                await signs.start()
                notifier.ready(f"pulls from {gateway_url}, {settings.slots} jobs at a time")
                spare_the_collector()
                started()
                return await run_until_ended(
                    worker, signals, drain_s=drain_s, draining=begin_to_drain
                )
            finally:
                await component.stop()
                await signs.stop()
    finally:
        await faults.stop()
        await to_gateway.close()
        await to_registry.close()
        await runner.close()
        shell.close()
        outbox.close()


def worker_component(
    worker: Worker, components: Components, name: str, runtime: Runtime
) -> ComponentRunner:
    """The worker with its record. Where another worker has its name, what runs may still end."""

    def heard(refusal: ServiceError | None) -> None:
        if refusal is not None:
            worker.begin_drain(None)

    return ComponentRunner(worker, components, runtime, kind="worker", name=name, heard=heard)


async def run_until_ended(
    worker: Worker,
    signals: Signals,
    *,
    drain_s: float | None,
    draining: Callable[[int], None] = lambda _: None,
) -> int:
    """The worker has ended: by itself, drained after one signal, or stopped after two; or to
    begin anew, and what can do without it runs on."""
    try:
        sign = await _first_of([signals.stop, signals.again], worker.done)
        if sign is None:
            return DRAINED  # an operator's wish, or a failure: `_first_of` raised it
        if sign is signals.again:
            log.info("worker.hands_over", running=worker.busy)
            await worker.hand_over()
            return HANDED_OVER
        return await drained(worker, signals, drain_s=drain_s, draining=draining)
    finally:
        await worker.stop()


async def drained(
    worker: Worker,
    signals: Signals,
    *,
    drain_s: float | None,
    draining: Callable[[int], None],
    beside: Sequence[object] = (),
) -> int:
    """What ran has ended, or somebody is in a hurry; the exit status.

    Raises what the worker failed with, or a part that runs beside it.
    """
    log.info("worker.draining", drain_s=drain_s, running=worker.busy)
    draining(worker.busy)
    worker.begin_drain(drain_s)
    over = asyncio.Event()
    worker.done.add_done_callback(lambda _: over.set())
    async with asyncio.TaskGroup() as group:
        hurry = group.create_task(signals.hurry.wait(), name="hurry")
        hurry.add_done_callback(lambda _: over.set())
        await until(over, [worker, *beside])
        hurry.cancel()
    if signals.hurry.is_set() and not worker.done.done():
        log.warning("worker.stopped_hard")
        return STOPPED_HARD
    return DRAINED


async def _first_of(
    events: Sequence[asyncio.Event], done: asyncio.Future[None]
) -> asyncio.Event | None:
    """Which was set first; None: the worker ended before. Raises what the worker failed with."""
    async with asyncio.TaskGroup() as group:
        waiting = [group.create_task(event.wait(), name="signal") for event in events]
        either: list[asyncio.Future[Any]] = [*waiting, done]
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        for one in waiting:
            one.cancel()
    if done.done():
        done.result()
        return None
    return next(event for event in events if event.is_set())
