"""Everything that a worker has in hand, each attempt in a task of its own."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from math import inf
from typing import Final

import structlog

from shared.ids import AttemptId, WorkerId
from shared.protocol.gateway import Claim
from worker.attempt import Attempt
from worker.crew import Crew
from worker.outbox.record import Record

HAND_OVER_S: Final = 5.0  # beyond the grace, for reports of what cannot be left running

log = structlog.get_logger()


class Attempts:
    """`why_not` says why a job that is claimed now would be refused; None: it would not."""

    def __init__(self, crew: Crew, why_not: Callable[[], str | None]) -> None:
        self._crew = crew
        self._why_not = why_not
        self._held: dict[AttemptId, Attempt] = {}
        self._lives: dict[AttemptId, asyncio.Task[None]] = {}
        self._leaves_by = inf
        self._group: asyncio.TaskGroup | None = None

    def open(self, group: asyncio.TaskGroup) -> None:
        """From now on claims are accepted."""
        self._group = group

    @property
    def ids(self) -> tuple[AttemptId, ...]:
        return tuple(self._held)

    def accept(self, claim: Claim, worker_id: WorkerId) -> None:
        """The claim is in hand. The same one again changes nothing."""
        if claim.attempt_id not in self._held and self._group is not None:
            attempt = Attempt(claim, worker_id, self._crew)
            why_not = self._why_not()
            if why_not is not None:
                attempt.decline(why_not)
            self._attend(attempt, attempt.live(), self._group)

    def take_up(self, left: Sequence[Record], group: asyncio.TaskGroup) -> None:
        """What an earlier worker left is gone on with."""
        crew = self._crew
        log.warning("worker.took_up", attempts=[record.attempt_id for record in left])
        now, beat_at = crew.runtime.mono(), crew.outbox.beat_at
        for record in left:
            attempt = Attempt(record.claim, record.worker_id, crew)
            attempt.seek()
            if record.context is not None:
                was_renewed = record.held_at is not None and beat_at > record.held_at
                since = min(now, beat_at if was_renewed else record.since)
                crew.leases.hold(attempt, record.context, since)
            self._attend(attempt, attempt.live_on(record), group)

    # -- their ends ------------------------------------------------------------------------------

    async def until_over(self, upload_s: float) -> None:
        """None is left, or only what is left to a successor: what has waited for the gateway
        alone for `upload_s`, or everything after `leave_running`."""
        mono = self._crew.runtime.mono
        quiet_since: float | None = None
        while self._held:
            is_quiet = not any(attempt.needs_worker for attempt in self._held.values())
            quiet_since = (quiet_since or mono()) if is_quiet else None
            ends_at = self._leaves_at()
            if quiet_since is not None:
                ends_at = min(ends_at, quiet_since + upload_s)
            if ends_at <= mono():
                log.warning("worker.left_behind", attempts=self.ids)
                break
            await self._crew.moves.wait(None if ends_at == inf else ends_at - mono())
        for life in self._lives.values():
            life.cancel()

    def leave_running(self, grace_s: float) -> None:
        """What can do without this worker is left to a successor; what cannot is stopped."""
        self._leaves_by = self._crew.runtime.mono() + grace_s + HAND_OVER_S
        for attempt in self._held.values():
            if not attempt.survives:
                attempt.drain(grace_s)
        self._crew.moves.ring()

    def drain(self, grace_s: float) -> None:
        """None of their jobs goes on, which costs them no try."""
        for attempt in self._held.values():
            attempt.drain(grace_s)

    def preempt(self) -> None:
        """The same, at once."""
        for attempt in self._held.values():
            attempt.preempt()

    async def kill(self) -> None:
        """No process of any attempt lives. A successor will report that it was us."""
        for attempt in self._held.values():
            attempt.abandon()
        processes = [a.process for a in self._held.values() if a.process is not None]
        for process in processes:
            process.kill()
        for process in processes:
            await process.reap()

    def _leaves_at(self) -> float:
        """When what is left is left to a successor, which is expected; `inf`: no such is."""
        can_leave = self._leaves_by < inf and all(a.survives for a in self._held.values())
        return self._crew.runtime.mono() if can_leave else self._leaves_by

    def _attend(self, attempt: Attempt, life: Awaitable[None], group: asyncio.TaskGroup) -> None:
        async def attend() -> None:
            await life
            del self._held[attempt.attempt_id], self._lives[attempt.attempt_id]
            self._crew.moves.ring()
            if not self._held:
                self._crew.presence.changed()

        self._held[attempt.attempt_id] = attempt
        self._lives[attempt.attempt_id] = group.create_task(attend(), name="attempt")
