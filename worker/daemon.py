"""The worker: its parts put together, and its life from start to drain or stop."""

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from typing import Final

import structlog

from shared.ids import AttemptId, WorkerId
from shared.protocol.gateway import Claim
from shared.protocol.registry import Finding, StatusReply
from shared.protocol.states import Desired, WorkerStatus
from shared.retry_budget import RetryBudget
from shared.runtime import Runtime
from shared.services import Gateway, Registry
from worker.alarms import Alarms
from worker.attempt import Attempt
from worker.bell import Bell
from worker.crew import Crew
from worker.health import Health
from worker.lease import Leases
from worker.logstream import LogStreams
from worker.outbox.interface import Outbox
from worker.outbox.memory import MemoryOutbox
from worker.outbox.parking import Parking
from worker.outbox.record import Record
from worker.polling import Poller, Slots
from worker.ports import Runner, Workspace
from worker.presence import Load, Presence
from worker.settings import WorkerSettings

FIRST_BEAT_S: Final = 1.0
HAND_OVER_S: Final = 5.0  # beyond the grace, for reports of what cannot be left running

log = structlog.get_logger()


class Worker:
    """Pulls jobs and runs them.

    `done` is set at the end, with an exception if it came to grief; `failure` is then only, as
    that of every part of a process.
    """

    def __init__(
        self,
        settings: WorkerSettings,
        gateway: Gateway,
        registry: Registry,
        runner: Runner,
        workspace: Workspace,
        runtime: Runtime,
        outbox: Outbox | None = None,
        health: Health | None = None,
    ) -> None:
        """Without an outbox, what it leaves behind is lost with it; without health it is fit."""
        loop = asyncio.get_running_loop()
        self.done: asyncio.Future[None] = loop.create_future()
        self.failure: asyncio.Future[None] = loop.create_future()
        self._runtime = runtime
        self._grace_s = settings.grace_s
        self._outbox = outbox or MemoryOutbox()
        self._slots = Slots(settings, runtime, self._outbox)
        self._alarms = Alarms(runtime)
        self._parking = Parking(self._outbox, runtime, self._alarms)
        self._streams = LogStreams(runtime)
        self._leases = Leases(
            gateway, runtime, self._alarms, runner, self._outbox, grace_s=settings.grace_s
        )
        self._health = health or Health((), runtime)
        self._health.changed = self._note_health
        self._presence = Presence(settings, registry, runtime, self._load, self._obey, self._adopt)
        self._poller = Poller(settings, gateway, runtime, self._presence, self._slots, self._accept)
        self._crew = Crew(
            settings=settings,
            gateway=gateway,
            runtime=runtime,
            runner=runner,
            workspace=workspace,
            presence=self._presence,
            slots=self._slots,
            leases=self._leases,
            alarms=self._alarms,
            streams=self._streams,
            outbox=self._outbox,
            parking=self._parking,
            budget=RetryBudget(runtime),
        )
        self._attempts: dict[AttemptId, Attempt] = {}
        self._desired = Desired.RUN
        self._wishes = Bell(runtime)  # `_desired` changed, or the last attempt ended
        self._asks_anew = False  # slots or labels are others than those of the poll that waits
        self._ends = Bell(runtime)  # an attempt has ended while the worker hands over
        self._hands_over = False
        self._drain_ends_at = float("inf")
        self._owner: asyncio.Task[None] | None = None
        self._group: asyncio.TaskGroup | None = None

    @property
    def worker_id(self) -> WorkerId | None:
        """None until enrolled."""
        return self._presence.worker_id

    @property
    def busy(self) -> int:
        """How many attempts it has in hand."""
        return len(self._attempts)

    async def start(self) -> None:
        """The worker lives: it enrols, and then asks for jobs."""
        if self._owner is None:
            self._owner = asyncio.get_running_loop().create_task(self._own(), name="worker")

    async def drain(self, deadline_s: float | None = None) -> None:
        """Everything that ran was finished and reported, and the worker has left.

        Jobs that run for longer than `deadline_s` are stopped, which costs them no try.
        """
        self.begin_drain(deadline_s)
        if self._owner is not None:
            await asyncio.wait([self._owner])

    async def hand_over(self) -> None:
        """The worker has ended, and what can do without it runs on: a successor finds it.

        Tasks cannot, as their pipes end here, nor can a job that has not begun: they are stopped,
        which costs them no try.
        """
        self.begin_drain(None)
        for attempt in self._attempts.values():
            if not attempt.survives:
                attempt.drain(self._grace_s)
        try:
            async with asyncio.timeout(self._grace_s + HAND_OVER_S):
                while not all(a.survives for a in self._attempts.values()):
                    await self._ends.wait()
        except TimeoutError:
            log.warning("worker.handed_over_late", running=self.busy)
        self._hands_over = True
        await self.stop()

    async def stop(self) -> None:
        """Nothing of the worker lives: its jobs were killed, their leases will run out."""
        owner = self._owner
        if owner is not None:
            owner.cancel()
            await asyncio.wait([owner])
            self._end(None)

    # -- the life ------------------------------------------------------------------------------

    async def _own(self) -> None:
        try:
            await self._live()
        except asyncio.CancelledError:
            if not self._hands_over:
                await self._kill_all()
            self._end(None)
        except BaseExceptionGroup as failed:
            await self._kill_all()
            self._end(_first(failed))
        else:
            self._end(self._presence.superseded)

    async def _live(self) -> None:
        async with asyncio.TaskGroup() as group:
            self._group = group
            loops = [
                group.create_task(self._alarms.run(), name="alarms"),
                group.create_task(self._leases.run(), name="heartbeats"),
                group.create_task(self._streams.run(group), name="logs"),
                group.create_task(self._parking.run(), name="parking"),
                group.create_task(self._report(), name="presence"),
                group.create_task(self._health.run(), name="health"),
            ]
            if left := self._outbox.left():
                self._take_up(left, group)
                loops.append(group.create_task(self._renew_first(), name="first heartbeat"))
            await self._poll_as_wished(group)
            while self._attempts:
                await self._wishes.wait()
            await self._presence.leave()
            log.info("worker.left", worker_id=self.worker_id)
            for loop in loops:
                loop.cancel()

    async def _report(self) -> None:
        """Keeps the registry informed. Superseded: no more jobs, but those that run may end."""
        await self._presence.run()
        log.error("worker.superseded", worker_id=self.worker_id)
        self.begin_drain(None)

    async def _poll_as_wished(self, group: asyncio.TaskGroup) -> None:
        """Jobs are asked for while the worker may run some; returns when it is to drain."""
        await self._health.look_once()
        while not self._is_leaving:
            if not self._wants_jobs:
                await self._wishes.wait()
                continue
            self._asks_anew = False
            polling = group.create_task(self._poller.run(), name="polling")
            while self._wants_jobs and not self._asks_anew:
                await self._wishes.wait()
            polling.cancel()
            await asyncio.wait([polling])
            await self._poller.settle()

    def begin_drain(self, deadline_s: float | None) -> None:
        """No more jobs are asked for; `done` is set when the rest has ended. See `drain`."""
        self._parking.hurry()
        if deadline_s is not None:
            ends_at = self._runtime.mono() + deadline_s
            if ends_at < self._drain_ends_at:
                self._drain_ends_at = ends_at
                self._alarms.arm(("worker", "drain"), ends_at, self._stop_all)
        self._want(Desired.DRAIN)

    def _obey(self, reply: StatusReply) -> None:
        """What the operator wants, as the last report brought it."""
        if reply.desired is Desired.STOP:
            if reply.is_now and self._grace_s > 0:
                self._grace_s = 0.0
                for attempt in self._attempts.values():
                    attempt.preempt()
            self.begin_drain(0)
        elif self._is_leaving:
            return  # only a stop goes beyond a drain
        elif reply.desired is Desired.DRAIN:
            self.begin_drain(reply.deadline_s)
        else:
            self._want(reply.desired)

    def _adopt(self, slots: int | None, labels: Mapping[str, str] | None) -> None:
        """Operators changed with what the worker asks. Where slots are fewer, what runs goes on."""
        changes = [
            slots is not None and self._slots.resize(slots),
            labels is not None and self._poller.relabel(labels),
        ]
        if any(changes):
            log.info("worker.set", slots=slots, labels=labels)
            self._asks_anew = True
            self._presence.changed()
            self._wishes.ring()

    def _note_health(self) -> None:
        self._presence.changed()
        self._wishes.ring()

    def _want(self, desired: Desired) -> None:
        if desired is not self._desired:
            log.info("worker.told", desired=desired.value)
            self._desired = desired
            self._presence.changed()
            self._wishes.ring()

    @property
    def _wants_jobs(self) -> bool:
        return self._desired is Desired.RUN and self._health.flaw is None

    @property
    def _is_leaving(self) -> bool:
        return self._desired not in (Desired.RUN, Desired.PAUSE)

    # -- attempts --------------------------------------------------------------------------------

    def _accept(self, claim: Claim, worker_id: WorkerId) -> None:
        if claim.attempt_id not in self._attempts and self._group is not None:
            attempt = Attempt(claim, worker_id, self._crew)
            self._attempts[claim.attempt_id] = attempt
            self._group.create_task(self._attend(attempt, attempt.live()), name="attempt")
            if not self._wants_jobs:
                attempt.decline(self._why_not())

    def _why_not(self) -> str:
        if self._desired is Desired.RUN and self._health.flaw is not None:
            return f"the worker is not fit: {self._health.flaw}"
        return f"the worker was told to {self._desired}"

    def _take_up(self, left: Sequence[Record], group: asyncio.TaskGroup) -> None:
        """What an earlier worker left is gone on with."""
        log.warning("worker.took_up", attempts=[record.attempt_id for record in left])
        now = self._runtime.mono()
        for record in left:
            attempt = Attempt(record.claim, record.worker_id, self._crew)
            self._attempts[attempt.attempt_id] = attempt
            if record.context is not None:
                held_at, beat_at = record.held_at, self._outbox.beat_at
                was_renewed = held_at is not None and beat_at > held_at
                since = min(now, beat_at if was_renewed else record.since)
                self._leases.hold(attempt, record.context, since)
            group.create_task(self._attend(attempt, attempt.live_on(record)), name="attempt")

    async def _renew_first(self) -> None:
        """The leases that were taken up are renewed as soon as may be: little may be left."""
        await self._presence.enrolled.wait()
        await self._leases.beat_once(FIRST_BEAT_S)

    async def _attend(self, attempt: Attempt, life: Awaitable[None]) -> None:
        await life
        del self._attempts[attempt.attempt_id]
        self._ends.ring()
        if not self._attempts:
            self._presence.changed()
            self._wishes.ring()

    def _stop_all(self) -> None:
        for attempt in self._attempts.values():
            attempt.drain(self._grace_s)

    async def _kill_all(self) -> None:
        """No process of any attempt lives. A successor will report that it was us."""
        for attempt in self._attempts.values():
            attempt.abandon()
        processes = [a.process for a in self._attempts.values() if a.process is not None]
        for process in processes:
            process.kill()
        for process in processes:
            await process.reap()

    def _load(self) -> Load:
        if self._is_leaving:
            status = WorkerStatus.DRAINING
        elif self._attempts:
            status = WorkerStatus.WORKING
        elif not self._wants_jobs:
            status = WorkerStatus.PAUSED
        else:
            status = WorkerStatus.READY
        return Load(status, tuple(self._attempts), self._slots.free, self._findings())

    def _findings(self) -> tuple[Finding, ...]:
        """What the registry is told, with what keeps the worker from jobs for other reasons."""
        found = self._health.findings
        if (trouble := self._slots.trouble) is not None:
            found = (*found, Finding(name="claims", is_good=False, says=trouble[:500]))
        if (late := self._leases.late) is not None:
            found = (*found, Finding(name="heartbeat", is_good=False, says=late))
        return found

    def _end(self, failure: BaseException | None) -> None:
        for end in (self.done, self.failure):
            if failure is not None and not end.done():
                end.set_exception(failure)
                end.exception()  # retrieved: watching it is optional
        if not self.done.done():
            self.done.set_result(None)


def _first(failed: BaseExceptionGroup[BaseException]) -> BaseException:
    """What went wrong, out of the groups that it came in."""
    inner = failed.exceptions[0]
    while isinstance(inner, BaseExceptionGroup):
        inner = inner.exceptions[0]
    log.error("worker.died", error=repr(inner))
    return inner
