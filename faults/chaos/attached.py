"""A cluster that others have started: it gets work, bad networks and faults at points, and is left
as it was."""

import json
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final
from urllib.parse import urlsplit

from faults.chaos.disk import SmallDisk
from faults.chaos.experiment import Spawn
from faults.chaos.member import Member
from faults.chaos.network import Networks
from faults.chaos.plan import SERVICES, ChaosPlan, Network, Points, Step, name_of
from faults.chaos.points import PointFaults
from faults.chaos.recorder import Recorder
from faults.plan import PointFault
from shared.errors import NotFound, ServiceError
from shared.http.clients import JobsClient
from shared.http.transport import Transport
from shared.protocol.jobs import RunFilter
from shared.runtime import Runtime

HOP: Final = "people-jobstore"
WHY: Final = "the cluster was started by others"
PATH: Final = "/v1/faults"
JSON: Final = {"Content-Type": "application/json"}
PERSIST_S: Final = 5.0  # a service that a fault has killed comes back, or has none any more


class Attached:
    """`urls` says where its services are. Only people's hop can have a proxy here."""

    def __init__(
        self,
        plan: ChaosPlan,
        urls: dict[str, str],
        token: str,
        recorder: Recorder,
        runtime: Runtime,
    ) -> None:
        self.plan = plan
        self.urls = urls
        self.token = token
        self.is_attached = True
        self.members: dict[str, Member] = {}
        self.disk: SmallDisk | None = None
        self.networks = Networks(plan, recorder, runtime)
        self.deaths = 0
        self.skipped: dict[str, str] = {}
        self._recorder = recorder
        self._runtime = runtime
        self._transports: list[Transport] = []
        self._services = {name: self._transport(urls[name], name) for name in SERVICES}
        self._process: dict[str, str] = {}  # by service: the one that takes its faults
        self._noted: dict[str, dict[str, int]] = {}  # by service and fault: strikes
        self._silent: set[str] = set()  # services that were last told of faults in vain
        self._point_faults = PointFaults(self._put, runtime, plan.seed)

    @property
    def secrets(self) -> dict[str, bytes]:
        return {"the token": self.token.encode()}

    async def start(self, spawn: Spawn) -> None:
        """It answers. Unavailable: it does not."""
        at = urlsplit(self.urls["jobstore"])
        host, port = await self.networks.way(HOP, (at.hostname or "", at.port or 80))
        people = self._transport(f"http://{host}:{port}", "jobstore")
        self.people = JobsClient(people, retry_for_s=0.0)
        self.jobs = JobsClient(self._services["jobstore"], retry_for_s=30.0)
        await self.jobs.list_runs(RunFilter(limit=1))
        if any(isinstance(step, Points) for step in self.plan.steps):
            await self._find_processes()
        for step in self.plan.steps:
            reason = self._why_not(step)
            if reason is not None:
                self.skipped[name_of(step)] = reason

    async def heal(self) -> None:
        """No fault is on; or the report says where one may be."""
        self.networks.heal()
        await self._point_faults.heal()
        for target in sorted(self._silent):
            self.skipped[f"healing of {target}"] = "it did not answer; faults may be on there"

    async def end(self) -> dict[int, str]:
        """Nothing of ours is left, and nothing of theirs was touched."""
        await self.networks.stop()
        await self._point_faults.heal()
        for transport in self._transports:
            await transport.close()
        return {}

    async def disturb(self, target: str, faults: Sequence[PointFault], for_s: float) -> bool:
        """These faults at points were on in that service, for a while."""
        if target not in self._process:
            return False
        await self._point_faults.disturb(self._process[target], faults, for_s)
        return True

    def note_strikes(self) -> None:
        """They were noted whenever a service was told of other faults."""

    def command_lines(self) -> list[str]:
        return []

    async def _find_processes(self) -> None:
        """Which services take faults, and which of them in one process, as those of `up` do: what
        one is told is what the others have then."""
        for n, service in enumerate(self._services.values()):
            with suppress(NotFound):
                await service.request("PUT", PATH, json.dumps({"seed": n}).encode(), headers=JSON)
        for name, service in self._services.items():
            with suppress(NotFound):
                seed = json.loads((await service.request("GET", PATH)).body)["seed"]
                self._process[name] = SERVICES[seed]

    def _why_not(self, step: Step) -> str | None:
        """What keeps this step from being taken here."""
        if isinstance(step, Network) and step.hop == HOP:
            return None
        if not isinstance(step, Points) or step.target.startswith("worker"):
            return WHY
        for name in SERVICES if step.target in ("service", "any") else (step.target,):
            if name not in self._process:
                return f"the {name} was started without --allow-faults"
        return None

    async def _put(self, target: str, faults: Sequence[PointFault]) -> None:
        """They are in force there; what struck of those before is in the history. A service that
        is down has none."""
        service = self._services[target]
        plan = {"seed": self.plan.seed, "faults": [f.model_dump(mode="json") for f in faults]}
        self._silent.add(target)
        with suppress(ServiceError):
            seen = await service.request("GET", PATH, retry_for_s=PERSIST_S)
            self._note(target, json.loads(seen.body)["faults"])
            await service.request(
                "PUT", PATH, json.dumps(plan).encode(), headers=JSON, retry_for_s=PERSIST_S
            )
            self._silent.discard(target)

    def _note(self, target: str, faults: Sequence[dict[str, Any]]) -> None:
        """Those that go on when others come or go keep their count: what was noted is left out."""
        noted = self._noted.get(target, {})
        self._noted[target] = strikes = {}
        for one in faults:
            fault, name = one["fault"], json.dumps(one["fault"])
            strikes[name] = one["strikes"]
            times = one["strikes"] - noted.get(name, 0)
            if times > 0:
                self._recorder.event(
                    target, "struck", point=fault["at"], action=fault["action"], times=times
                )

    def _transport(self, url: str, service: str) -> Transport:
        opened = Transport(url, self._runtime, token=lambda: self.token, service=service)
        self._transports.append(opened)
        return opened
