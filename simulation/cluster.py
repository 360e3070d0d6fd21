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

from faults.plan import PointPlan
from gateway.app import build_app as gateway_app
from gateway.service import GatewayService
from jobstore.app import beside
from jobstore.app import build_app as jobstore_app
from jobstore.service import JobStoreService
from jobstore.settings import JobStoreSettings
from jobstore.triggers.ports import Outside
from registry.app import build_app as registry_app
from registry.service import RegistryService, RegistrySettings
from shared.errors import WorkerSuperseded
from shared.faultpoints import Facts, injector, spoiler
from shared.http.clients import ExecutionClient, GatewayClient, JobsClient, RegistryClient
from shared.http.server import Server
from shared.http.transport import Credential, Transport
from shared.renewal import AttemptTokens, Renewing
from shared.tokens import SERVICE_S, Minter, Role, Verifier
from simulation.callers import Callers
from simulation.files import SimDisk, SimFiles
from simulation.folders import SyncedFolder
from simulation.history import History
from simulation.interference import SimInjector, SimInterference, never
from simulation.launcher import SimLauncher
from simulation.loop import SimulatedLoop
from simulation.network import Network, Socket
from simulation.process import Machine, Process
from simulation.runner import SimRunner
from simulation.runtime import SimRuntime
from simulation.tasks import SimTaskRunner
from simulation.witness import SeenGateway, SeenRegistry, seen_execution
from simulation.workload import LABELS
from simulation.workspace import SimWorkspace, attempt_of
from worker.daemon import Worker
from worker.outbox.disk import DiskOutbox
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
LEAVES_WITHIN_S: Final = 5.0  # what a drained worker still runs is stopped then
UPLOADS_S: Final = 12.0  # then what has no receipt yet is left to its successor
RESTART_S: Final = 2.0  # after which a supervisor starts a worker again

KEY: Final = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
ENROLMENT_SECRET: Final = "not a secret: it opens simulated doors"


