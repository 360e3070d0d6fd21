"""The real services as nodes of a simulated network: what each is made of, and how it boots.

One machine per node. A node that is killed loses its memory; its machine keeps the disk.
"""

import asyncio
import random
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.app import build_app as gateway_app
from gateway.service import GatewayService
from jobstore.app import build_app as jobstore_app
from jobstore.service import JobStoreService
from jobstore.settings import JobStoreSettings
from registry.app import build_app as registry_app
from registry.service import RegistryService, RegistrySettings
from shared.errors import WorkerSuperseded
from shared.faultpoints import injector
from shared.http.clients import ExecutionClient, GatewayClient, JobsClient, RegistryClient
from shared.http.server import Server
from shared.http.transport import Credential, Transport
from shared.renewal import AttemptTokens, Renewing
from shared.tokens import SERVICE_S, Minter, Role, Verifier
from simulation.files import SimDisk, SimFiles
from simulation.history import History
from simulation.loop import SimulatedLoop
from simulation.network import Network, Socket
from simulation.process import Machine, Process
from simulation.runner import SimRunner, SimWorkspace
from simulation.runtime import SimRuntime
from simulation.witness import SeenGateway, SeenRegistry
from simulation.workload import LABELS
from worker.daemon import Worker
from worker.settings import WorkerSettings

JOBSTORE, GATEWAY, REGISTRY = "jobstore", "gateway", "registry"
SERVICES: Final = (JOBSTORE, GATEWAY, REGISTRY)
WORKERS: Final = tuple(LABELS)
NODES: Final = (*SERVICES, *WORKERS)
PORT: Final = {JOBSTORE: 7402, GATEWAY: 7400, REGISTRY: 7401}
URL: Final = {name: f"http://{name}:{port}" for name, port in PORT.items()}

# Shorter than in production, so that a short chaos sees many of them run out.
LEASE_S: Final = 6.0
JOBSTORE_SETTINGS: Final = JobStoreSettings(
    lease_s=LEASE_S, heartbeat_s=1.0, start_ttl_s=5.0, rest_s=4.0
)
REGISTRY_SETTINGS: Final = RegistrySettings(report_s=3.0, silent_after_s=10.0)
SLOTS: Final = 2
RESTART_S: Final = 2.0  # after which a supervisor starts a worker again

KEY: Final = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
ENROLMENT_SECRET: Final = "not a secret: it opens simulated doors"


@dataclass
class Node:
    """A machine, its disk, and the process that runs on it, if one does."""

    machine: Machine
    disk: SimDisk
    process: Process | None = None
    runner: SimRunner | None = None
    fault_points_left: int | None = None  # the node is killed when this many were passed
    fault_delay_s: float = 0.0  # so long after the last of them


