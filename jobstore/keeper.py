"""What happens by itself: claims lapse, leases run out, retries fall due, rests end.

All of it is in memory and fed by the changes that the store commits, so it cannot disagree with
the store; after a restart it is armed again from what the store holds.
"""

import asyncio
from collections.abc import Sequence
from typing import Final

import structlog

from jobstore.followers import Recent
from jobstore.leases import Lease, LeaseBook
from jobstore.store.interface import JobStore, Leftovers
from jobstore.store.journal import ENDS, Change
from jobstore.store.late import HEARD_AGAIN, LATE
from jobstore.watchers import Watchers
from shared.deadlines import Deadlines
from shared.logs import in_one_write
from shared.protocol.jobs import Event
from shared.runtime import Runtime

# What happens to an attempt without ending it.
ASIDE: Final = ("attempt.reported_late", LATE, HEARD_AGAIN)

log = structlog.get_logger()


class Keeper:
    """Leases and timers of one job service."""

    def __init__(
        self,
        runtime: Runtime,
        watchers: Watchers,
        recent: Recent,
        leases: LeaseBook,
        *,
        lease_s: float,
    ) -> None:
        self._recent = recent
        self._runtime = runtime
        self._watchers = watchers
        self._leases = leases
        self._lease_s = lease_s
        self._retries: Deadlines[int] = Deadlines()
        self._queue_timeouts: Deadlines[int] = Deadlines()
        self._rests: Deadlines[str] = Deadlines()
        self._looked_at = runtime.mono()

    def restore(self, left: Leftovers) -> None:
        """Leases that were held are granted anew, and waits begin again, in full."""
        now = self._looked_at = self._runtime.mono()
        for attempt in left.live:
            self._leases.restore(attempt, now)
        for seq, delay_s in left.retrying:
            self._retries.arm(seq, now + delay_s)
        for seq, timeout_s in left.queued:
            self._queue_timeouts.arm(seq, now + timeout_s)

    def rest(self, attempt_id: str, rest_s: float) -> None:
        """When the rest is over, claims that wait are looked at again."""
        self._rests.arm(attempt_id, self._runtime.mono() + rest_s)

    async def keep_once(self, store: JobStore, *, max_lost: int) -> None:
        """What fell due has happened."""
        now = self._runtime.mono()
        slept_s, self._looked_at = now - self._looked_at, now
        if slept_s > self._lease_s / 2:  # this process stood still: the silence was its own
            log.warning("jobstore.slept", slept_s=round(slept_s, 1))
            self._leases.forgive(now)
        if expired := self._leases.take_expired(now):
            await store.expire(expired, max_lost=max_lost)
        if retries := self._retries.take_due(now):
            await store.wake(retries)
        for seq in self._queue_timeouts.take_due(now):
            if not await store.time_out_queued(seq):
                self._queue_timeouts.arm(seq, now + 1.0)
        if self._rests.take_due(now):
            await store.serve_waiting()

    async def note_late_once(self, store: JobStore) -> None:
        """Heartbeats that are missing, or came again, are in the record. Holds nothing else up."""
        late, heard = self._leases.take_late(self._runtime.mono())
        if late or heard:
            await store.note_beats(late, heard)

    def note(self, changes: Sequence[Change]) -> None:
        """Leases, timers, followers and the log know what was committed."""
        now = self._runtime.mono()
        for change in changes:
            event = change.event
            if change.job_seq is not None:
                self._note_timers(event, change.job_seq, now)
            self._recent.add(event)
            self._watchers.notify(("run", event.run_id))
            if event.job_id is not None:
                self._watchers.notify(("job", event.run_id, event.job_id))
        # Who waits for these changes is answered first.
        asyncio.get_running_loop().call_later(0, _log, changes)

    def _note_timers(self, event: Event, seq: int, now: float) -> None:
        attempt_id = event.attempt_id
        if event.kind == "job.queued":
            if event.facts["queue_timeout_s"] is not None:
                self._queue_timeouts.arm(seq, now + event.facts["queue_timeout_s"])
        elif event.kind == "job.claimed" and attempt_id is not None:
            self._leases.grant(attempt_id, _lease_of(event, seq), now)
        elif event.kind == "job.running" and attempt_id is not None:
            self._leases.start(attempt_id, _lease_of(event, seq), now)
            self._queue_timeouts.disarm(seq)
        elif event.kind in ASIDE:
            return
        elif event.kind == "job.cancel_requested" and attempt_id is not None:
            self._leases.cancel(attempt_id)
        elif attempt_id is not None:  # whatever else happens to an attempt is its end
            self._leases.end(attempt_id)
            self._watchers.notify(("log", attempt_id))
        if event.kind == "job.retrying":
            self._retries.arm(seq, now + event.facts["delay_s"])
        elif event.kind in ENDS:  # once it is pruned, another job may have its number
            self._retries.disarm(seq)
            self._queue_timeouts.disarm(seq)


def _log(changes: Sequence[Change]) -> None:
    bound = log.bind()  # once for all of them
    with in_one_write():
        for change in changes:
            event = change.event
            bound.info(
                event.kind,
                run_id=event.run_id,
                job_id=event.job_id,
                attempt_id=event.attempt_id,
                **event.facts,
            )


def _lease_of(event: Event, seq: int) -> Lease:
    return Lease(seq, event.run_id, event.facts["worker_id"], event.facts["fence"])
