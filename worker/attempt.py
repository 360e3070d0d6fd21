"""One claim, from its announcement to its receipt, as a sequence to be read from top to bottom."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum

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
    Usage,
)
from shared.runtime import Runtime
from shared.services import Gateway
from worker.alarms import Alarms
from worker.backoff import Backoff
from worker.inputs import Inputs
from worker.lease import Leases
from worker.logstream import LogStream, LogStreams
from worker.polling import Slots
from worker.ports import (
    AttemptFiles,
    CannotCollect,
    CannotStart,
    Exit,
    Launch,
    Process,
    Runner,
    Workspace,
)
from worker.presence import NotAcknowledged, Presence
from worker.report import Report, spoiled
from worker.settings import WorkerSettings

CALL_TIMEOUT_S = 10.0
NOTHING_USED = Usage(wall_s=0.0, cpu_s=None, max_rss_bytes=None)

log = structlog.get_logger()


class Stop(StrEnum):
    """Why a job is stopped from outside."""

    TIMEOUT = "timeout"
    CANCELLED = "cancelled"
    DRAINED = "drained"
    GONE = "gone"
    FENCED = "fenced"


OUTCOME_OF: Mapping[Stop, Outcome] = {
    Stop.TIMEOUT: Outcome.TIMEOUT,
    Stop.CANCELLED: Outcome.CANCELLED,
    Stop.DRAINED: Outcome.DRAINED,
    Stop.GONE: Outcome.DRAINED,  # evidence only: the job service has moved on
    Stop.FENCED: Outcome.DRAINED,  # the job is not to blame, should the result count after all
}


@dataclass(frozen=True, slots=True)
class Crew:
    """Everything of the worker that an attempt works with."""

    settings: WorkerSettings
    gateway: Gateway
    runtime: Runtime
    runner: Runner
    workspace: Workspace
    presence: Presence
    slots: Slots
    leases: Leases
    alarms: Alarms
    streams: LogStreams


class Attempt:
    """A claim that this worker holds. `live` is its whole life; the rest interrupts it."""

    def __init__(self, claim: Claim, worker_id: WorkerId, crew: Crew) -> None:
        self.attempt_id = claim.attempt_id
        self.worker_id = worker_id
        self.fence = claim.fence
        self.phase = "starting"
        self.process: Process | None = None
        self._claim = claim
        self._claimed_at = crew.runtime.mono()
        self._crew = crew
        self._files: AttemptFiles | None = None
        self._stream: LogStream | None = None
        self._stopped: Stop | None = None
        self._why = ""
        self._declined: str | None = None
        self._is_gone = False
        self._is_running = False
        self._has_slot = True
        self._kill_at = float("inf")
        crew.slots.take()

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
            result, usage = await self._execute(context)
            self._vacate()
            self.phase = "reporting"
            artifacts, result = await self._collect(context, result)
            await self._report(result, usage, artifacts)
        finally:
            self._crew.leases.drop(self.attempt_id)
            self._vacate()
            self._crew.slots.settled()
        if self._files is not None:
            await self._files.remove()

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

    def _time_out(self, timeout_s: float) -> None:
        self._stop(Stop.TIMEOUT, f"timed out after {timeout_s:g} s", self._crew.settings.grace_s)

    def _stop(self, stop: Stop, why: str, grace_s: float) -> None:
        """SIGTERM now, SIGKILL after `grace_s`. The first reason counts, the earliest kill too."""
        is_first = self._stopped is None
        if is_first:
            self._stopped, self._why = stop, why
            if self.phase != "reporting":
                log.info("attempt.stopped", attempt_id=self.attempt_id, stop=stop.value, why=why)
        if self._is_running and self.process is not None:
            if is_first:
                self.process.terminate()
            self._arm_kill(grace_s)

    def _arm_kill(self, grace_s: float) -> None:
        at = self._crew.runtime.mono() + grace_s
        if at < self._kill_at and self.process is not None:
            self._kill_at = at
            self._crew.alarms.arm((self.attempt_id, "kill"), at, self.process.kill)

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

    # -- execute -----------------------------------------------------------------------------

    async def _execute(self, context: RunContext) -> tuple[Result, Usage]:
        """The process tree was started and is gone again; or it never started."""
        crew = self._crew
        try:
            self._files = await crew.workspace.open(self.attempt_id, context.working_dir)
            if context.inputs:
                inputs = Inputs(self, crew.gateway, crew.runtime, lambda: self._stopped is not None)
                async with asyncio.timeout(context.timeout_s):
                    await inputs.place(context.inputs, self._files)
            if self._stopped is not None:
                return Result(outcome=OUTCOME_OF[self._stopped], message=self._why), NOTHING_USED
            ended = await self._run_process(context, self._files)
        except CannotStart as error:
            return _failure(Outcome.SPAWN_ERROR, str(error)), NOTHING_USED
        except CannotCollect as error:
            return _failure(Outcome.INPUT_ERROR, str(error)), NOTHING_USED
        except TimeoutError:
            late = f"inputs did not arrive within {context.timeout_s:g} s"
            return _failure(Outcome.INPUT_ERROR, late), NOTHING_USED
        return self._judge(ended), ended.usage

    async def _run_process(self, context: RunContext, files: AttemptFiles) -> Exit:
        crew = self._crew
        launch = Launch(
            argv=context.argv,
            env={
                **crew.settings.base_env,
                **context.env,
                "DRAWBAR_RUN_ID": str(context.run_id),
                "DRAWBAR_JOB_ID": context.job_id,
                "DRAWBAR_ATTEMPT_ID": self.attempt_id,
                "DRAWBAR_FENCE": str(self.fence),
                "DRAWBAR_TRY": str(context.tries),
            },
            cwd=files.cwd,
            log=files.log,
        )
        await faultpoint("worker.spawn.before")
        self.process = process = await crew.runner.start(launch)
        self._is_running = True
        self.phase = "executing"
        if self._stopped is not None:  # stopped while it was being started
            process.terminate()
            self._arm_kill(crew.settings.grace_s)
        await faultpoint("worker.spawn.after")
        timeout_s = context.timeout_s
        crew.alarms.arm(
            (self.attempt_id, "timeout"),
            crew.runtime.mono() + timeout_s,
            lambda: self._time_out(timeout_s),
        )
        self._stream = stream = LogStream(self, files, crew.gateway, crew.runtime, self.cancel)
        crew.streams.open(stream)
        try:
            ended = await process.wait()
            await process.reap()
        finally:
            self._is_running = False
            crew.streams.close(stream)
            crew.alarms.disarm((self.attempt_id, "timeout"))
            crew.alarms.disarm((self.attempt_id, "kill"))
        return ended

    def _judge(self, ended: Exit) -> Result:
        outcome = Outcome.EXITED if ended.exit_code is not None else Outcome.SIGNALED
        if self._stopped is not None:
            outcome = OUTCOME_OF[self._stopped]
        return Result(
            outcome=outcome,
            exit_code=ended.exit_code,
            signal=ended.signal,
            message=self._why[:2_000],
        )

    # -- report ------------------------------------------------------------------------------

    async def _collect(
        self, context: RunContext, result: Result
    ) -> tuple[tuple[ArtifactEntry, ...], Result]:
        """What the job left. A failed job may leave less than it promised."""
        if not context.artifacts or self._files is None or result.outcome is not Outcome.EXITED:
            return (), result
        if result.exit_code == 0:
            try:
                return tuple(await self._files.find_artifacts(context.artifacts)), result
            except CannotCollect as error:
                return (), spoiled(result, str(error))
        found: dict[str, ArtifactEntry] = {}
        for glob in context.artifacts:
            with suppress(CannotCollect):
                found |= {e.path: e for e in await self._files.find_artifacts([glob])}
        return tuple(found[path] for path in sorted(found)), result

    async def _report(
        self, result: Result, usage: Usage, artifacts: tuple[ArtifactEntry, ...]
    ) -> None:
        crew = self._crew
        report = Report(self, crew.gateway, crew.runtime, is_gone=lambda: self._is_gone)
        await report.deliver(result, usage, artifacts, self._files, self._stream)

    def _vacate(self) -> None:
        """The slot is free. Safe to repeat."""
        if self._has_slot:
            self._has_slot = False
            self._crew.slots.release()


def _failure(outcome: Outcome, message: str) -> Result:
    return Result(outcome=outcome, message=message[:2_000])
