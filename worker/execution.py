"""The part of an attempt that happens on this machine: checks, the command, checks again.

It can be stopped at any moment, for one of several reasons; the first one counts. A success is
known only when the last post-check has passed.
"""

import asyncio
import glob
from collections.abc import Awaitable, Mapping
from contextlib import suppress
from dataclasses import replace
from enum import StrEnum
from typing import Final

import structlog

from shared.faultpoints import faultpoint
from shared.protocol.gateway import Outcome, Result, RunContext, Usage
from shared.protocol.pipeline import CacheSpec
from worker.checking import POST, PRE, checks_launch, flaw_of, needs_look
from worker.containing import container_of, folder_of, why_refused
from worker.crew import Crew
from worker.environment import job_env, secrets_in
from worker.inputs import Inputs
from worker.lacks import is_machines_fault
from worker.lease import Holder
from worker.logstream import LogStream
from worker.outbox.record import RESUMED, Record, lasting
from worker.policy.gatekeeper import Forbidden, Gatekeeper
from worker.ports import (
    ArtifactLimits,
    AttemptFiles,
    CannotCollect,
    CannotStart,
    Exit,
    Launch,
    Process,
    TaskLaunch,
)
from worker.tasks.masking import Masker, TooManySecrets
from worker.tasks.outcome import judge_task, with_command

NOTHING_USED: Final = Usage(wall_s=0.0, cpu_s=None, max_rss_bytes=None)

log = structlog.get_logger()


class Stop(StrEnum):
    """Why a job is stopped from outside."""

    TIMEOUT = "timeout"
    CANCELLED = "cancelled"
    DRAINED = "drained"
    PREEMPTED = "preempted"
    GONE = "gone"
    FENCED = "fenced"


OUTCOME_OF: Mapping[Stop, Outcome] = {
    Stop.TIMEOUT: Outcome.TIMEOUT,
    Stop.CANCELLED: Outcome.CANCELLED,
    Stop.DRAINED: Outcome.DRAINED,
    Stop.PREEMPTED: Outcome.PREEMPTED,
    Stop.GONE: Outcome.DRAINED,  # evidence only: the job service has moved on
    Stop.FENCED: Outcome.DRAINED,  # the job is not to blame, should the result count after all
}
BROKEN: Mapping[str, Outcome] = {"oom": Outcome.OOM, "lease": Outcome.DRAINED}
DURING: Mapping[str, str] = {PRE: " in its pre-checks", POST: " in its post-checks"}