@dataclass
class Node:
    """A machine, its disk, and the process that runs on it, if one does."""

    machine: Machine
    disk: SimDisk
    process: Process | None = None
    launcher: SimLauncher | None = None
    worker: Worker | None = None
    is_gone: bool = False  # for good: it boots no more
    is_leaving: bool = False  # its worker was asked to end
    injector: SimInjector | None = None
    plan: PointPlan = field(default_factory=PointPlan)  # the faults of its hops, store and files
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
    clients: list[object] = field(default_factory=list)  # kept: none is collected in use
    breakdowns: list[str] = field(default_factory=list)  # processes that ended by themselves
    jobs: JobStoreService | None = None  # of the process that was started last
    _callers: Callers | None = None

    def __post_init__(self) -> None:
        for name in NODES:
            disk = SimDisk(random.Random(f"disk-{self.loop.seed}-{name}"))
            machine = Machine(name, has_clock=name in WORKERS)
            if name in WORKERS:
                chance = random.Random(f"folder-{self.loop.seed}-{name}")
                machine.folder = SyncedFolder(self.folder / name, chance)
            self.nodes[name] = Node(machine, disk)

    # -- life and death -----------------------------------------------------------------------

    def boot(self, name: str) -> None:
        """The node runs. Nothing happens when it does already."""
        node = self.nodes[name]
        if node.is_gone or (node.process is not None and node.process.is_alive):
            return
        node.machine.power_on()
        node.fault_points_left = None
        node.is_leaving = False
        node.process = process = self.loop.start_process(node.machine)
        if name == JOBSTORE:
            self.jobs = None  # until it has started
        node.injector = SimInjector(process, SimRuntime(process), self.history)
        process.context.run(injector.set, self._injector_of(node, node.injector))
        process.context.run(spoiler.set, node.injector.spoiled)
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
        if node.launcher is not None:
            node.launcher.host.kill()
            node.launcher = None
        for path in node.disk.lose_power():
            if name in WORKERS and (attempt := attempt_of(path)) is not None:
                self.history.event("log_torn", attempt=attempt)
        if node.machine.folder is not None:
            node.machine.folder.lose_power()

    def spoil(self, name: str, plan: PointPlan) -> None:
        """From now on the node has these faults, also after a restart, and no others."""
        node = self.nodes[name]
        node.plan = plan
        process = self.living(name)
        if node.injector is not None and process is not None:
            process.context.run(node.injector.put, plan)

    def send_home(self, name: str, *, drains: bool) -> bool:
        """Whether the worker begins to end in good order: drained, or handed over to the next."""
        node, process = self.nodes[name], self.living(name)
        if process is None or node.worker is None or node.is_leaving:
            return False
        node.is_leaving = True
        leave = node.worker.drain(LEAVES_WITHIN_S) if drains else node.worker.hand_over()
        process.spawn(leave, "leave")
        return True

    def is_alive(self, name: str) -> bool:
        process = self.nodes[name].process
        return process is not None and process.is_alive

    def busy_workers(self) -> list[str]:
        """Those that run a job at this moment."""
        launchers = {name: self.nodes[name].launcher for name in WORKERS if self.is_alive(name)}
        return [name for name, found in launchers.items() if found is not None and found.is_busy]

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

    def _find_callers(self) -> Callers:
        """Those outside for whom tasks wait; they are there from when they are asked for first."""
        if self._callers is None:
            self._callers = Callers(*self.client("callers", Role.OPERATOR), self.history)
        return self._callers

    def _injector_of(
        self, node: Node, faults: SimInjector
    ) -> Callable[[str, Facts], Coroutine[Any, Any, None]]:
        async def inject(name: str, facts: Facts) -> None:
            await faults(name, facts)
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
                await never(self.loop)

        return inject

    def _faults_of(self, process: Process, service: str) -> SimInterference:
        node = self.nodes[process.name]
        assert node.injector is not None
        return SimInterference(service, node.injector, node.plan)

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
            faults = self.nodes[name].injector
            if faults is None or not faults.has_hurt_disk:
                self.breakdowns.append(f"{process.label} broke down: {error!r}")
            # else it gave up on a disk that failed, as it must: a supervisor starts it again
            self.history.event("gave_up", process=process.label)
            process.kill()
            self.loop.after(RESTART_S, self.loop.world, self.boot, name)

    async def _jobstore(self, process: Process) -> None:
        runtime = SimRuntime(process)
        faults = self._faults_of(process, JOBSTORE)
        files = faults.files(SimFiles(self.nodes[JOBSTORE].disk, runtime))
        path = self.folder / "jobs.db"
        outside = Outside()
        outside.doorstep_at(URL[JOBSTORE])
        service = JobStoreService(path, files, runtime, JOBSTORE_SETTINGS, outside=outside)
        await service.start()
        self.jobs = service
        verifier = Verifier(KEY.public_key(), runtime)
        app = jobstore_app(faults.serves(service), verifier, faults.serves(service.execution))
        for part in beside(service, None, runtime):
            await part.start()
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
        faults = self._faults_of(process, GATEWAY)
        jobs = faults.calls(JobsClient(transport))
        app = gateway_app(
            faults.serves(GatewayService(jobs, runtime)),
            verifier,
            AttemptTokens(minter, runtime),
            faults.serves(faults.calls(ExecutionClient(transport))),
            jobs,
        )
        await Server(app, "0.0.0.0", PORT[GATEWAY]).start()
        await asyncio.Event().wait()

    async def _registry(self, process: Process) -> None:
        runtime = SimRuntime(process)
        verifier = Verifier(KEY.public_key(), runtime)
        service = RegistryService(self.folder / "registry.db", runtime, REGISTRY_SETTINGS)
        await service.start()
        seen = self._faults_of(process, REGISTRY).serves(service)
        app = registry_app(seen, verifier, Minter(KEY, runtime, verifier), ENROLMENT_SECRET)
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
        settings = WorkerSettings(
            name=process.name,
            slots=SLOTS,
            labels=LABELS[process.name],
            grace_s=2.0,
            wait_s=10.0,
            announce_s=2.5,
            upload_s=UPLOADS_S,
            host=process.name,
            pid=process.incarnation,
        )
        assert process.machine.folder is not None
        outbox = DiskOutbox(
            process.machine.folder.root / "outbox", runtime, most=settings.max_unreported
        )
        process.at_death.append(outbox.close)
        kept = [record.attempt_id for record in outbox.left()]
        for attempt_id in kept:
            self.history.event("took_up", attempt=attempt_id)
        workspace = SimWorkspace(self.nodes[process.name].disk)
        workspace.clear(but=kept)
        faults = self._faults_of(process, "worker")
        registry = RegistryClient(
            to_registry, enrolment_secret=ENROLMENT_SECRET, credential=credential
        )
        gateway = GatewayClient(to_gateway, credential=credential)
        execution = faults.calls(ExecutionClient(to_gateway, gateway.execution_token))
        launcher = self._launcher_of(process)
        runner = SimTaskRunner(
            SimRunner(process, launcher, kept),
            seen_execution(execution, self.history),
            runtime,
            process,
            launcher,
            self._find_callers,
        )
        worker = Worker(
            settings,
            SeenGateway(faults.calls(gateway), self.history),
            SeenRegistry(faults.calls(registry), self.history),
            runner,
            workspace,
            runtime,
            outbox,
        )
        node = self.nodes[process.name]
        node.worker = worker
        await worker.start()
        await worker.done
        if not node.is_leaving:
            raise RuntimeError("a worker that nobody stopped has left")
        self.history.event("left", process=process.label)
        process.kill()
        self.loop.after(RESTART_S, self.loop.world, self.boot, process.name)

    def _launcher_of(self, worker: Process) -> SimLauncher:
        """The one of the worker's machine, which may have been there before it."""
        node = self.nodes[worker.name]
        if node.launcher is None:
            place = Machine(f"{worker.name}/launcher")
            place.incarnations = worker.machine.starts - 1
            host = self.loop.start_process(place)
            node.launcher = SimLauncher(host, node.disk, self.history)
        return node.launcher
