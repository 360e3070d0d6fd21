"""The leases of everything that this worker runs or has yet to report, renewed by one loop.

Self-fence (P6). The job service lets a lease last `lease_s` from when it received our request,
so we count from before we sent it. Of the lease we keep back

    min(grace_s, lease_s / 6)   between SIGTERM and SIGKILL, plus
    lease_s / 15                for the kill itself, clocks that differ in speed, a busy machine

and stop the job when that much is left without a renewal. With lease_s = 30 and grace_s = 10:
SIGTERM after 23 s, SIGKILL after 28 s, nothing left when another worker may get the job at 30 s.
A job's keeper knows that end as well (`Runner.permit`), and does not need this worker for it.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import structlog

from shared.errors import Forbidden, ServiceError
from shared.ids import AttemptId, WorkerId
from shared.protocol.gateway import (
    MAX_SLOTS,
    HeartbeatRequest,
    LeaseBeat,
    LeaseVerdict,
    RunContext,
    Verdict,
)
from shared.runtime import Runtime
from shared.services import Gateway
from worker.alarms import Alarms
from worker.bell import Bell
from worker.outbox.interface import Outbox
from worker.ports import Runner

MISSED: Final = 2.5  # beats: from then on they are late
EAGER_BEATS: Final = 5  # that fail one after the other, each followed by a sooner one

log = structlog.get_logger()


class Holder(Protocol):
    """An attempt, as far as its lease is concerned."""

    attempt_id: AttemptId
    worker_id: WorkerId
    fence: int

    @property
    def phase(self) -> str: ...

    def cancel(self) -> None:
        """Somebody wants the job to stop."""

    def lose(self, reason: str) -> None:
        """The lease is another's, or nobody's: stop the process."""

    def fence_off(self, grace_s: float) -> None:
        """The lease may soon be another's: stop the process, within `grace_s`."""


@dataclass(slots=True)
class _Lease:
    holder: Holder
    lease_s: float
    heartbeat_s: float
    renewed_at: float


def fence_grace_s(lease_s: float, grace_s: float) -> float:
    """Seconds between SIGTERM and SIGKILL when the worker is cut off."""
    return min(grace_s, lease_s / 6)


def fence_after_s(lease_s: float, grace_s: float) -> float:
    """Seconds without a renewal after which the job is stopped."""
    return end_after_s(lease_s) - fence_grace_s(lease_s, grace_s)


def end_after_s(lease_s: float) -> float:
    """Seconds without a renewal after which nothing of the job may live, worker or no worker."""
    return lease_s - lease_s / 15


def is_anothers(error: Forbidden) -> bool:
    """Whether nothing that this worker has opens the attempt: it is of an id that an earlier one
    had, before the registry forgot it."""
    return error.facts.get("check") == "worker"