class Execution:
    """One attempt's processes, one after the other."""

    def __init__(self, holder: Holder, crew: Crew) -> None:
        self.phase = "starting"
        self.process: Process | None = None
        self.files: AttemptFiles | None = None
        self.stream: LogStream | None = None
        self.usage = NOTHING_USED
        self.published: tuple[str, ...] = ()  # globs of artifacts that a task named while it ran
        self._holder = holder
        self._attempt_id = holder.attempt_id
        self._cache_key: str | None = None  # under which something may be kept
        self.part_bytes: int | None = None  # of artifacts, as the job service takes them
        self.artifact_limits = ArtifactLimits()
        self._masker = Masker()
        self._log_limit: int | None = None
        self._crew = crew
        self._stopped: Stop | None = None
        self._why = ""
        self._is_running = False
        self._is_timed = False
        self._is_contained = False
        self._pid: int | None = None  # of the process that was started last
        self._deadline: float | None = None  # when the time of all phases is over
        self._kill_at = float("inf")

    def stop(self, stop: Stop, why: str, grace_s: float) -> None:
        """SIGTERM now, SIGKILL after `grace_s`. The first reason counts, the earliest kill too."""
        is_first = self._stopped is None
        if is_first:
            self._stopped, self._why = stop, why
            self._crew.outbox.note(self._attempt_id, stop=stop.value, why=why)
            log.info("attempt.stopped", attempt_id=self._attempt_id, stop=stop.value, why=why)
        if self._is_running and self.process is not None:
            if is_first:
                self.process.terminate()
            self._arm_kill(grace_s)

    @property
    def survives(self) -> bool:
        """Whether a successor can go on with what runs."""
        return self._is_running and self.phase in RESUMED and not self._is_contained

    @property
    def _is_stopped(self) -> bool:
        """Asked anew after each wait, in which it may have happened."""
        return self._stopped is not None

    async def run(self, context: RunContext) -> Result:
        """How it ended. Nothing that was started lives any more."""
        return await self._ended(self._go_through(context))

    async def go_on(self, context: RunContext, record: Record) -> Result:
        """The same for what an earlier worker has begun, as far as that is known."""
        return await self._ended(self._go_on(context, record))

    async def reopen(self, context: RunContext, record: Record) -> None:
        """What an earlier worker left of an attempt that has ended can be reported."""
        self._take_up(record)
        try:
            env = job_env(self._crew.settings, context, self._attempt_id)
            self._mask(env, context)
            self.files = await self._reopened(context, env)
        except CannotStart as error:  # this worker's settings name another folder, or none
            log.error("attempt.files_lost", attempt_id=self._attempt_id, error=str(error))
            return
        self._listen(self.files)
        if self.stream is not None:
            self._crew.streams.close(self.stream)

    def release(self) -> None:
        """No successor finds the last process any more: how it all ended was noted."""
        if self.process is not None:
            self.process.release()

    async def _ended(self, way: Awaitable[Result]) -> Result:
        try:
            result = await way
            return result.model_copy(update={"message": self._masker.mask_text(result.message)})
        except Forbidden as error:
            return _failure(Outcome.FORBIDDEN, self._masker.mask_text(str(error)))
        except (CannotStart, CannotCollect) as error:
            why = self._masker.mask_text(str(error))
            if is_machines_fault(error):
                self._crew.slots.rest(why)
                self._crew.presence.changed()
                return _failure(Outcome.DRAINED, f"the worker could not run the job: {why}")
            is_start = isinstance(error, CannotStart)
            return _failure(Outcome.SPAWN_ERROR if is_start else Outcome.INPUT_ERROR, why)
        finally:
            self._crew.alarms.disarm((self._attempt_id, "timeout"))
            if self.stream is not None:
                self._crew.streams.close(self.stream)

    # -- the phases ----------------------------------------------------------------------------

    async def _go_through(self, context: RunContext) -> Result:
        settings = self._crew.settings
        refusal = why_refused(settings, context)
        if refusal is not None:
            # Before its folder is opened, which may be one that only the image has.
            raise Forbidden(refusal)
        env = job_env(settings, context, self._attempt_id)
        self._mask(env, context)
        folder = folder_of(settings, context, env)
        files = self.files = await self._crew.workspace.open(self._attempt_id, folder)
        if context.image is not None and not settings.contains(context):
            await self._say(f"image {context.image!r} ignored: runs on the machine", files)
        if context.inputs:
            await self._place_inputs(context, files)
        if context.cache is not None:
            await self._restore_cache(context.cache, context.pipeline, files)
        keeper = Gatekeeper(settings.security, context)
        if not keeper.is_idle:
            admitted = await self._admit(keeper, with_command(context), files)
            if admitted is not context:
                context = admitted
                self._crew.outbox.note(self._attempt_id, context=lasting(context))
        return await self._carry_out(PRE, context, env, files, None)

    async def _carry_out(
        self,
        phase: str,
        context: RunContext,
        env: Mapping[str, str],
        files: AttemptFiles,
        found: Process | None,
    ) -> Result:
        """From `phase` on, whose process was `found` if it was started already."""
        if phase == PRE and (found or (needs_look(context) and not self._is_stopped)):
            flaw = await self._check(PRE, context, env, files, found)
            if flaw is not None:
                return _failure(Outcome.PRECHECK_FAILED, flaw)
            found = None
        ended: Exit | None = None
        result = Result(outcome=Outcome.EXITED, exit_code=0)
        if phase != POST:
            if self._is_stopped and found is None:
                return self._stop_result(None)
            await faultpoint("worker.spawn.before", attempt=self._attempt_id)
            launch = Launch(
                argv=context.argv,
                env=env,
                cwd=files.cwd,
                log=files.log,
                task=self._task(context),
                limits=context.limits,
                scratch=files.scratch,
                container=container_of(self._crew.settings, context, env),
            )
            self._is_contained = launch.container is not None
            ended = await self._execute(launch, "executing", context, found)
            result = _result_of(ended)
            found = None
        is_good = result.outcome is Outcome.EXITED and result.exit_code == 0
        if is_good and (found or (context.post_checks and not self._is_stopped)):
            flaw = await self._check(POST, context, env, files, found)
            if flaw is not None:
                return Result(outcome=Outcome.POSTCHECK_FAILED, exit_code=0, message=flaw)
        return self._stop_result(ended) if self._is_stopped else result

    async def _go_on(self, context: RunContext, record: Record) -> Result:
        crew = self._crew
        env = job_env(crew.settings, context, self._attempt_id)
        self._mask(env, context)
        files = self.files = await self._reopened(context, env)
        self._take_up(record)
        found = await crew.runner.attach(self._attempt_id)
        may_go_on = crew.settings.reattach and record.phase in RESUMED and not record.is_task
        if found is not None and (not may_go_on or found.pid == record.earlier):
            found.kill()
            await found.reap()
            found.release()
            found = None
        if found is not None:
            log.info("attempt.resumed", attempt_id=self._attempt_id, pid=found.pid)
            return await self._carry_out(record.phase, context, env, files, found)
        self._listen(files)
        if self._is_stopped:
            return self._stop_result(None)
        if record.pid is None:
            return _failure(Outcome.DRAINED, "the worker was restarted before the job began")
        return _failure(Outcome.LOST, "worker crashed")

    async def _reopened(self, context: RunContext, env: Mapping[str, str]) -> AttemptFiles:
        folder = folder_of(self._crew.settings, context, env)
        return await self._crew.workspace.reopen(self._attempt_id, folder)

    def _take_up(self, record: Record) -> None:
        """What was known of the attempt is known again."""
        self._pid, self._deadline = record.pid, record.deadline
        self.usage, self.published = record.usage or NOTHING_USED, record.published
        if record.stop is not None:
            self._stopped, self._why = Stop(record.stop), record.why

    def _task(self, context: RunContext) -> TaskLaunch | None:
        if context.task is None:
            return None
        return TaskLaunch(context, self._holder.worker_id, lambda: self._is_stopped)

    async def _place_inputs(self, context: RunContext, files: AttemptFiles) -> None:
        crew = self._crew
        inputs = Inputs(self._holder, crew.gateway, crew.runtime, lambda: self._is_stopped)
        try:
            async with asyncio.timeout(context.timeout_s):
                await inputs.place(context.inputs, files)
        except TimeoutError:
            late = f"inputs did not arrive within {context.timeout_s:g} s"
            raise CannotCollect(late) from None

    async def _restore_cache(self, cache: CacheSpec, pipeline: str, files: AttemptFiles) -> None:
        """The job finds what it asked for, if that is here. Without it, it runs as well."""
        try:
            key, found = await files.restore_cache(pipeline, cache, lambda: self._is_stopped)
        except CannotCollect as error:
            await self._say(f"cache {cache.key!r}: {error}", files)
            return
        if found != key:
            self._cache_key = key
        await self._say(
            f"cache {key!r}: " + ("nothing kept" if found is None else f"restored {found!r}"),
            files,
        )

    async def save_cache(self, context: RunContext) -> None:
        """After a success: a later run finds what the job left, unless it had it already."""
        key, files = self._cache_key, self.files
        if context.cache is None or key is None or files is None:
            return
        try:
            kept = await files.save_cache(context.pipeline, context.cache, key)
            words = "there is no room for it" if kept is None else f"{kept:,} files kept"
        except CannotCollect as error:
            words = str(error)
        await self._say(f"cache {key!r}: {words}", files)

    async def _admit(
        self, keeper: Gatekeeper, context: RunContext, files: AttemptFiles
    ) -> RunContext:
        """What may be started. Forbidden: nothing may."""

        async def run(launch: Launch) -> Exit:
            return await self._execute(launch, "starting", context, None)

        try:
            admitted, warnings = await keeper.admit(context, files, self._crew.runtime, run)
        except Forbidden as error:
            if self._is_stopped:
                return context  # which will not be started
            await self._say(f"forbidden: {error}", files)
            raise
        for warning in warnings:
            await self._say(f"the policy warns: {warning}", files)
        return admitted

    async def _check(
        self,
        phase: str,
        context: RunContext,
        env: Mapping[str, str],
        files: AttemptFiles,
        found: Process | None,
    ) -> str | None:
        """Why a check did not pass; None: all did, or the attempt was stopped meanwhile."""
        launch = checks_launch(phase, context, env, files, self._crew.settings.plugin_dirs)
        try:
            ended = await self._execute(launch, phase, context, found)
        except CannotStart as error:
            return f"the checks cannot be run: {error}"[:2_000]
        if self._is_stopped:
            await self._say(f"{phase.replace('_', '-')} were stopped: {self._why}", files)
            return None
        return await flaw_of(ended, files)

    # -- one process ---------------------------------------------------------------------------

    async def _execute(
        self, launch: Launch, phase: str, context: RunContext, found: Process | None
    ) -> Exit:
        """The process tree was started, or found, and is gone again. CannotStart."""
        crew = self._crew
        process = found or await self._start(launch, phase, context.timeout_s)
        self.process = process
        self._is_running = True
        self.phase = phase
        if self._is_stopped:  # stopped while it was being started
            process.terminate()
            self._arm_kill(crew.settings.grace_s)
        await faultpoint("worker.spawn.after", attempt=self._attempt_id)
        self._time(context.timeout_s)
        self._listen(files=self.files)
        try:
            ended = await process.wait()
            await process.reap()
        finally:
            self._is_running = False
            crew.alarms.disarm((self._attempt_id, "kill"))
        for remark in ended.remarks:
            if self.files is not None:
                await self._say(remark, self.files)
        self.usage = _sum(self.usage, ended.usage)
        if ended.task is not None:
            self.published = tuple(glob.escape(path) for path in ended.task.artifacts)
        return ended

    async def _start(self, launch: Launch, phase: str, timeout_s: float) -> Process:
        """The phase's process. A successor can tell it from that of the phase before, at any
        moment: that one is noted as such, and then forgotten by the runner, before this starts."""
        crew = self._crew
        crew.outbox.note(
            self._attempt_id, phase=phase, pid=None, earlier=self._pid, usage=self.usage
        )
        await faultpoint("worker.phase.noted", attempt=self._attempt_id)
        self.release()
        until = crew.leases.ends_at(self._attempt_id)
        process = await crew.runner.start(replace(launch, attempt_id=self._attempt_id, until=until))
        await faultpoint("worker.spawn.unnoted", attempt=self._attempt_id)
        self._pid = process.pid
        self._deadline = self._deadline or crew.runtime.mono() + timeout_s
        crew.outbox.note(self._attempt_id, pid=process.pid, deadline=self._deadline)
        return process

    def _time(self, timeout_s: float) -> None:
        """All phases together are stopped after `timeout_s`, counted from the first of them."""
        if self._is_timed:
            return
        self._is_timed = True

        def stop() -> None:
            why = f"timed out after {timeout_s:g} s{DURING.get(self.phase, '')}"
            self.stop(Stop.TIMEOUT, why, self._crew.settings.grace_s)

        if self._deadline is None:  # an earlier worker died before it noted when that was
            self._deadline = self._crew.runtime.mono() + timeout_s
        self._crew.alarms.arm((self._attempt_id, "timeout"), self._deadline, stop)

    def _arm_kill(self, grace_s: float) -> None:
        at = self._crew.runtime.mono() + grace_s
        if at < self._kill_at and self.process is not None:
            self._kill_at = at
            self._crew.alarms.arm((self._attempt_id, "kill"), at, self.process.kill)

    # -- the log -------------------------------------------------------------------------------

    def _mask(self, env: Mapping[str, str], context: RunContext) -> None:
        """The log that is sent has none of the job's secrets, and is within its limit."""
        try:
            self._masker.add(secrets_in(env, self._crew.settings.masked))
        except TooManySecrets as error:
            raise CannotStart(f"its environment has too many secrets: {error}") from None
        limits = (self._crew.settings.max_log_bytes, context.max_log_bytes)
        self._log_limit = min(limit for limit in limits if limit is not None)
        self.part_bytes = context.part_bytes
        settings = self._crew.settings
        each = (settings.max_artifact_bytes, context.max_artifact_bytes)
        self.artifact_limits = ArtifactLimits(
            each_bytes=min(limit for limit in each if limit is not None),
            total_bytes=settings.max_artifacts_bytes,
        )

    def _listen(self, files: AttemptFiles | None) -> None:
        """What is written into the log is sent as it comes."""
        if self.stream is None and files is not None:
            crew = self._crew
            self.stream = LogStream(
                self._holder,
                files,
                crew.gateway,
                crew.runtime,
                self._holder.cancel,
                self._masker,
                self._log_limit,
            )
            crew.streams.open(self.stream)

    async def _say(self, line: str, files: AttemptFiles) -> None:
        """A line of the worker's own is in the job's log, if that can be written at all."""
        self._listen(files)
        with suppress(CannotStart):
            await files.append_log(f"[drawbar] {line}")

    # -- the result ----------------------------------------------------------------------------

    def _stop_result(self, ended: Exit | None) -> Result:
        assert self._stopped is not None
        return Result(
            outcome=OUTCOME_OF[self._stopped],
            exit_code=None if ended is None else ended.exit_code,
            signal=None if ended is None else ended.signal,
            message=self._why[:2_000],
        )


