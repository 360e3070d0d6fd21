"""A whole cluster as real processes on free ports, in a folder of its own."""

import asyncio
import json
import os
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Final

import aiohttp

from faults.chaos.disk import SmallDisk
from faults.chaos.experiment import Spawn
from faults.chaos.member import Member
from faults.chaos.network import Networks
from faults.chaos.plan import SERVICES, ChaosPlan, DiskFull, Points, name_of
from faults.chaos.points import PointFaults
from faults.chaos.ports import Port
from faults.chaos.processes import kill_leftover, processes_with
from faults.chaos.recorder import Recorder
from faults.chaos.tap import Tap
from faults.plan import PointFault
from shared.errors import Misconfigured
from shared.http.clients import JobsClient, RegistryClient
from shared.http.transport import Transport
from shared.keys import load_keys
from shared.runtime import Runtime
from shared.tokens import Minter, Role

ASK_EVERY_S: Final = 0.05
PERSIST_S: Final = 5.0  # people's patience with one call
Endpoint = tuple[str, int]


class Installation:
    """Job service, registry, gateway and workers, with taps and proxies between them."""

    def __init__(
        self,
        plan: ChaosPlan,
        folder: Path,
        program: Sequence[str],
        recorder: Recorder,
        runtime: Runtime,
    ) -> None:
        self.plan = plan
        self.folder = folder
        self.data = folder / "data"
        self.members: dict[str, Member] = {}
        self.networks = Networks(plan, recorder, runtime)
        self.skipped: dict[str, str] = {}  # steps that cannot be done here, and why
        self.disk: SmallDisk | None = None
        self.is_attached = False
        self._program = tuple(program)
        self._recorder = recorder
        self._runtime = runtime
        self._ports = {name: Port() for name in SERVICES}
        self._point_faults = PointFaults(self._put_points, runtime, plan.seed)
        self._taps: list[Tap] = []
        self._transports: list[Transport] = []
        for made in (self.data, folder / "tmp", folder / "logs", folder / "faults"):
            made.mkdir(parents=True, exist_ok=True)
        self._keys = load_keys(self.data / "keys", runtime)
        self.token = Minter(self._keys.signing, runtime).client("chaos", Role.ADMIN)
        self.urls = {name: f"http://{port.address}" for name, port in self._ports.items()}

    @property
    def secrets(self) -> dict[str, bytes]:
        """What must be seen nowhere, by what it is."""
        key = (self.data / "keys" / "signing.pem").read_bytes().splitlines()[1]
        return {
            "the enrolment secret": self._keys.enrolment_secret.encode(),
            "the signing key": key,
            "the admin's token": self.token.encode(),
        }

    async def start(self, spawn: Spawn) -> None:
        """Everything serves. Misconfigured: it does not come up in time."""
        if any(isinstance(step, DiskFull) for step in self.plan.steps):
            disk = SmallDisk(self.data / "jobstore", self.plan.targets.disk_mb)
            reason = await disk.mount()
            if reason is None:
                self.disk = disk
            else:
                self.skipped |= {
                    name_of(step): reason for step in self.plan.steps if isinstance(step, DiskFull)
                }
        jobstore = await self.networks.way("gateway-jobstore", self._at("jobstore"))
        targets = self.plan.targets
        self._add("jobstore", "--listen", self._ports["jobstore"].address,
                  "--lease", f"{targets.lease_s:g}")  # fmt: skip
        self._add("registry", "--listen", self._ports["registry"].address,
                  "--silent-after", f"{targets.silent_after_s:g}")  # fmt: skip
        self._add("gateway", "--listen", self._ports["gateway"].address,
                  "--jobstore", _url(jobstore))  # fmt: skip
        for name in SERVICES:
            await self.members[name].start()
        for n in range(targets.workers):
            await self._add_worker(f"worker-{n}")
        for member in self.members.values():
            spawn(member.tend(), f"tend {member.name}")
        people = await self.networks.way("people-jobstore", self._at("jobstore"))
        self.people = JobsClient(self._transport(_url(people), "jobstore"), retry_for_s=0.0)
        self.jobs = JobsClient(self._transport(self.urls["jobstore"], "jobstore"), retry_for_s=30.0)
        self._registry = RegistryClient(self._transport(self.urls["registry"], "registry"))
        await self._until_ready()

    async def end(self) -> dict[int, str]:
        """Every daemon has ended, workers first; processes that were left behind, and are not."""
        workers = [m for m in self.members.values() if m.name not in SERVICES]
        services = [m for m in self.members.values() if m.name in SERVICES]
        for some in (workers, services):
            await asyncio.gather(*(member.finish() for member in some))
        for tap in self._taps:
            await tap.stop()
        await self.networks.stop()
        for transport in self._transports:
            await transport.close()
        for port in self._ports.values():
            port.close()
        left = self.processes()
        for pid in left:
            kill_leftover(pid)
        if self.disk is not None:
            await self.disk.unmount()
        return left

    async def heal(self) -> None:
        """No fault is on, every frozen process goes on, and whatever is down is started."""
        self.networks.heal()
        if self.disk is not None:
            self.disk.free()
        await self._point_faults.heal()
        for member in self.members.values():
            await member.revive()

    @property
    def deaths(self) -> int:
        return sum(member.deaths for member in self.members.values())

    def note_strikes(self) -> None:
        """Every fault that was injected at a point, by the daemons' own account."""
        for log in sorted((self.folder / "logs").glob("*.faults.jsonl")):
            for line in log.read_text(errors="replace").splitlines():
                with suppress(ValueError):  # whom power left in the middle of a line
                    told = json.loads(line)
                    at = datetime.fromisoformat(told.pop("at")).timestamp()
                    who = log.name.removesuffix(".faults.jsonl")
                    self._recorder.event(who, "struck", self._recorder.at(at), **told)

    def command_lines(self) -> list[str]:
        return list(self.processes().values())

    def processes(self) -> dict[int, str]:
        """Everything alive that began here, and what it runs."""
        return processes_with("TMPDIR", str(self.folder / "tmp"))

    async def disturb(self, target: str, faults: Sequence[PointFault], for_s: float) -> bool:
        """These faults at points were on in that daemon, for a while."""
        await self._point_faults.disturb(target, faults, for_s)
        return True

    async def _put_points(self, target: str, faults: Sequence[PointFault]) -> None:
        """They are in the file of the daemon, which looks at it by itself."""
        path = self._points(target)
        text = json.dumps(
            {"seed": self.plan.seed, "faults": [fault.model_dump(mode="json") for fault in faults]}
        )
        fresh = path.with_suffix(".new")
        fresh.write_text(text)
        fresh.replace(path)

    # -- parts -----------------------------------------------------------------------------------

    def _add(self, name: str, *words: str, **env: str) -> Member:
        daemon = "worker" if name.startswith("worker") else name
        allowed: tuple[str, ...] = ()
        if any(isinstance(s, Points) and _may_mean(s.target, name) for s in self.plan.steps):
            self._points(name).write_text("{}")
            log = self.folder / "logs" / f"{name}.faults.jsonl"
            allowed = ("--allow-faults", "--fault-plan", str(self._points(name)),
                       "--fault-log", str(log))  # fmt: skip
        member = Member(
            name,
            (*self._program, daemon, *words, *allowed),
            {**self._env(), **env},
            self.folder / "logs" / f"{name}.log",
            self._recorder,
            self._runtime,
        )
        self.members[name] = member
        return member

    async def _add_worker(self, name: str) -> None:
        targets = self.plan.targets
        urls = {}
        for service in ("gateway", "registry"):
            way = await self.networks.way(f"{name}-{service}", self._at(service))
            tap = Tap(lambda: self.members[name].label, way, self._recorder)
            await tap.start()
            self._taps.append(tap)
            urls[service] = f"http://127.0.0.1:{tap.port}"
        words = [
            "--name", name, "--slots", str(targets.slots),
            "--gateway", urls["gateway"], "--registry", urls["registry"],
            "--registry-policy", targets.registry_policy,
        ]  # fmt: skip
        if not targets.reattach:
            words.append("--no-reattach")
        member = self._add(name, *words, CHAOS_SLOTS=str(targets.slots))
        await member.start()

    def _env(self) -> dict[str, str]:
        return {
            **{k: v for k, v in os.environ.items() if not k.startswith("DRAWBAR_")},
            "DRAWBAR_DATA": str(self.data),
            "TMPDIR": str(self.folder / "tmp"),  # jobs inherit it, which is how they are found
        }

    def _points(self, name: str) -> Path:
        return self.folder / "faults" / f"{name}.json"

    def _at(self, service: str) -> Endpoint:
        return "127.0.0.1", self._ports[service].number

    def _transport(self, url: str, service: str) -> Transport:
        opened = Transport(url, self._runtime, token=lambda: self.token, service=service)
        self._transports.append(opened)
        return opened

    async def _until_ready(self) -> None:
        limit_s = self.plan.steady_state.ready_within_s
        try:
            async with asyncio.timeout(limit_s):
                while not await self.is_ready():
                    await self._runtime.sleep(ASK_EVERY_S)
        except TimeoutError:
            said = {m.name: _tail(m.log) for m in self.members.values() if not m.is_alive}
            raise Misconfigured(f"the cluster was not ready in {limit_s:g} s: {said}") from None

    async def is_ready(self) -> bool:
        """Every service serves, and every worker has said that it is free."""
        timeout = aiohttp.ClientTimeout(total=2)
        try:
            async with aiohttp.ClientSession(timeout=timeout) as session:
                for name in SERVICES:
                    async with session.get(f"{self.urls[name]}/readyz") as answer:
                        if answer.status != 200:
                            return False
            known = (await self._registry.list_workers()).workers
        except Exception:  # whatever it is, it is not ready
            return False
        pids = {member.pid for member in self.members.values()}
        return sum(w.pid in pids and w.free_slots > 0 for w in known) == self.plan.targets.workers


def _may_mean(target: str, name: str) -> bool:
    is_worker = name.startswith("worker")
    return target in (name, "any", "worker" if is_worker else "service")


def _url(at: Endpoint) -> str:
    return f"http://{at[0]}:{at[1]}"


def _tail(path: Path) -> str:
    return path.read_text(errors="replace")[-500:]
