"""The part of an attempt that happens on this machine: checks, the command, checks again.

It can be stopped at any moment, for one of several reasons; the first one counts. A success is
known only when the last post-check has passed.
"""

import asyncio
import glob
from collections.abc import Mapping
from contextlib import suppress
from enum import StrEnum
from typing import Final

import structlog

from shared.faultpoints import faultpoint
from shared.protocol.gateway import Outcome, Result, RunContext, Usage
from shared.protocol.pipeline import CacheSpec
from worker.checking import POST, PRE, checks_launch, flaw_of, needs_look
from worker.crew import Crew
from worker.environment import filled, job_env, secrets_in
from worker.inputs import Inputs
from worker.lease import Holder
from worker.logstream import LogStream
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
    GONE = "gone"
    FENCED = "fenced"


OUTCOME_OF: Mapping[Stop, Outcome] = {
    Stop.TIMEOUT: Outcome.TIMEOUT,
    Stop.CANCELLED: Outcome.CANCELLED,
    Stop.DRAINED: Outcome.DRAINED,
    Stop.GONE: Outcome.DRAINED,  # evidence only: the job service has moved on
    Stop.FENCED: Outcome.DRAINED,  # the job is not to blame, should the result count after all
}
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
        self._kill_at = float("inf")

    def stop(self, stop: Stop, why: str, grace_s: float) -> None:
        """SIGTERM now, SIGKILL after `grace_s`. The first reason counts, the earliest kill too."""
        is_first = self._stopped is None
        if is_first:
            self._stopped, self._why = stop, why
            log.info("attempt.stopped", attempt_id=self._attempt_id, stop=stop.value, why=why)
        if self._is_running and self.process is not None:
            if is_first:
                self.process.terminate()
            self._arm_kill(grace_s)

    @property
    def _is_stopped(self) -> bool:
        """Asked anew after each wait, in which it may have happened."""
        return self._stopped is not None

    async def run(self, context: RunContext) -> Result:
        """How it ended. Nothing that was started lives any more."""
        try:
            return await self._go_through(context)
        except Forbidden as error:
            return _failure(Outcome.FORBIDDEN, self._masker.mask_text(str(error)))
        except CannotStart as error:
            return _failure(Outcome.SPAWN_ERROR, self._masker.mask_text(str(error)))
        except CannotCollect as error:
            return _failure(Outcome.INPUT_ERROR, self._masker.mask_text(str(error)))
        finally:
            self._crew.alarms.disarm((self._attempt_id, "timeout"))
            if self.stream is not None:
                self._crew.streams.close(self.stream)

    # -- the phases ----------------------------------------------------------------------------

    async def _go_through(self, context: RunContext) -> Result:
        settings = self._crew.settings
        if context.image is not None and settings.images == "refuse":
            # Before its folder is opened, which may be one that only the image has.
            raise Forbidden(_no_containers(context.image))
        env = job_env(settings, context, self._attempt_id)
        self._mask(env, context)
        folder = context.working_dir
        if folder is not None:
            folder = filled(folder, env, "the working directory")
        files = self.files = await self._crew.workspace.open(self._attempt_id, folder)
        if context.image is not None:
            await self._say(f"image {context.image!r} ignored: runs on the machine", files)
        if context.inputs:
            await self._place_inputs(context, files)
        if context.cache is not None:
            await self._restore_cache(context.cache, context.pipeline, files)
        keeper = Gatekeeper(settings.security, context)
        if not keeper.is_idle:
            context = await self._admit(keeper, with_command(context), files)
        if needs_look(context) and not self._is_stopped:
            flaw = await self._check(PRE, context, env, files)
            if flaw is not None:
                return _failure(Outcome.PRECHECK_FAILED, flaw)
        if self._is_stopped:
            return self._stop_result(None)
        await faultpoint("worker.spawn.before")
        launch = Launch(
            argv=context.argv, env=env, cwd=files.cwd, log=files.log, task=self._task(context)
        )
        ended = await self._execute(launch, "executing", context)
        result = _result_of(ended)
        is_good = result.outcome is Outcome.EXITED and result.exit_code == 0
        if is_good and context.post_checks and not self._is_stopped:
            flaw = await self._check(POST, context, env, files)
            if flaw is not None:
                return Result(outcome=Outcome.POSTCHECK_FAILED, exit_code=0, message=flaw)
        return self._stop_result(ended) if self._is_stopped else result

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
            return await self._execute(launch, "starting", context)

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
        self, phase: str, context: RunContext, env: Mapping[str, str], files: AttemptFiles
    ) -> str | None:
        """Why a check did not pass; None: all did, or the attempt was stopped meanwhile."""
        launch = checks_launch(phase, context, env, files, self._crew.settings.plugin_dirs)
        try:
            ended = await self._execute(launch, phase, context)
        except CannotStart as error:
            return f"the checks cannot be run: {error}"[:2_000]
        if self._is_stopped:
            await self._say(f"{phase.replace('_', '-')} were stopped: {self._why}", files)
            return None
        return await flaw_of(ended, files)

    # -- one process ---------------------------------------------------------------------------

    async def _execute(self, launch: Launch, phase: str, context: RunContext) -> Exit:
        """The process tree was started and is gone again. CannotStart."""
        crew = self._crew
        self.process = process = await crew.runner.start(launch)
        self._is_running = True
        self.phase = phase
        if self._is_stopped:  # stopped while it was being started
            process.terminate()
            self._arm_kill(crew.settings.grace_s)
        await faultpoint("worker.spawn.after")
        self._time(context.timeout_s)
        self._listen(files=self.files)
        try:
            ended = await process.wait()
            await process.reap()
        finally:
            self._is_running = False
            crew.alarms.disarm((self._attempt_id, "kill"))
        self.usage = _sum(self.usage, ended.usage)
        if ended.task is not None:
            self.published = tuple(glob.escape(path) for path in ended.task.artifacts)
        return ended

    def _time(self, timeout_s: float) -> None:
        """All phases together are stopped after `timeout_s`, counted from the first of them."""
        if self._is_timed:
            return
        self._is_timed = True

        def stop() -> None:
            why = f"timed out after {timeout_s:g} s{DURING.get(self.phase, '')}"
            self.stop(Stop.TIMEOUT, why, self._crew.settings.grace_s)

        at = self._crew.runtime.mono() + timeout_s
        self._crew.alarms.arm((self._attempt_id, "timeout"), at, stop)

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
    if ended.task is not None:
        return judge_task(ended, ended.task)
    outcome = Outcome.EXITED if ended.exit_code is not None else Outcome.SIGNALED
    return Result(outcome=outcome, exit_code=ended.exit_code, signal=ended.signal)


def _no_containers(image: str) -> str:
    return (
        f"the job asks for image {image!r}, and this worker runs no containers; start the worker "
        "with --images ignore to run such jobs on the machine itself"
    )


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