def _result_of(ended: Exit) -> Result:
    if ended.breach is not None:
        return _failure(BROKEN.get(ended.breach.kind, Outcome.OVER_LIMIT), ended.breach.message)
    if ended.lost and (ended.task is None or ended.task.state is None):
        return _failure(Outcome.CONTAINER_LOST, ended.lost)
    if ended.task is not None:
        return judge_task(ended, ended.task)
    outcome = Outcome.EXITED if ended.exit_code is not None else Outcome.SIGNALED
    return Result(outcome=outcome, exit_code=ended.exit_code, signal=ended.signal)


def _saying(result: Result, message: str) -> Result:
    return result.model_copy(update={"message": message[:2_000]})


def _failure(outcome: Outcome, message: str) -> Result:
    return Result(outcome=outcome, message=message[:2_000])


def _sum(before: Usage, more: Usage) -> Usage:
    """What processes that ran one after the other have used together."""
    if before is NOTHING_USED:
        return more
    peaks = [u.max_rss_bytes for u in (before, more) if u.max_rss_bytes is not None]
    is_known = before.cpu_s is not None and more.cpu_s is not None
    return Usage(
        wall_s=before.wall_s + more.wall_s,
        cpu_s=(before.cpu_s or 0) + (more.cpu_s or 0) if is_known else None,
        max_rss_bytes=max(peaks, default=None),
    )