class Leases:
    """Renews what it holds and passes on what the job service says of each lease."""

    def __init__(
        self,
        gateway: Gateway,
        runtime: Runtime,
        alarms: Alarms,
        runner: Runner,
        outbox: Outbox,
        *,
        grace_s: float,
    ) -> None:
        self._runner = runner
        self._outbox = outbox
        self._gateway = gateway
        self._runtime = runtime
        self._alarms = alarms
        self._grace_s = grace_s
        self._held: dict[AttemptId, _Lease] = {}
        self._bell = Bell(runtime)
        self._failures = 0

    def hold(self, holder: Holder, context: RunContext, since: float) -> None:
        """The lease is renewed until dropped. `since` is when `run` was first sent."""
        lease = _Lease(holder, context.lease_s, context.heartbeat_s, since)
        self._held[holder.attempt_id] = lease
        self._arm(lease, since)
        if len(self._held) == 1:
            self._bell.ring()

    def ends_at(self, attempt_id: AttemptId) -> float:
        """When nothing of the job may live any more, unless its lease is renewed before."""
        lease = self._held[attempt_id]
        return lease.renewed_at + end_after_s(lease.lease_s)

    def drop(self, attempt_id: AttemptId) -> None:
        """The lease is renewed no more. Safe to repeat."""
        if self._held.pop(attempt_id, None) is not None:
            self._alarms.disarm((attempt_id, "fence"))

    @property
    def late(self) -> str | None:
        """What there is to say of beats that were not answered; None while none is missing."""
        now = self._runtime.mono()
        silent_s = max(
            (
                now - lease.renewed_at
                for lease in self._held.values()
                if now - lease.renewed_at > MISSED * lease.heartbeat_s
            ),
            default=None,
        )
        return None if silent_s is None else f"leases were last renewed {silent_s:.0f} s ago"

    async def run(self) -> None:
        """Renews, for ever. What one beat takes is not added to the wait for the next."""
        beaten_at = 0.0
        while True:
            if not self._held:
                await self._bell.wait()
                continue
            interval_s = min(lease.heartbeat_s for lease in self._held.values())
            if self._failures:
                # At first sooner, as leases run out; later as often as if nothing had happened.
                least = 0.25 if self._failures <= EAGER_BEATS else 1.0
                interval_s *= self._runtime.random.uniform(least, 1 if least < 1 else 1.5)
            took_s = min(self._runtime.mono() - beaten_at, interval_s / 2)
            await self._runtime.sleep(interval_s - took_s)
            if self._held:
                beaten_at = self._runtime.mono()
                await self.beat_once(interval_s)

    async def beat_once(self, interval_s: float) -> None:
        """Every lease was offered for renewal, and what was said of it is passed on."""
        began = self._runtime.mono()
        is_complete = True
        # After the registry forgot this worker and enrolled it anew, two ids may be in use.
        by_worker: dict[WorkerId, list[_Lease]] = {}
        for lease in self._held.values():
            by_worker.setdefault(lease.holder.worker_id, []).append(lease)
        for worker_id, leases in by_worker.items():
            for first in range(0, len(leases), MAX_SLOTS):
                some = leases[first : first + MAX_SLOTS]
                try:
                    async with asyncio.timeout(max(1.0, 2 * interval_s)):
                        await self._beat(worker_id, some)
                except (ServiceError, TimeoutError) as error:
                    if isinstance(error, Forbidden) and is_anothers(error):
                        self._lose(some)
                        continue
                    if self._failures == 0 and is_complete:
                        log.warning("heartbeat.failed", leases=len(some), error=repr(error))
                    is_complete = False
        self._failures = 0 if is_complete else self._failures + 1
        if is_complete and self._held:
            self._outbox.beat(began)

    async def _beat(self, worker_id: WorkerId, leases: Sequence[_Lease]) -> None:
        ask = HeartbeatRequest(
            worker_id=worker_id,
            leases=tuple(
                LeaseBeat(
                    attempt_id=lease.holder.attempt_id,
                    fence=lease.holder.fence,
                    phase=lease.holder.phase,
                )
                for lease in leases
            ),
        )
        sent_at = self._runtime.mono()
        reply = await self._gateway.heartbeat(ask)
        permitted = {}
        for verdict in reply.leases:
            lease = self._held.get(verdict.attempt_id)
            if lease is not None:  # else it was settled while we asked
                self._judge(lease, verdict, sent_at)
                if verdict.verdict is not Verdict.GONE:
                    permitted[verdict.attempt_id] = sent_at + end_after_s(lease.lease_s)
        self._runner.permit(permitted)

    def _lose(self, leases: Sequence[_Lease]) -> None:
        for lease in leases:
            self._alarms.disarm((lease.holder.attempt_id, "fence"))
            lease.holder.lose("the registry has given this worker another id")

    def _judge(self, lease: _Lease, verdict: LeaseVerdict, sent_at: float) -> None:
        if verdict.verdict is Verdict.GONE:
            self._alarms.disarm((lease.holder.attempt_id, "fence"))
            lease.holder.lose(verdict.reason or "the lease is gone")
            return
        self._arm(lease, sent_at)
        if verdict.verdict is Verdict.CANCEL:
            lease.holder.cancel()

    def _arm(self, lease: _Lease, since: float) -> None:
        lease.renewed_at = since
        grace_s = fence_grace_s(lease.lease_s, self._grace_s)
        self._alarms.arm(
            (lease.holder.attempt_id, "fence"),
            since + fence_after_s(lease.lease_s, self._grace_s),
            lambda: lease.holder.fence_off(grace_s),
        )
