"""One claim, from its announcement to its receipt, as a sequence to be read from top to bottom."""

import asyncio
from contextlib import suppress
from functools import partial
from typing import Final

import structlog

from shared.errors import Conflict, Forbidden, NotFound, ServiceError, Unauthenticated
from shared.faultpoints import faultpoint
from shared.ids import WorkerId
from shared.protocol.gateway import (
    ArtifactEntry,
    Claim,
    Outcome,
    RefuseRequest,
    Result,
    RunContext,
    RunRequest,
)
from shared.protocol.pipeline import When
from worker.backoff import Backoff
from worker.crew import Crew
from worker.execution import Execution, Stop
from worker.outbox.interface import CannotKeep
from worker.outbox.record import Record, lasting
from worker.ports import CannotCollect, Process
from worker.presence import NotAcknowledged
from worker.report import Report, spoiled

CALL_TIMEOUT_S = 10.0
_UNBEGUN: Final = Result(
    outcome=Outcome.DRAINED, message="the worker was restarted before the job began"
)
LEAVES_ARTIFACTS = (
    Outcome.EXITED,
    Outcome.SIGNALED,
    Outcome.TIMEOUT,
    Outcome.TASK_ENDED,
    Outcome.TASK_BROKEN,
    Outcome.POSTCHECK_FAILED,
)

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
        self._is_reporting = False
        self._has_slot = True
        self._is_task = False
        crew.slots.take(claim.slots)

    @property
    def phase(self) -> str:
        """What its heartbeats say."""
        return "reporting" if self._is_reporting else self._execution.phase

    @property
    def process(self) -> Process | None:
        """What was started last."""
        return self._execution.process

    @property
    def survives(self) -> bool:
        """Whether a successor can go on with it, if this worker ends now."""
        return self._is_reporting or (self._execution.survives and not self._is_task)

    async def live(self) -> None:
        """The attempt was refused, dropped, or executed and reported."""
        try:
            try:
                if self._declined is not None:
                    raise NotAcknowledged(self._declined)
                await self._crew.presence.announce()
                self._begin()
            except (NotAcknowledged, CannotKeep) as error:
                await self._refuse(str(error))
                return
            context = await self._run()
            if context is not None:
                await self._hand_in(context, await self._execution.run(context))
            await self._settle()
        finally:
            self._leave()

    async def live_on(self, record: Record) -> None:
        """What an earlier worker began was gone on with, as far as it had come, and reported."""
        context = record.context
        try:
            if context is None:  # it may have asked to run it, but has not begun
                if not await self._refuse(str(_UNBEGUN.message)):
                    await self._report(_UNBEGUN, ())
            elif record.result is not None:
                self._vacate()
                await self._execution.reopen(context, record)
                await self._hand_in(context, record.result)
            else:
                await self._hand_in(context, await self._execution.go_on(context, record))
            await self._settle()
        finally:
            self._leave()

    async def _hand_in(self, context: RunContext, result: Result) -> None:
        """The result has its receipt, or there will never be one."""
        crew, done = self._crew, self._execution
        self._vacate()
        self._is_reporting = True
        await faultpoint("worker.result.unnoted", attempt=self.attempt_id)
        crew.outbox.note(self.attempt_id, result=result, usage=done.usage, published=done.published)
        await faultpoint("worker.result.noted", attempt=self.attempt_id)
        done.release()
        artifacts, result = await self._collect(context, result)
        await faultpoint("worker.artifacts.collected", attempt=self.attempt_id)
        await self._expect(artifacts)
        await self._report(result, artifacts)

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
            self._execution.stop(stop, why, grace_s)

    # -- refuse, run -------------------------------------------------------------------------

    async def _refuse(self, reason: str) -> bool:
        """The job is back in its place. False: it has lapsed to it, or was not ours to refuse."""
        log.warning("attempt.refused", attempt_id=self.attempt_id, reason=reason)
        ask = RefuseRequest(
            attempt_id=self.attempt_id,
            worker_id=self.worker_id,
            fence=self.fence,
            reason=reason[:500],
        )
        backoff = Backoff(self._crew.runtime, cap_s=2.0)
        lapses_at = self._claimed_at + self._claim.start_ttl_s
        while self._crew.runtime.mono() < lapses_at:
            try:
                async with asyncio.timeout(CALL_TIMEOUT_S):
                    await self._crew.gateway.refuse(ask)
            except (Conflict, NotFound):
                return False
            except (ServiceError, TimeoutError):
                await self._crew.runtime.sleep(backoff.next_s())
            else:
                return True
        return False

    def _begin(self) -> None:
        """A successor will know of the attempt. CannotKeep."""
        self._crew.outbox.begin(
            Record(
                claim=self._claim.model_copy(update={"token": None}),
                worker_id=self.worker_id,
                since=self._crew.runtime.mono(),
            )
        )

    async def _run(self) -> RunContext | None:
        """The try is counted and the lease held; or None: the job is not ours to start.

        Sent until answered: when the first answer was lost, the try was spent already. A token
        that is turned down is an answer too: it does not get better, and the job lapses to its
        place with a new one.
        """
        crew = self._crew
        ask = RunRequest(
            attempt_id=self.attempt_id,
            worker_id=self.worker_id,
            fence=self.fence,
            host=crew.settings.host,
            pid=crew.settings.pid,
        )
        backoff = Backoff(crew.runtime, cap_s=2.0)
        first_sent_at = crew.runtime.mono()
        while True:
            try:
                async with asyncio.timeout(CALL_TIMEOUT_S):
                    context = await crew.gateway.run(ask)
            except (Conflict, NotFound, Unauthenticated, Forbidden) as error:
                log.warning("attempt.not_started", attempt_id=self.attempt_id, error=error.code)
                return None
            except (ServiceError, TimeoutError):
                await crew.runtime.sleep(backoff.next_s())
            else:
                # After a long while of asking little of the lease may be left. Then the fence
                # is due at once, unless the next heartbeat is quicker.
                crew.leases.hold(self, context, first_sent_at)
                self._is_task = context.task is not None
                crew.outbox.note(
                    self.attempt_id,
                    context=lasting(context),
                    is_task=context.task is not None,
                    held_at=crew.runtime.mono(),
                )
                await faultpoint("worker.run.after", attempt=self.attempt_id)
                return context

    # -- report ------------------------------------------------------------------------------

    async def _collect(
        self, context: RunContext, result: Result
    ) -> tuple[tuple[ArtifactEntry, ...], Result]:
        """What the job left. A failed job may leave less than it promised."""
        files = self._execution.files
        is_good = result.outcome is Outcome.EXITED and result.exit_code == 0
        wanted = {When.ON_SUCCESS: is_good, When.ON_FAILURE: not is_good, When.ALWAYS: True}
        promised = context.artifacts if wanted[context.artifacts_when] else ()
        globs = (*promised, *self._execution.published)
        limits = self._execution.artifact_limits
        if is_good:
            await self._execution.save_cache(context)
        if not globs or files is None or result.outcome not in LEAVES_ARTIFACTS:
            return (), result
        if is_good:
            try:
                return tuple(await files.find_artifacts(globs, limits)), result
            except CannotCollect as error:
                return (), spoiled(result, str(error))
        found: dict[str, ArtifactEntry] = {}
        for glob in globs:
            with suppress(CannotCollect):
                found |= {e.path: e for e in await files.find_artifacts([glob], limits)}
        return tuple(found[path] for path in sorted(found)), result

    async def _expect(self, artifacts: tuple[ArtifactEntry, ...]) -> None:
        """If the receipt is late, what the job left is made to survive a loss of power."""
        files, crew = self._execution.files, self._crew
        if files is None:
            return
        size = await files.log_size() + sum(entry.size_bytes for entry in artifacts)
        crew.outbox.hold(self.attempt_id, size)
        crew.parking.expect(self.attempt_id, partial(files.sync, [e.path for e in artifacts]))

    async def _report(self, result: Result, artifacts: tuple[ArtifactEntry, ...]) -> None:
        crew, done = self._crew, self._execution
        report = Report(
            self,
            crew.gateway,
            crew.runtime,
            is_gone=lambda: self._is_gone,
            part_bytes=done.part_bytes,
        )
        await report.deliver(result, done.usage, artifacts, done.files, done.stream)

    def _vacate(self) -> None:
        """The slot is free. Safe to repeat."""
        if self._has_slot:
            self._has_slot = False
            self._crew.slots.release(self._claim.slots)
