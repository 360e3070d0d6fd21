"""A cluster that others have started: it gets work and bad networks, and is left as it was."""

from collections.abc import Sequence
from urllib.parse import urlsplit

from faults.chaos.disk import SmallDisk
from faults.chaos.experiment import Spawn
from faults.chaos.member import Member
from faults.chaos.network import Networks
from faults.chaos.plan import ChaosPlan, Network
from faults.chaos.recorder import Recorder
from faults.plan import PointFault
from shared.http.clients import JobsClient
from shared.http.transport import Transport
from shared.protocol.jobs import RunFilter
from shared.runtime import Runtime

HOP = "people-jobstore"
WHY = "the cluster was started by others"


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
        self.point_strikes = 0
        self.skipped = {
            f"{step.what} of {getattr(step, 'hop', getattr(step, 'target', 'the disk'))}": WHY
            for step in plan.steps
            if not (isinstance(step, Network) and step.hop == HOP)
        }
        self._runtime = runtime
        self._transports: list[Transport] = []

    @property
    def secrets(self) -> dict[str, bytes]:
        return {"the token": self.token.encode()}

    async def start(self, spawn: Spawn) -> None:
        """It answers. Unavailable: it does not."""
        at = urlsplit(self.urls["jobstore"])
        host, port = await self.networks.way(HOP, (at.hostname or "", at.port or 80))
        self.people = JobsClient(self._transport(f"http://{host}:{port}"), retry_for_s=0.0)
        self.jobs = JobsClient(self._transport(self.urls["jobstore"]), retry_for_s=30.0)
        await self.jobs.list_runs(RunFilter(limit=1))

    async def heal(self) -> None:
        self.networks.heal()

    async def end(self) -> dict[int, str]:
        """Nothing of ours is left, and nothing of theirs was touched."""
        await self.networks.stop()
        for transport in self._transports:
            await transport.close()
        return {}

    def put_points(self, target: str, faults: Sequence[PointFault]) -> None:
        raise AssertionError(f"{target} is not ours")  # there are no members to be named

    def command_lines(self) -> list[str]:
        return []

    def _transport(self, url: str) -> Transport:
        opened = Transport(url, self._runtime, token=lambda: self.token, service="jobstore")
        self._transports.append(opened)
        return opened
