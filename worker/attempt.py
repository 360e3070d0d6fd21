"""One claim, from its announcement to its receipt, as a sequence to be read from top to bottom."""

from collections.abc import Awaitable
from functools import partial

import structlog

from shared.faultpoints import faultpoint
from shared.ids import WorkerId
from shared.protocol.gateway import (
    INTERNAL_ERROR,
    ArtifactEntry,
    Claim,
    Outcome,
    Result,
    RunContext,
)
from worker.artifacts.promised import collect_promised
from worker.asking import ask_to_run, refuse
from worker.crew import Crew
from worker.ending import CRASHED, UNBEGUN, Stop, failure, is_success
from worker.execution import Execution
from worker.outbox.interface import CannotKeep
from worker.outbox.record import Record, lasting
from worker.ports import Process
from worker.presence import NotAcknowledged
from worker.report import Report

log = structlog.get_logger()


class Attempt:
    """A claim that this worker holds. `live` is its whole life; the rest interrupts it."""

    def __init__(self, claim: Claim, worker_id: WorkerId, crew: Crew) -> None:
        self.attempt_id = claim.attempt_id
        self.worker_id = worker_id
        self.fence = claim.fence
        self._claim = claim
        self._claimed_at = crew.runtime.mono()
        self._crew = crew
        self._execution = Execution(self, crew)
        self._declined: str | None = None
        self._is_gone = False
        self._is_allowed = False  # to run its job, with a lease
        self._is_reporting = False
        self._is_told = False  # how it ended, as far as the job service wants to know
        self._has_slot = True
        self._is_task = False
        crew.slots.take(claim.slots)

    @property
    def phase(self) -> str:
        """What its heartbeats say."""
        return "reporting" if self._is_reporting else self._execution.processes.phase

    @property
    def process(self) -> Process | None:
        """What was started last."""
        return self._execution.processes.latest

    @property
    def survives(self) -> bool:
        """Whether a successor can go on with it, if this worker ends now."""
        return self._is_reporting or (self._execution.processes.survive and not self._is_task)

    @property
    def needs_worker(self) -> bool:
        """Whether it does something here, or may soon; else it only waits for the gateway."""
        return self._is_allowed and not self._is_reporting

    async def live(self) -> None:
        """The attempt was refused, dropped, or executed and reported."""
        await self._live_through(self._begin_and_run())

    async def live_on(self, record: Record) -> None:
        """What an earlier worker began was gone on with, as far as it had come, and reported."""
        await self._live_through(self._go_on(record))

    async def _live_through(self, life: Awaitable[None]) -> None:
        try:
            try:
                await life
            except Exception as error:  # a bug of ours, or what nobody thought that a disk may do
                await self._break_off(error)
        finally:
            self._leave()

    async def _begin_and_run(self) -> None:
        try:
            if self._declined is not None:
                raise NotAcknowledged(self._declined)
            await self._crew.presence.announce()
            since = self._begin()
        except (NotAcknowledged, CannotKeep) as error:
            await self._refuse(str(error))
            return
        context = await self._run(since)
        if context is not None:
            await self._hand_in(context, await self._execution.run(context))
        await self._settle()

    async def _go_on(self, record: Record) -> None:
        context = record.context
        if context is None:  # it may have asked to run it
            if not await self._refuse(UNBEGUN.message):
                await self._report(UNBEGUN if record.has_not_begun else CRASHED)
        elif record.result is not None:
            self._vacate()
            await self._execution.reopen(context, record)
            await self._hand_in(context, record.result)
        else:
            self._is_allowed = True
            await self._hand_in(context, await self._execution.go_on(context, record))
        await self._settle()

    async def _break_off(self, error: Exception) -> None:
        """It costs this attempt only, which is lost: the worker has others in hand."""
        log.error("attempt.broke", attempt_id=self.attempt_id, exc_info=error)
        process = self.process
        if process is not None:
            process.kill()
            await process.reap()
            process.release()
        self._vacate()
        self._is_reporting = True
        try:
            if not self._is_told:
                why = f"{INTERNAL_ERROR}: {type(error).__name__}: {error}"
                await self._report(failure(Outcome.LOST, self._execution.log.mask(why)))
            await self._settle()
        except Exception as again:  # its lease decides, and the next worker tries once more
            log.error("attempt.abandoned", attempt_id=self.attempt_id, error=repr(again))

    async def _hand_in(self, context: RunContext, result: Result) -> None:
        """The result has its receipt, or there will never be one."""
        crew, done = self._crew, self._execution
        processes = done.processes
        self._vacate()
        self._is_reporting = True
        crew.moves.ring()
        await faultpoint("worker.result.unnoted", attempt=self.attempt_id)
        crew.outbox.note(
            self.attempt_id,
            result=result,
            usage=processes.usage,
            published=processes.published,
        )
        await faultpoint("worker.result.noted", attempt=self.attempt_id)
        processes.release()
        if is_success(result):
            await done.keep_cache()
        limits = crew.settings.artifact_limits(context)
        artifacts, result = await collect_promised(
            context, result, processes.published, done.files, limits
        )
        await faultpoint("worker.artifacts.collected", attempt=self.attempt_id)
        await self._expect(artifacts)
        await self._report(result, artifacts, context.part_bytes)

    async def _settle(self) -> None:
        """Nothing is kept of the attempt."""
        await faultpoint("worker.settle.before", attempt=self.attempt_id)
        self._crew.parking.forget(self.attempt_id)
        await self._crew.outbox.settle(self.attempt_id)
        await faultpoint("worker.settle.after", attempt=self.attempt_id)
        if self._execution.files is not None:
            await self._execution.files.remove()

    def _leave(self) -> None:
        self._crew.leases.drop(self.attempt_id)
        self._vacate()
        self._crew.slots.settled()

    # -- interruptions -----------------------------------------------------------------------

    def seek(self) -> None:
        """Before its life has begun: an earlier worker has left it, perhaps with a process."""
        self._execution.processes.is_sought = True

    def decline(self, reason: str) -> None:
        """Before its life has begun: the job is refused unannounced."""
        self._declined = reason

    def cancel(self) -> None:
        self._stop(Stop.CANCELLED, "cancelled", self._crew.settings.grace_s)

    def lose(self, reason: str) -> None:
        self._is_gone = True
        self._stop(Stop.GONE, reason, self._crew.settings.grace_s)

    def fence_off(self, grace_s: float) -> None:
        self._stop(Stop.FENCED, "the lease could not be renewed in time", grace_s)

    def drain(self, grace_s: float) -> None:
        """The worker leaves and cannot wait for this job."""
        self._stop(Stop.DRAINED, "the worker had to leave", grace_s)

    def preempt(self) -> None:
        """Somebody stops the worker at once, whatever it runs."""
        self._stop(Stop.PREEMPTED, "the worker was stopped at once", 0.0)

    def abandon(self) -> None:
        """The worker ends at once, and kills the job: that costs the job no try."""
        self._stop(Stop.PREEMPTED, "the worker was stopped", 0.0)

    def _stop(self, stop: Stop, why: str, grace_s: float) -> None:
        if not self._is_reporting:
            self._execution.processes.stop(stop, why, grace_s)

    # -- what its life is made of ------------------------------------------------------------

    async def _refuse(self, reason: str) -> bool:
        return await refuse(self, self._crew, reason, self._claimed_at + self._claim.start_ttl_s)

    def _begin(self) -> float:
        """When it began. A successor will know of the attempt. CannotKeep."""
        since = self._crew.runtime.mono()
        self._crew.outbox.begin(
            Record(
                claim=self._claim.model_copy(update={"token": None}),
                worker_id=self.worker_id,
                since=since,
            )
        )
        return since

    async def _run(self, since: float) -> RunContext | None:
        """What to run, under a lease that began no earlier than `since`; None: not ours to."""
        crew = self._crew
        context = await ask_to_run(self, crew)
        if context is None:
            return None
        # After a long while of asking little of the lease may be left. Then the fence is due at
        # once, unless the next heartbeat is quicker.
        crew.leases.hold(self, context, since)
        self._is_allowed = True
        crew.moves.ring()
        self._is_task = context.task is not None
        crew.outbox.note(
            self.attempt_id,
            context=lasting(context),
            is_task=self._is_task,
            held_at=crew.runtime.mono(),
        )
        await faultpoint("worker.run.after", attempt=self.attempt_id)
        return context

    async def _expect(self, artifacts: tuple[ArtifactEntry, ...]) -> None:
        """If the receipt is late, what the job left is made to survive a loss of power."""
        files, crew = self._execution.files, self._crew
        if files is None:
            return
        size = await files.log_size() + sum(entry.size_bytes for entry in artifacts)
        crew.outbox.hold(self.attempt_id, size)
        crew.parking.expect(self.attempt_id, partial(files.sync, [e.path for e in artifacts]))

    async def _report(
        self,
        result: Result,
        artifacts: tuple[ArtifactEntry, ...] = (),
        part_bytes: int | None = None,
    ) -> None:
        crew, done = self._crew, self._execution
        report = Report(
            self, crew.gateway, crew.runtime, crew.budget, lambda: self._is_gone, part_bytes
        )
        usage = done.processes.usage
        await report.deliver(result, usage, artifacts, done.files, done.log.stream)
        self._is_told = True

    def _vacate(self) -> None:
        """The slot is free. Safe to repeat."""
        if self._has_slot:
            self._has_slot = False
            self._crew.slots.release(self._claim.slots)
