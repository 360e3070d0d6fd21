"""Asking for jobs: one poll at a time, for all slots that are free."""

import asyncio
from collections.abc import Callable, Mapping, Sequence

import structlog

from shared.errors import ServiceError
from shared.faultpoints import faultpoint
from shared.ids import ClaimId, WorkerId
from shared.protocol.gateway import Claim, ClaimReply, ClaimRequest
from shared.runtime import Runtime
from shared.services import Gateway
from worker.backoff import Backoff
from worker.bell import Bell
from worker.outbox.interface import Outbox
from worker.presence import Presence
from worker.settings import WorkerSettings

REPLY_SLACK_S = 10.0  # beyond the time for which a poll may wait
RECHECK_TIMEOUT_S = 2.0
IN_DOUBT = "jobstore_unavailable"  # it may have claimed for us before its answer was lost
SETTLE_S = 0.001  # what was claimed is started before more is asked for
TROUBLE_LOOK_S = 1.0  # a disk that takes writes again rings no bell
REST_S = 10.0
QUICK_S = 0.05  # an empty answer that came sooner than this did not wait for a job

log = structlog.get_logger()


class Slots:
    """How many jobs run, how many results wait for their receipt, and who waits for room."""

    def __init__(self, settings: WorkerSettings, runtime: Runtime, outbox: Outbox) -> None:
        self._outbox = outbox
        self._runtime = runtime
        self._rests_until = float("-inf")
        self._why_rests = ""
        self._total = settings.slots
        self._max_unreported = settings.max_unreported
        self._bell = Bell(runtime)
        self._taken = 0
        self._unreported = 0

    @property
    def free(self) -> int:
        return max(0, self._total - self._taken)

    @property
    def open(self) -> int:
        """Slots for which a job may be claimed."""
        if self._unreported > self._max_unreported or self.trouble is not None:
            return 0
        return self.free

    @property
    def trouble(self) -> str | None:
        """What keeps the worker from claiming, and no job can be blamed for."""
        if self._runtime.mono() < self._rests_until:
            return self._why_rests
        return self._outbox.trouble

    def rest(self, why: str) -> None:
        """A job could not be begun, and this machine is to blame. None is claimed for a while."""
        log.error("worker.rests", why=why, rest_s=REST_S)
        self._why_rests = why
        self._rests_until = self._runtime.mono() + REST_S

    @property
    def total(self) -> int:
        return self._total

    def resize(self, total: int) -> bool:
        """So many from now on; whether that is a change. What runs beyond them goes on."""
        if total == self._total:
            return False
        self._total = total
        self._bell.ring()
        return True

    def take(self, slots: int) -> None:
        self._taken += slots

    def release(self, slots: int) -> None:
        """The process tree is gone; what it left has yet to be reported."""
        self._taken -= slots
        self._unreported += 1
        self._bell.ring()

    def settled(self) -> None:
        """A result that was unreported has its receipt, or none will ever come."""
        self._unreported -= 1
        self._bell.ring()

    async def until_open(self) -> None:
        """Returns when a job may be claimed."""
        while not self.open:
            await self._bell.wait(None if self.trouble is None else TROUBLE_LOOK_S)


class Poller:
    """Claims jobs and hands each to `accept`. May be cancelled at any moment, and run again."""

    def __init__(
        self,
        settings: WorkerSettings,
        gateway: Gateway,
        runtime: Runtime,
        presence: Presence,
        slots: Slots,
        accept: Callable[[Claim, WorkerId], None],
    ) -> None:
        self._settings = settings
        self._labels = dict(settings.labels)
        self._gateway = gateway
        self._runtime = runtime
        self._presence = presence
        self._slots = slots
        self._accept = accept
        self._backoff = Backoff(runtime)
        self._hurried = Backoff(runtime, base_s=0.05, cap_s=1.0)
        self._claim_id: ClaimId | None = None  # of a poll whose answer we do not know

    def relabel(self, labels: Mapping[str, str]) -> bool:
        """Later polls are for these labels; whether that is a change."""
        is_change = labels != self._labels
        self._labels = dict(labels)
        return is_change

    async def run(self) -> None:
        """Polls whenever a slot is free and the registry policy allows, for ever."""
        while True:
            await self._slots.until_open()
            await self._presence.until_may_claim()
            await self.poll_once()

    async def poll_once(self) -> None:
        """One poll was answered and obeyed, or failed and was waited out."""
        began = self._runtime.mono()
        try:
            reply = await self._claim(self._settings.wait_s, self._settings.wait_s + REPLY_SLACK_S)
        except (ServiceError, TimeoutError) as error:
            if self._backoff.failures == 0:
                log.warning("gateway.lost", error=repr(error))
            await self._runtime.sleep(self._backoff.next_s(error))
            return
        if self._backoff.failures:
            log.info("gateway.returned", failures=self._backoff.failures)
            self._backoff.reset()
        if reply.claims:
            self._hurried.reset()
            await faultpoint("worker.claim.after")
            await self._runtime.sleep(SETTLE_S)
        elif reply.retry_after_s > 0:
            # Never sooner than asked, and not all workers at once.
            await self._runtime.sleep(reply.retry_after_s * self._runtime.random.uniform(1, 1.25))
        elif self._runtime.mono() - began < QUICK_S:
            await self._runtime.sleep(self._hurried.next_s())
        else:
            self._hurried.reset()

    async def settle(self) -> None:
        """After a cancelled poll: what it may have claimed was accepted, to be refused in order.

        The same claim_id returns the same claims. When the gateway cannot be asked, they lapse.
        """
        if self._claim_id is None:
            return
        try:
            await self._claim(0, RECHECK_TIMEOUT_S)
        except (ServiceError, TimeoutError) as error:
            log.warning("claim.in_doubt", claim_id=self._claim_id, error=repr(error))

    async def _claim(self, wait_s: float, timeout_s: float) -> ClaimReply:
        worker_id = self._presence.worker_id
        assert worker_id is not None
        if self._claim_id is None:
            self._claim_id = ClaimId(self._runtime.new_id())
        ask = ClaimRequest(
            claim_id=self._claim_id,
            worker_id=worker_id,
            labels=self._labels,
            free_slots=max(1, self._slots.free),
            total_slots=self._slots.total,
            wait_s=wait_s,
        )
        async with asyncio.timeout(timeout_s):
            reply = await self._gateway.claim(ask)
        if reply.reason != IN_DOUBT:
            self._claim_id = None
        _accept_all(reply.claims, worker_id, self._accept)
        return reply


def _accept_all(
    claims: Sequence[Claim], worker_id: WorkerId, accept: Callable[[Claim, WorkerId], None]
) -> None:
    for claim in claims:
        accept(claim, worker_id)
