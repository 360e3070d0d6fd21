"""A worker played by a test over HTTP, which knows exactly what was acknowledged to it."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from itertools import count

from shared.errors import ServiceError
from shared.http import wire
from shared.http.clients import GatewayClient, RegistryClient
from shared.http.transport import Answer
from shared.ids import ClaimId, WorkerId
from shared.protocol import gateway as g
from shared.protocol import registry as r
from tests.support.cluster import Cluster

LOG = b"played\n"


class Player:
    """Claims, runs and finishes through the real gateway, with a worker's own tokens."""

    def __init__(
        self, worker_id: WorkerId, registry: RegistryClient, gateway: GatewayClient
    ) -> None:
        self.worker_id = worker_id
        self.registry = registry
        self.gateway = gateway
        self.receipts: list[g.Receipt] = []
        self._numbers = count(1)

    @classmethod
    async def enrolled(cls, cluster: Cluster, name: str = "player") -> "Player":
        registry, gateway = cluster.as_worker()
        ask = r.EnrolRequest(name=name, host="h", pid=1, version="0", labels={}, slots=4)
        return cls((await registry.enrol(ask)).worker_id, registry, gateway)

    async def claim(self, *, slots: int = 1, wait_s: float = 5.0) -> list[g.Claim]:
        """What the gateway gave. An outage is met by asking again with the same claim_id."""
        ask = self._claim(slots, wait_s)
        while True:
            try:
                reply = await self.gateway.claim(ask)
                if reply.reason != "jobstore_unavailable":
                    return list(reply.claims)
            except ServiceError as error:
                if not error.retryable:
                    raise
            await asyncio.sleep(0.05)

    async def claim_raw(self, *, wait_s: float) -> Answer:
        """The gateway's answer as it is on the wire."""
        ask = self._claim(1, wait_s)
        return await self.gateway._transport.request(
            "POST", "/v1/claims", wire.CLAIM.dump(ask), timeout_s=wait_s + 15
        )

    async def run(self, claim: g.Claim) -> g.RunContext:
        return await self.gateway.run(
            g.RunRequest(
                attempt_id=claim.attempt_id,
                worker_id=self.worker_id,
                fence=claim.fence,
                host="h",
                pid=1,
            )
        )

    async def finish(self, claim: g.Claim) -> g.FinishReply:
        """The answer; a receipt is remembered."""
        reply = await self.gateway.finish(self._result(claim))
        if isinstance(reply, g.Receipt):
            self.receipts.append(reply)
        return reply

    async def play(self, stop: asyncio.Event) -> None:
        """Does every job that it can get, until told to stop."""
        async for claim in self._claims(stop):
            try:
                await self.run(claim)
                await self.finish(claim)
            except ServiceError as error:
                if error.status not in (404, 409):
                    raise  # else the job is another's by now: as good

    async def _claims(self, stop: asyncio.Event) -> AsyncIterator[g.Claim]:
        while not stop.is_set():
            for claim in await self.claim(slots=2, wait_s=0.2):
                yield claim

    def _claim(self, slots: int, wait_s: float) -> g.ClaimRequest:
        return g.ClaimRequest(
            claim_id=ClaimId(f"{self.worker_id}-{next(self._numbers)}"),
            worker_id=self.worker_id,
            labels={},
            free_slots=slots,
            wait_s=wait_s,
        )

    def _result(self, claim: g.Claim) -> g.FinishRequest:
        digest = hashlib.sha256(LOG).hexdigest()
        return g.FinishRequest(
            attempt_id=claim.attempt_id,
            worker_id=self.worker_id,
            fence=claim.fence,
            result=g.Result(outcome=g.Outcome.EXITED, exit_code=0),
            log=g.LogSummary(
                size_bytes=len(LOG), sha256=digest, tail_offset=0, tail=LOG, lost_bytes=0
            ),
            artifacts=(),
            usage=g.Usage(wall_s=0.1, cpu_s=None, max_rss_bytes=None),
        )
