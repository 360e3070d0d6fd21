"""Who is alive, what each worker does, and what operators want of it.

Signs of life and what workers report are kept in memory: they are worth nothing after a restart,
and a report must not cost a write. Enrolments, wishes and goodbyes are durable before they are
acknowledged.
"""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog

from registry.changing import changed
from registry.enrolment import Enrolment
from registry.states import SHOWN, WorkerEvent, WorkerState, after, reported
from registry.store import WorkerStore
from registry.views import Present, view_of
from shared.deadlines import Deadlines
from shared.errors import BadRequest, Conflict, UnknownWorker, WorkerSuperseded
from shared.ids import WorkerId
from shared.loops import Loops
from shared.pipeline_rules import nearest
from shared.protocol.registry import (
    EnrolReply,
    EnrolRequest,
    NameCheck,
    SettingsRequest,
    StatusReply,
    StatusReport,
    WishRequest,
    WorkerDetails,
    WorkerList,
    WorkerView,
)
from shared.protocol.states import Desired, WorkerStatus
from shared.runtime import Runtime

WATCH_S: Final = 1.0  # how late the log may be with `worker.fell_silent`; listings never are
MISSED: Final = 2.5  # reports: from then on a worker is late

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class RegistrySettings:
    report_s: float = 5.0  # how often a worker is asked to report
    silent_after_s: float = 20.0  # three reports may get lost, and a fourth be late