@dataclass
class Cluster:
    """All nodes. `boot`, `kill` and `cut_power` may come in any order."""

    loop: SimulatedLoop
    network: Network
    history: History
    folder: Path
    nodes: dict[str, Node] = field(default_factory=dict)
    clients: list[JobsClient] = field(default_factory=list)  # kept: none is collected in use
    breakdowns: list[str] = field(default_factory=list)  # processes that ended by themselves

    def __post_init__(self) -> None:
        for name in NODES:
            disk = SimDisk(random.Random(f"disk-{self.loop.seed}-{name}"))
            self.nodes[name] = Node(Machine(name), disk)

    # -- life and death -----------------------------------------------------------------------

    def boot(self, name: str) -> None:
        """The node runs. Nothing happens when it does already."""
        node = self.nodes[name]
        if node.process is not None and node.process.is_alive:
            return
        node.machine.power_on()
        node.fault_points_left = None
        node.process = process = self.loop.start_process(node.machine)
        process.context.run(injector.set, self._injector_of(node))
        process.spawn(self._live(name, process), name)

    def kill(self, name: str) -> None:
        """kill -9."""
        process = self.nodes[name].process
        if process is not None:
            process.kill()

    def cut_power(self, name: str) -> None:
        """The node is gone without a word, and with it what its disk had not synced."""
        node = self.nodes[name]
        node.machine.is_powered = False
        self.kill(name)
        node.disk.lose_power()

    def is_alive(self, name: str) -> bool:
        process = self.nodes[name].process
        return process is not None and process.is_alive

    def busy_workers(self) -> list[str]:
        """Those that run a job at this moment."""
        runners = {name: self.nodes[name].runner for name in WORKERS if self.is_alive(name)}
        return [name for name, runner in runners.items() if runner is not None and runner.is_busy]

    def living(self, name: str) -> Process | None:
        process = self.nodes[name].process
        return process if process is not None and process.is_alive else None

    def client(self, name: str, role: Role) -> tuple[Process, JobsClient]:
        """A process for a person, and what it uses to talk to the job service."""
        process = self.loop.start_process(Machine(name))
        runtime = SimRuntime(process)
        token = Minter(KEY, runtime).client(name, role)
        transport = Transport(
            URL[JOBSTORE],
            runtime,
            token=lambda: token,
            service=JOBSTORE,
            socket_factory=Socket,
        )
        client = JobsClient(transport)
        self.clients.append(client)
        return process, client

    def _injector_of(self, node: Node) -> Callable[[str], Coroutine[Any, Any, None]]:
        async def inject(name: str) -> None:
            if node.fault_points_left is None:
                return
            node.fault_points_left -= 1
            if node.fault_points_left > 0 or node.process is None:
                return
            node.fault_points_left = None
            self.history.event("killed_at_point", node=node.machine.name, point=name)
            if node.fault_delay_s > 0:
                self.loop.after(node.fault_delay_s, self.loop.world, node.process.kill)
            else:
                node.process.kill()
                await self.loop.create_future()  # nothing after the point ever happens

        return inject

    # -- what nodes are made of ---------------------------------------------------------------

    async def _live(self, name: str, process: Process) -> None:
        """Boots the node. One that ends by itself is a breakdown: nothing here asks it to."""
        main = {JOBSTORE: self._jobstore, GATEWAY: self._gateway, REGISTRY: self._registry}
        try:
            await main.get(name, self._worker)(process)
        except WorkerSuperseded:
            # An enrolment of its former life was on its way for long and arrived after its own.
            # It leaves, as it must, and whoever supervises it starts it again.
            self.history.event("superseded", process=process.label)
            process.kill()
            self.loop.after(RESTART_S, self.loop.world, self.boot, name)
        except Exception as error:
            self.breakdowns.append(f"{process.label} broke down: {error!r}")
            process.kill()

    async def _jobstore(self, process: Process) -> None:
        runtime = SimRuntime(process)
        files = SimFiles(self.nodes[JOBSTORE].disk, runtime)
        path = self.folder / "jobs.db"
        service = JobStoreService(path, files, runtime, JOBSTORE_SETTINGS)
        await service.start()
        app = jobstore_app(service, Verifier(KEY.public_key(), runtime), service.execution)
        await Server(app, "0.0.0.0", PORT[JOBSTORE]).start()
        await service.failure

    async def _gateway(self, process: Process) -> None:
        runtime = SimRuntime(process)
        verifier = Verifier(KEY.public_key(), runtime)
        minter = Minter(KEY, runtime, verifier)
        token = Renewing(lambda: minter.service(GATEWAY), SERVICE_S, runtime)
        transport = Transport(
            URL[JOBSTORE], runtime, token=token, service=JOBSTORE, socket_factory=Socket
        )
        jobs = JobsClient(transport)
        service = GatewayService(jobs, runtime)
        app = gateway_app(
            service, verifier, AttemptTokens(minter, runtime), ExecutionClient(transport), jobs
        )
        await Server(app, "0.0.0.0", PORT[GATEWAY]).start()
        await asyncio.Event().wait()

    async def _registry(self, process: Process) -> None:
        runtime = SimRuntime(process)
        verifier = Verifier(KEY.public_key(), runtime)
        service = RegistryService(self.folder / "registry.db", runtime, REGISTRY_SETTINGS)
        await service.start()
        app = registry_app(service, verifier, Minter(KEY, runtime, verifier), ENROLMENT_SECRET)
        await Server(app, "0.0.0.0", PORT[REGISTRY]).start()
        await service.failure

    async def _worker(self, process: Process) -> None:
        runtime = SimRuntime(process)
        credential = Credential()
        to_gateway = Transport(
            URL[GATEWAY], runtime, token=credential, service=GATEWAY, socket_factory=Socket
        )
        to_registry = Transport(
            URL[REGISTRY], runtime, token=credential, service=REGISTRY, socket_factory=Socket
        )
        workspace = SimWorkspace()
        runner = SimRunner(process, workspace, self.history)
        self.nodes[process.name].runner = runner
        worker = Worker(
            WorkerSettings(
                name=process.name,
                slots=SLOTS,
                labels=LABELS[process.name],
                grace_s=2.0,
                wait_s=10.0,
                announce_s=2.5,
                host=process.name,
                pid=process.incarnation,
            ),
            SeenGateway(GatewayClient(to_gateway), self.history),
            SeenRegistry(
                RegistryClient(
                    to_registry, enrolment_secret=ENROLMENT_SECRET, credential=credential
                ),
                self.history,
            ),
            runner,
            workspace,
            runtime,
        )
        await worker.start()
        await worker.done
        raise RuntimeError("a worker that nobody stopped has left")
