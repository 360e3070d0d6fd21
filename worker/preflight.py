"""Everything that a worker needs, looked at before one is started. Nothing is changed by it."""

import asyncio
from collections.abc import Awaitable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from shared.errors import ServiceError
from shared.http.clients import RegistryClient
from shared.http.transport import Transport
from shared.protocol.registry import Finding
from shared.protocol.states import WorkerStatus
from shared.runtime import Runtime
from worker.health import Health
from worker.machine import prepare_machine
from worker.machine_checks import ClockCheck, machine_checks
from worker.settings import WorkerSettings

CALL_S: Final = 5.0


async def preflight(
    settings: WorkerSettings,
    *,
    data: Path,
    gateway_url: str,
    registry_url: str,
    enrolment_secret: str,
    runtime: Runtime,
) -> list[Finding]:
    """How each thing is. `data` is where this worker's folder is or would be made."""
    to_gateway = Transport(gateway_url, runtime, token=lambda: None, service="gateway")
    to_registry = Transport(registry_url, runtime, token=lambda: None, service="registry")
    registry = RegistryClient(to_registry, enrolment_secret=enrolment_secret)

    async def headers() -> Mapping[str, str]:
        return (await to_gateway.request("GET", "/healthz", timeout_s=CALL_S)).headers

    async def is_ready() -> str:
        await to_gateway.request("GET", "/readyz", timeout_s=CALL_S)
        return f"{gateway_url} serves jobs"

    async def may_enrol() -> str:
        return _of_name(settings.name, (await registry.check_name(settings.name)).status)

    try:
        found = [
            await _answer("gateway", is_ready()),
            await _answer("registry", may_enrol()),
        ]
        clock = Health([ClockCheck(headers, settings.health.max_skew_s, runtime)], runtime)
        await clock.look_once()
        return [*found, *clock.findings, *await _machine(settings, data, runtime)]
    finally:
        await to_gateway.close()
        await to_registry.close()


async def _answer(name: str, asked: Awaitable[str]) -> Finding:
    try:
        async with asyncio.timeout(CALL_S):
            return Finding(name=name, is_good=True, says=await asked)
    except TimeoutError:
        return Finding(name=name, is_good=False, says=f"no answer within {CALL_S:g} s")
    except ServiceError as error:
        return Finding(name=name, is_good=False, says=error.message[:500])


def _of_name(name: str, status: WorkerStatus | None) -> str:
    if status in (None, WorkerStatus.OFFLINE):
        return f"would take {name!r}"
    return f"would take {name!r}, and supersede the worker that has the name and is {status}"


async def _machine(settings: WorkerSettings, data: Path, runtime: Runtime) -> list[Finding]:
    """In a folder of its own: a worker that runs there already goes on undisturbed."""
    try:
        with _folder_in(data) as folder:
            found = Finding(name="data", is_good=True, says=f"{data} can be written")
            return [found, *await _machine_in(Path(folder), settings, runtime)]
    except OSError as error:
        says = f"{data} cannot be written: {error.strerror or error}"
        return [Finding(name="data", is_good=False, says=says[:500])]


def _folder_in(data: Path) -> TemporaryDirectory[str]:
    data.mkdir(parents=True, exist_ok=True, mode=0o700)
    return TemporaryDirectory(prefix=".check-", dir=data)


async def _machine_in(
    folder: Path, settings: WorkerSettings, runtime: Runtime
) -> tuple[Finding, ...]:
    runner, _ = prepare_machine(folder, None, runtime)
    try:
        health = Health(machine_checks(folder, runner, settings.health, runtime), runtime)
        await health.look_once()
        return health.findings
    finally:
        runner.close()
