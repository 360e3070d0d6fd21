"""What is measured: the whole system inside this process, or as daemons over HTTP.

Both commit durably, and both are put together by the code that people start.
"""

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from drawbar.embedded import Embedded
from shared.errors import ServiceError
from shared.http.clients import JobsClient, RegistryClient
from shared.http.transport import Transport
from shared.keys import load_keys
from shared.protocol.jobs import RunFilter
from shared.protocol.states import WorkerStatus
from shared.runtime import SystemRuntime
from shared.services import JobService
from shared.tokens import Minter, Role

DRAWBAR: Final = str(Path(sys.executable).with_name("drawbar"))
START_S: Final = 20.0
STOP_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class Fleet:
    """A system that runs jobs, and the processes that it consists of besides this one."""

    jobs: JobService
    pids: Mapping[str, int] = field(default_factory=dict)


OpenFleet = Callable[[Path, int], AbstractAsyncContextManager[Fleet]]


@asynccontextmanager
async def embedded(folder: Path, slots: int) -> AsyncIterator[Fleet]:
    """As `drawbar run` has it: service objects handed to each other, no HTTP."""
    system = Embedded(
        folder, SystemRuntime(), slots=slots, base_dir=folder, job_env={"PATH": os.environ["PATH"]}
    )
    await system.start()
    try:
        yield Fleet(system.jobs)
    finally:
        await system.stop()


@asynccontextmanager
async def separate(folder: Path, slots: int) -> AsyncIterator[Fleet]:
    """Job service, registry, gateway and worker, each a process of its own."""
    gateway, registry, jobstore = (f"127.0.0.1:{port}" for port in free_ports(3))
    daemons = {
        "jobstore": ["jobstore", "--listen", jobstore],
        "registry": ["registry", "--listen", registry],
        "gateway": ["gateway", "--listen", gateway, "--jobstore", f"http://{jobstore}"],
        "worker": [
            *["worker", "--name", "bench", "--slots", str(slots)],
            *["--gateway", f"http://{gateway}", "--registry", f"http://{registry}"],
        ],
    }
    async with _started(folder, daemons, f"http://{jobstore}", f"http://{registry}") as fleet:
        yield fleet


@asynccontextmanager
async def all_in_one(folder: Path, slots: int) -> AsyncIterator[Fleet]:
    """`drawbar up`: one process, HTTP open."""
    base = free_ports(1, block=4)[0]
    daemons = {"up": ["up", "--port-base", str(base), "--slots", str(slots)]}
    jobstore, registry = f"http://127.0.0.1:{base + 2}", f"http://127.0.0.1:{base + 1}"
    async with _started(folder, daemons, jobstore, registry) as fleet:
        yield fleet


@asynccontextmanager
async def _started(
    folder: Path, daemons: Mapping[str, list[str]], jobstore: str, registry: str
) -> AsyncIterator[Fleet]:
    runtime = SystemRuntime()
    minter = Minter(load_keys(folder / "keys", runtime).signing, runtime)
    token = minter.client("benchmarks", Role.ADMIN)
    jobs_at = Transport(jobstore, runtime, token=lambda: token, service="jobstore")
    registry_at = Transport(registry, runtime, token=lambda: token, service="registry")
    with ExitStack() as stack:
        pids = {
            name: stack.enter_context(_process(folder, name, words))
            for name, words in daemons.items()
        }
        try:
            jobs = JobsClient(jobs_at)
            await _until_ready(jobs, RegistryClient(registry_at), folder)
            yield Fleet(jobs, pids)
        finally:
            await jobs_at.close()
            await registry_at.close()


@contextmanager
def _process(folder: Path, name: str, words: list[str]) -> Iterator[int]:
    """The daemon runs; at the end it is gone."""
    with (folder / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(
            [DRAWBAR, *words],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**os.environ, "DRAWBAR_DATA": str(folder)},
        )
    try:
        yield process.pid
    finally:
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


async def _until_ready(jobs: JobsClient, registry: RegistryClient, folder: Path) -> None:
    """The job service answers and the worker waits for jobs."""
    try:
        async with asyncio.timeout(START_S):
            while True:
                try:
                    await jobs.list_runs(RunFilter(limit=1))
                    found = (await registry.list_workers()).workers
                    if any(w.status is WorkerStatus.READY and w.free_slots for w in found):
                        return
                except ServiceError:
                    pass
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise RuntimeError(
            f"the daemons did not start within {START_S:g} s\n{_logs(folder)}"
        ) from None


def _logs(folder: Path) -> str:
    return "\n".join(f"{log.name}: {log.read_text()[-2_000:]}" for log in folder.glob("*.log"))


def free_ports(count: int, *, block: int = 1) -> list[int]:
    """Ports that nothing listens on, each the first of `block` such in a row."""
    found: list[int] = []
    with ExitStack() as held:
        while len(found) < count:
            first = held.enter_context(socket.socket())
            first.bind(("127.0.0.1", 0))
            port = first.getsockname()[1]
            try:
                for neighbour in range(port + 1, port + block):
                    held.enter_context(socket.socket()).bind(("127.0.0.1", neighbour))
            except OSError:
                continue
            found.append(port)
    return found
