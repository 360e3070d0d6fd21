"""The worker: its parts put together, and its life from start to drain or stop."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

import structlog

from shared.ids import WorkerId
from shared.protocol.registry import Finding
from shared.protocol.states import Desired, WorkerStatus
from shared.retry_budget import RetryBudget
from shared.runtime import Runtime
from shared.services import Gateway, Registry
from worker.alarms import Alarms
from worker.attempts import Attempts
from worker.bell import Bell
from worker.crew import Crew
from worker.health import Health
from worker.lease import Leases
from worker.logstream import LogStreams
from worker.outbox.interface import Outbox
from worker.outbox.memory import MemoryOutbox
from worker.outbox.parking import Parking
from worker.polling import Poller, Slots
from worker.ports import Runner, Workspace
from worker.presence import Load, Presence
from worker.settings import WorkerSettings
from worker.wishes import Wishes

FIRST_BEAT_S: Final = 1.0

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
        restart: Callable[[], None] | None = None,
    ) -> None:
        """Without an outbox, what it leaves behind is lost with it; without health it is fit.

        `restart` is called when an operator wants a successor in its place.
        """
        loop = asyncio.get_running_loop()
        self.done: asyncio.Future[None] = loop.create_future()
        self.failure: asyncio.Future[None] = loop.create_future()
        self._grace_s = settings.grace_s
        self._upload_s = settings.upload_s
        self._outbox = outbox or MemoryOutbox()
        self._slots = Slots(settings, runtime, self._outbox)
        self._alarms = Alarms(runtime)
        self._parking = Parking(self._outbox, runtime, self._alarms)
        self._streams = LogStreams(runtime)
        self._leases = Leases(
            gateway, runtime, self._alarms, runner, self._outbox, grace_s=settings.grace_s
        )
        self._health = health or Health((), runtime)
        self._health.changed = self._note_change
        self._presence = Presence(
            settings,
            registry,
            runtime,
            self._load,
            lambda reply: self._wishes.obey(reply),
            self._adopt,
        )
        crew = Crew(
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
            moves=Bell(runtime),
        )
        self._attempts = Attempts(crew, self._why_not)
        self._wishes = Wishes(
            runtime,
            self._alarms,
            self._attempts,
            self._note_change,
            restart,
            grace_s=settings.grace_s,
        )
        self._poller = Poller(
            settings, gateway, runtime, self._presence, self._slots, self._attempts.accept
        )
        self._bell = Bell(runtime)  # whether jobs are wanted may have changed
        self._asks_anew = False  # slots or labels are others than those of the poll that waits
        self._hands_over = False
        self._owner: asyncio.Task[None] | None = None

    @property
    def worker_id(self) -> WorkerId | None:
        """None until enrolled."""
        return self._presence.worker_id

    @property
    def busy(self) -> int:
        """How many attempts it has in hand."""
        return len(self._attempts.ids)

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
        self._hands_over = True
        self._attempts.leave_running(self._grace_s)
        await self.drain()

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
                await self._attempts.kill()
            self._end(None)
        except BaseExceptionGroup as failed:
            await self._attempts.kill()
            self._end(_first(failed))
        else:
            self._end(self._presence.superseded)

    async def _live(self) -> None:
        async with asyncio.TaskGroup() as group:
            self._attempts.open(group)
            loops = [
                group.create_task(self._alarms.run(), name="alarms"),
                group.create_task(self._leases.run(), name="heartbeats"),
                group.create_task(self._streams.run(group), name="logs"),
                group.create_task(self._parking.run(), name="parking"),
                group.create_task(self._report(), name="presence"),
                group.create_task(self._health.run(), name="health"),
            ]
            if left := self._outbox.left():
                self._attempts.take_up(left, group)
                loops.append(group.create_task(self._renew_first(), name="first heartbeat"))
            await self._poll_as_wished(group)
            await self._attempts.until_over(self._upload_s)
            if not self._hands_over:
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
        while not self._wishes.is_leaving:
            if not self._wants_jobs:
                await self._bell.wait()
                continue
            self._asks_anew = False
            polling = group.create_task(self._poller.run(), name="polling")
            while self._wants_jobs and not self._asks_anew:
                await self._bell.wait()
            polling.cancel()
            await asyncio.wait([polling])
            await self._poller.settle()

    def begin_drain(self, deadline_s: float | None) -> None:
        """No more jobs are asked for; `done` is set when the rest has ended. See `drain`."""
        self._wishes.drain(deadline_s)

    def _adopt(self, slots: int | None, labels: Mapping[str, str] | None) -> None:
        """Operators changed with what the worker asks. Where slots are fewer, what runs goes on."""
        changes = [
            slots is not None and self._slots.resize(slots),
            labels is not None and self._poller.relabel(labels),
        ]
        if any(changes):
            log.info("worker.set", slots=slots, labels=labels)
            self._asks_anew = True
            self._note_change()

    def _note_change(self) -> None:
        """Of its health, or of what is wished of it."""
        if self._wishes.is_leaving:
            self._parking.hurry()
        self._presence.changed()
        self._bell.ring()

    @property
    def _wants_jobs(self) -> bool:
        return self._why_not() is None

    def _why_not(self) -> str | None:
        """Why a job would not be run now; None: it would."""
        if self._wishes.desired is not Desired.RUN:
            return f"the worker was told to {self._wishes.desired}"
        if self._health.flaw is not None:
            return f"the worker is not fit: {self._health.flaw}"
        return None

    async def _renew_first(self) -> None:
        """The leases that were taken up are renewed as soon as may be: little may be left."""
        await self._presence.enrolled.wait()
        await self._leases.beat_once(FIRST_BEAT_S)

    # -- what the registry is told ---------------------------------------------------------------

    def _load(self) -> Load:
        attempts = self._attempts.ids
        if self._wishes.is_leaving:
            status = WorkerStatus.DRAINING
        elif attempts:
            status = WorkerStatus.WORKING
        elif not self._wants_jobs:
            status = WorkerStatus.PAUSED
        else:
            status = WorkerStatus.READY
        return Load(status, attempts, self._slots.free, self._findings())

    def _findings(self) -> tuple[Finding, ...]:
        """Its health, and what keeps the worker from jobs or from a wish for other reasons."""
        found = self._health.findings
        if (trouble := self._slots.trouble) is not None:
            found = (*found, Finding(name="claims", is_good=False, says=trouble[:500]))
        if (late := self._leases.late) is not None:
            found = (*found, Finding(name="heartbeat", is_good=False, says=late))
        if (unmet := self._wishes.unmet) is not None:
            found = (*found, Finding(name="restart", is_good=False, says=unmet))
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