class RegistryService:
    """Implements shared.services.Registry on one SQLite file."""

    def __init__(
        self, path: Path, runtime: Runtime, settings: RegistrySettings | None = None
    ) -> None:
        self._runtime = runtime
        self._settings = settings or RegistrySettings()
        self._store = WorkerStore(path, runtime)
        self._workers: dict[WorkerId, Present] = {}
        self._by_name: dict[str, Present] = {}
        self._pauses: Deadlines[str] = Deadlines()  # of workers by name, and when they resume
        self._resuming = asyncio.Lock()
        self._loops = Loops(runtime)
        self._loops.every("registry.watch", WATCH_S, self.watch_once)
        self.failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        for failure in (self._store.failure, self._loops.failure):
            failure.add_done_callback(self._fail)

    async def start(self) -> None:
        """Everybody who was here before is expected back, and has the full time for it."""
        await self._store.start()
        now = self._runtime.mono()
        for enrolment in await self._store.load():
            state = WorkerState.LEFT if enrolment.has_left else WorkerState.EXPECTED
            self._keep(Present(enrolment, state, seen_at=now))
            self._time_pause(enrolment)
        await self._loops.start()
        log.info("registry.restored", workers=len(self._workers))

    async def stop(self) -> None:
        await self._loops.stop()
        await self._store.stop()

    # -- workers ------------------------------------------------------------------------------

    async def enrol(self, ask: EnrolRequest) -> EnrolReply:
        enrolment = await self._store.enrol(ask, then=self._welcome)
        return EnrolReply(
            worker_id=enrolment.worker_id,
            incarnation=enrolment.incarnation,
            next_report_s=self._settings.report_s,
            slots=enrolment.slots,
            labels=enrolment.labels,
        )

    async def check_name(self, name: str) -> NameCheck:
        self._raise_failure()
        await self.watch_once()
        worker = self._by_name.get(name)
        return NameCheck(status=None if worker is None else SHOWN[worker.state])

    async def report(self, ask: StatusReport) -> StatusReply:
        self._raise_failure()
        event = reported(ask.status)
        worker = self._workers.get(ask.worker_id)
        if worker is None or ask.incarnation > worker.enrolment.incarnation:
            raise UnknownWorker(worker_id=ask.worker_id)
        if ask.incarnation < worker.enrolment.incarnation:
            raise WorkerSuperseded(
                name=worker.enrolment.name,
                incarnation=ask.incarnation,
                newest=worker.enrolment.incarnation,
            )
        self._move(worker, event)
        worker.seen_at = self._runtime.mono()
        worker.attempts = ask.attempts
        worker.free_slots = ask.free_slots
        worker.health = ask.health
        known = worker.enrolment
        return StatusReply(
            desired=known.desired,
            reason=known.desired_reason,
            deadline_s=known.desired_deadline_s,
            is_now=known.is_now,
            slots=known.slots,
            labels=known.labels,
            next_report_s=self._settings.report_s,
        )

    async def leave(self, worker_id: WorkerId, incarnation: int) -> None:
        await self._store.leave(worker_id, incarnation, then=lambda: self._see_off(worker_id))

    # -- operators ----------------------------------------------------------------------------

    async def list_workers(self) -> WorkerList:
        """By name."""
        self._raise_failure()
        await self.watch_once()
        return WorkerList(
            workers=tuple(self._view(self._by_name[n]) for n in sorted(self._by_name))
        )

    async def show_worker(self, name: str) -> WorkerDetails:
        self._raise_failure()
        await self.watch_once()
        worker = self._named(name)
        told = await self._store.list_told(worker.enrolment.worker_id)
        return WorkerDetails(worker=self._view(worker), told=told)

    async def wish(self, name: str, ask: WishRequest) -> WorkerView:
        for given, what, desired in (
            (ask.deadline_s is not None, "only a drain has a deadline", Desired.DRAIN),
            (ask.for_s is not None, "only a pause ends by itself", Desired.PAUSE),
            (ask.is_now, "only a stop can be without grace", Desired.STOP),
        ):
            if given and ask.desired is not desired:
                raise BadRequest(what, desired=ask.desired.value)
        if await self._store.wish(name, ask, then=self._note_wish) is None:
            raise self._stranger(name)
        await self.watch_once()
        return self._view(self._named(name))

    async def set_worker(self, name: str, ask: SettingsRequest) -> WorkerView:
        made = await self._store.change(
            name, ask, lambda worker: changed(worker, ask), then=self._note_settings
        )
        if made is None:
            raise self._stranger(name)
        await self.watch_once()
        return self._view(self._named(name))

    async def remove(self, name: str) -> None:
        await self.watch_once()
        worker = self._named(name)
        status = SHOWN[worker.state]
        if status is not WorkerStatus.OFFLINE:
            raise Conflict(
                f"worker {name!r} is {status}: stop it first", name=name, state=status.value
            )
        enrolment = worker.enrolment
        if not await self._store.remove(
            enrolment.worker_id, enrolment.incarnation, then=lambda: self._forget(enrolment)
        ):
            raise Conflict(f"worker {name!r} has just enrolled again", name=name)

    # -- liveness -----------------------------------------------------------------------------

    async def watch_once(self) -> None:
        """Whoever was not heard of for `silent_after_s` is silent; pauses that are over end."""
        for worker in self._overdue():
            self._move(worker, WorkerEvent.FALL_SILENT)
        async with self._resuming:  # whoever looks next sees what is being written now
            for name in self._pauses.take_due(self._runtime.mono()):
                paused = self._by_name[name].enrolment
                reason = f"the pause of {paused.pause_s:g} s is over"
                await self._store.resume(paused, by="registry", reason=reason, then=self._note_wish)

    def _overdue(self) -> Iterator[Present]:
        limit = self._runtime.mono() - self._settings.silent_after_s
        for worker in self._workers.values():
            if worker.seen_at < limit and SHOWN[worker.state] is not WorkerStatus.OFFLINE:
                yield worker

    def _move(self, worker: Present, event: WorkerEvent) -> None:
        before, worker.state = worker.state, after(worker.state, event)
        if worker.state is before:
            return
        facts = {"worker_id": worker.enrolment.worker_id, "name": worker.enrolment.name}
        if event is WorkerEvent.FALL_SILENT:
            silent_s = round(self._runtime.mono() - worker.seen_at, 3)
            log.warning("worker.fell_silent", **facts, silent_s=silent_s, was=before.value)
        elif before is WorkerState.SILENT:
            log.info("worker.returned", **facts, state=worker.state.value)
        else:
            log.debug("worker.moved", **facts, before=before.value, after=worker.state.value)

    # -- what commits lead to, in their order -------------------------------------------------

    def _keep(self, worker: Present) -> None:
        self._workers[worker.enrolment.worker_id] = worker
        self._by_name[worker.enrolment.name] = worker

    def _welcome(self, enrolment: Enrolment) -> None:
        earlier = self._workers.get(enrolment.worker_id)
        if earlier is not None and SHOWN[earlier.state] is not WorkerStatus.OFFLINE:
            log.warning(
                "worker.superseded",
                worker_id=enrolment.worker_id,
                name=enrolment.name,
                incarnation=earlier.enrolment.incarnation,
                newest=enrolment.incarnation,
            )
        state = after(earlier.state if earlier else WorkerState.LEFT, WorkerEvent.ENROL)
        self._keep(Present(enrolment, state, seen_at=self._runtime.mono()))
        log.info(
            "worker.enrolled",
            worker_id=enrolment.worker_id,
            name=enrolment.name,
            incarnation=enrolment.incarnation,
            slots=enrolment.slots,
            host=enrolment.host,
        )

    def _note_wish(self, enrolment: Enrolment) -> None:
        self._workers[enrolment.worker_id].enrolment = enrolment
        self._time_pause(enrolment)
        log.info(
            "worker.wished",
            worker_id=enrolment.worker_id,
            name=enrolment.name,
            desired=enrolment.desired.value,
            reason=enrolment.desired_reason,
            by=enrolment.desired_by,
        )

    def _note_settings(self, enrolment: Enrolment) -> None:
        self._workers[enrolment.worker_id].enrolment = enrolment
        log.info(
            "worker.set",
            worker_id=enrolment.worker_id,
            name=enrolment.name,
            slots=enrolment.slots,
            labels=enrolment.labels,
        )

    def _time_pause(self, enrolment: Enrolment) -> None:
        """When its pause ends; after a restart of ours, what is left of it by the wall clock.

        A clock that was set back meanwhile cannot make it longer than it was meant to be.
        """
        if enrolment.resumes_at is None or enrolment.pause_s is None:
            self._pauses.disarm(enrolment.name)
            return
        left_s = (enrolment.resumes_at - self._runtime.now()).total_seconds()
        at = self._runtime.mono() + min(max(left_s, 0.0), enrolment.pause_s)
        self._pauses.arm(enrolment.name, at)

    def _see_off(self, worker_id: WorkerId) -> None:
        worker = self._workers[worker_id]
        worker.state = after(worker.state, WorkerEvent.LEAVE)
        worker.attempts, worker.free_slots = (), 0
        log.info("worker.left", worker_id=worker_id, name=worker.enrolment.name)

    def _forget(self, enrolment: Enrolment) -> None:
        del self._workers[enrolment.worker_id], self._by_name[enrolment.name]
        self._pauses.disarm(enrolment.name)
        log.info("worker.removed", worker_id=enrolment.worker_id, name=enrolment.name)

    # -- views --------------------------------------------------------------------------------

    def _named(self, name: str) -> Present:
        worker = self._by_name.get(name)
        if worker is None:
            raise self._stranger(name)
        return worker

    def _stranger(self, name: str) -> UnknownWorker:
        hint = nearest(name, sorted(self._by_name))
        return UnknownWorker(f"there is no worker called {name!r}{hint}", name=name)

    def _view(self, worker: Present) -> WorkerView:
        late_after_s = MISSED * self._settings.report_s
        return view_of(worker, now=self._runtime.mono(), late_after_s=late_after_s)

    def _raise_failure(self) -> None:
        """A registry that failed acknowledges nothing any more, not even from memory."""
        if self.failure.done():
            self.failure.result()

    def _fail(self, failed: "asyncio.Future[None]") -> None:
        if not failed.cancelled() and not self.failure.done():
            error = failed.exception()
            assert error is not None, "loops and stores only ever fail"
            self.failure.set_exception(error)
            self.failure.exception()  # retrieved: watching it is optional
