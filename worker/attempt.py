"""One claim, from its announcement to its receipt, as a sequence to be read from top to bottom."""

import asyncio
from contextlib import suppress

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
from worker.ports import CannotCollect, Process
from worker.presence import NotAcknowledged
from worker.report import Report, spoiled

CALL_TIMEOUT_S = 10.0
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
        crew.slots.take(claim.slots)

    @property
    def phase(self) -> str:
        """What its heartbeats say."""
        return "reporting" if self._is_reporting else self._execution.phase

    @property
    def process(self) -> Process | None:
        """What was started last."""
        return self._execution.process

    async def live(self) -> None:
        """The attempt was refused, dropped, or executed and reported."""
        try:
            try:
                if self._declined is not None:
                    raise NotAcknowledged(self._declined)
                await self._crew.presence.announce()
            except NotAcknowledged as error:
                await self._refuse(str(error))
                return
            context = await self._run()
            if context is None:
                return
            result = await self._execution.run(context)
            self._vacate()
            self._is_reporting = True
            artifacts, result = await self._collect(context, result)
            await self._report(result, artifacts)
        finally:
            self._crew.leases.drop(self.attempt_id)
            self._vacate()
            self._crew.slots.settled()
        if self._execution.files is not None:
            await self._execution.files.remove()

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

    def drain(self) -> None:
        """The worker leaves and cannot wait for this job."""
        self._stop(Stop.DRAINED, "the worker had to leave", self._crew.settings.grace_s)

    def _stop(self, stop: Stop, why: str, grace_s: float) -> None:
        if not self._is_reporting:
            self._execution.stop(stop, why, grace_s)

    # -- refuse, run -------------------------------------------------------------------------

    async def _refuse(self, reason: str) -> None:
        """The job is back in its place, or has lapsed to it."""
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
            await faultpoint("worker.refuse.before_send")
            try:
                async with asyncio.timeout(CALL_TIMEOUT_S):
                    await self._crew.gateway.refuse(ask)
            except (Conflict, NotFound):
                return
            except (ServiceError, TimeoutError):
                await self._crew.runtime.sleep(backoff.next_s())
            else:
                return

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
        await faultpoint("worker.run.before_send")
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
