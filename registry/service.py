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

from registry.states import SHOWN, WorkerEvent, WorkerState, after, reported
from registry.store import Enrolment, WorkerStore
from shared.errors import BadRequest, Conflict, UnknownWorker, WorkerSuperseded
from shared.ids import WorkerId
from shared.loops import Loops
from shared.protocol.registry import (
    EnrolReply,
    EnrolRequest,
    StatusReply,
    StatusReport,
    WishRequest,
    WorkerList,
    WorkerView,
)
from shared.protocol.states import Desired, WorkerStatus
from shared.runtime import Runtime

WATCH_S: Final = 1.0  # how late the log may be with `worker.fell_silent`; listings never are

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class RegistrySettings:
    report_s: float = 5.0  # how often a worker is asked to report
    silent_after_s: float = 20.0  # three reports may get lost, and a fourth be late


@dataclass(slots=True)
class _Worker:
    """One worker: what is on disk, and what this process saw of it since it started."""

    enrolment: Enrolment
    state: WorkerState
    seen_at: float  # monotonic
    attempts: tuple[str, ...] = ()
    free_slots: int = 0


class RegistryService:
    """Implements shared.services.Registry on one SQLite file."""

    def __init__(
        self, path: Path, runtime: Runtime, settings: RegistrySettings | None = None
    ) -> None:
        self._runtime = runtime
        self._settings = settings or RegistrySettings()
        self._store = WorkerStore(path, runtime)
        self._workers: dict[WorkerId, _Worker] = {}
        self._by_name: dict[str, _Worker] = {}
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
            self._keep(_Worker(enrolment, state, seen_at=now))
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
        )

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
        return StatusReply(
            desired=worker.enrolment.desired,
            reason=worker.enrolment.desired_reason,
            deadline_s=worker.enrolment.desired_deadline_s,
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

    async def wish(self, name: str, ask: WishRequest) -> WorkerView:
        if ask.deadline_s is not None and ask.desired is not Desired.DRAIN:
            raise BadRequest("only a drain has a deadline", desired=ask.desired.value)
        if await self._store.wish(name, ask, then=self._note_wish) is None:
            raise UnknownWorker(f"there is no worker called {name!r}", name=name)
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
        """Whoever was not heard of for `silent_after_s` is silent."""
        for worker in self._overdue():
            self._move(worker, WorkerEvent.FALL_SILENT)

    def _overdue(self) -> Iterator[_Worker]:
        limit = self._runtime.mono() - self._settings.silent_after_s
        for worker in self._workers.values():
            if worker.seen_at < limit and SHOWN[worker.state] is not WorkerStatus.OFFLINE:
                yield worker

    def _move(self, worker: _Worker, event: WorkerEvent) -> None:
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

    def _keep(self, worker: _Worker) -> None:
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
        self._keep(_Worker(enrolment, state, seen_at=self._runtime.mono()))
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
        log.info(
            "worker.wished",
            worker_id=enrolment.worker_id,
            name=enrolment.name,
            desired=enrolment.desired.value,
            reason=enrolment.desired_reason,
        )

    def _see_off(self, worker_id: WorkerId) -> None:
        worker = self._workers[worker_id]
        worker.state = after(worker.state, WorkerEvent.LEAVE)
        worker.attempts, worker.free_slots = (), 0
        log.info("worker.left", worker_id=worker_id, name=worker.enrolment.name)

    def _forget(self, enrolment: Enrolment) -> None:
        del self._workers[enrolment.worker_id], self._by_name[enrolment.name]
        log.info("worker.removed", worker_id=enrolment.worker_id, name=enrolment.name)

    # -- views --------------------------------------------------------------------------------

    def _named(self, name: str) -> _Worker:
        worker = self._by_name.get(name)
        if worker is None:
            raise UnknownWorker(f"there is no worker called {name!r}", name=name)
        return worker

    def _view(self, worker: _Worker) -> WorkerView:
        known = worker.enrolment
        return WorkerView(
            worker_id=known.worker_id,
            name=known.name,
            incarnation=known.incarnation,
            status=SHOWN[worker.state],
            desired=known.desired,
            reason=known.desired_reason,
            labels=known.labels,
            slots=known.slots,
            free_slots=worker.free_slots,
            attempts=worker.attempts,
            host=known.host,
            pid=known.pid,
            version=known.version,
            enrolled_at=known.enrolled_at,
            silent_s=self._runtime.mono() - worker.seen_at,
        )

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
