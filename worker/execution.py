"""The part of an attempt that happens on this machine: checks, the command, checks again.

A success is known only when the last post-check has passed.
"""

import asyncio
from collections.abc import Awaitable, Mapping

import structlog

from shared.faultpoints import faultpoint
from shared.protocol.gateway import Outcome, Result, RunContext
from worker.caching import JobCache
from worker.checking import POST, PRE, checks_launch, flaw_of, needs_look
from worker.containing import container_of, folder_of, why_refused
from worker.crew import Crew
from worker.ending import (
    CRASHED,
    MOST_CHARACTERS,
    UNBEGUN,
    failure,
    is_success,
    result_of,
    stopped,
)
from worker.environment import job_env
from worker.inputs import Inputs
from worker.lacks import is_machines_fault
from worker.lease import Holder
from worker.logvoice import JobLog
from worker.outbox.record import RESUMED, Record, lasting
from worker.policy.gatekeeper import Forbidden, Gatekeeper
from worker.ports import (
    AttemptFiles,
    CannotCollect,
    CannotStart,
    Exit,
    Launch,
    LeaseOver,
    Process,
    TaskLaunch,
)
from worker.processes import Processes
from worker.tasks.outcome import with_command

log = structlog.get_logger()


class CheckLost(Exception):
    """Something killed what a check ran under: it has neither passed nor failed."""


class Execution:
    """One attempt from its folder to its result. Its processes can be stopped at any moment."""

    def __init__(self, holder: Holder, crew: Crew) -> None:
        self.log = JobLog(holder, crew)
        self.processes = Processes(holder.attempt_id, crew, self.log)
        self.files: AttemptFiles | None = None
        self._holder = holder
        self._attempt_id = holder.attempt_id
        self._crew = crew
        self._cache: JobCache | None = None

    async def run(self, context: RunContext) -> Result:
        """How it ended. Nothing that was started lives any more."""
        return await self._ended(self._go_through(context))

    async def go_on(self, context: RunContext, record: Record) -> Result:
        """The same for what an earlier worker has begun, as far as that is known."""
        return await self._ended(self._go_on(context, record))

    async def reopen(self, context: RunContext, record: Record) -> None:
        """What an earlier worker left of an attempt that has ended can be reported."""
        self.processes.take_up(record)
        try:
            found = await self._crew.runner.attach(self._attempt_id)
            if found is not None:  # its worker died before it could let go of it
                await found.reap()
                found.release()
            await self._reopen(context, record)
        except CannotStart as error:  # this worker's settings name another folder, or none
            log.error("attempt.files_lost", attempt_id=self._attempt_id, error=str(error))
            return
        self.log.listen()
        self.log.close()

    async def keep_cache(self) -> None:
        """After a success: a later run finds what the job was to keep."""
        if self._cache is not None:
            await self._cache.save()

    async def _ended(self, way: Awaitable[Result]) -> Result:
        try:
            result = await way
            message = self.log.mask(result.message)
            return result if not message else result.model_copy(update={"message": message})
        except CheckLost as error:
            return failure(Outcome.LOST, str(error))
        except LeaseOver as error:
            if self.processes.is_stopped:
                return self._stopped(None)
            return self._given_back(str(error))
        except Forbidden as error:
            return failure(Outcome.FORBIDDEN, self.log.mask(str(error)))
        except (CannotStart, CannotCollect) as error:
            why = self.log.mask(str(error))
            if is_machines_fault(error):
                self._crew.slots.rest(why)
                self._crew.presence.changed()
                return self._given_back(f"the worker could not run the job: {why}")
            is_start = isinstance(error, CannotStart)
            return failure(Outcome.SPAWN_ERROR if is_start else Outcome.INPUT_ERROR, why)
        finally:
            self.processes.close()
            self.log.close()

    # -- from the start ------------------------------------------------------------------------

    async def _go_through(self, context: RunContext) -> Result:
        settings = self._crew.settings
        refusal = why_refused(settings, context)
        if refusal is not None:
            # Before its folder is opened, which may be one that only the image has.
            raise Forbidden(refusal)
        env = job_env(settings, context, self._attempt_id)
        secrets = self.log.prepare(env, context)
        if secrets:
            self._crew.outbox.note(self._attempt_id, secrets=secrets)
        folder = folder_of(settings, context, env)
        files = self._write_into(await self._crew.workspace.open(self._attempt_id, folder))
        if context.image is not None and not settings.contains(context):
            await self.log.say(f"image {context.image!r} ignored: runs on the machine")
        if context.inputs:
            await self._place_inputs(context, files)
        if context.cache is not None:
            self._cache = JobCache(context.cache, context.pipeline, files, self.log)
            await self._cache.restore(lambda: self.processes.is_stopped)
        keeper = Gatekeeper(settings.security, context)
        if not keeper.is_idle:
            admitted = await self._admit(keeper, with_command(context), files)
            if admitted is not context:
                context = admitted
                self._crew.outbox.note(self._attempt_id, context=lasting(context))
        return await self._carry_out(PRE, context, env, files, None)

    def _write_into(self, files: AttemptFiles) -> AttemptFiles:
        self.files = files
        self.log.write_into(files)
        return files

    async def _place_inputs(self, context: RunContext, files: AttemptFiles) -> None:
        crew = self._crew
        inputs = Inputs(self._holder, crew.gateway, crew.runtime, lambda: self.processes.is_stopped)
        try:
            async with asyncio.timeout(context.timeout_s):
                await inputs.place(context.inputs, files)
        except TimeoutError:
            late = f"inputs did not arrive within {context.timeout_s:g} s"
            raise CannotCollect(late) from None

    async def _admit(
        self, keeper: Gatekeeper, context: RunContext, files: AttemptFiles
    ) -> RunContext:
        """What may be started. Forbidden: nothing may."""

        async def run(launch: Launch) -> Exit:
            return await self.processes.execute(launch, "starting", context.timeout_s)

        try:
            admitted, warnings = await keeper.admit(context, files, self._crew.runtime, run)
        except Forbidden as error:
            if self.processes.is_stopped:
                return context  # which will not be started
            await self.log.say(f"forbidden: {error}")
            raise
        for warning in warnings:
            await self.log.say(f"the policy warns: {warning}")
        return admitted

    # -- after an earlier worker ---------------------------------------------------------------

    async def _go_on(self, context: RunContext, record: Record) -> Result:
        crew = self._crew
        self.processes.take_up(record)
        found = await crew.runner.attach(self._attempt_id)
        try:
            env, files = await self._reopen(context, record)
        except Exception:
            if found is not None:
                await _end(found)
            raise
        may_go_on = crew.settings.reattach and record.phase in RESUMED and not record.is_task
        if found is not None and (not may_go_on or found.pid == record.earlier):
            await _end(found)
            found = None
        if found is not None:
            log.info("attempt.resumed", attempt_id=self._attempt_id, pid=found.pid)
            return await self._carry_out(record.phase, context, env, files, found)
        self.log.listen()
        if self.processes.is_stopped:
            return self._stopped(None)
        if record.has_not_begun:
            return UNBEGUN
        if may_go_on and record.phase == POST and record.pid is None:  # the command has succeeded
            return await self._carry_out(POST, context, env, files, None)
        return CRASHED

    async def _reopen(
        self, context: RunContext, record: Record
    ) -> tuple[Mapping[str, str], AttemptFiles]:
        env = job_env(self._crew.settings, context, self._attempt_id)
        self.log.prepare(env, context, record.secrets)
        folder = folder_of(self._crew.settings, context, env)
        files = await self._crew.workspace.reopen(self._attempt_id, folder)
        return env, self._write_into(files)

    # -- the phases ----------------------------------------------------------------------------

    async def _carry_out(
        self,
        phase: str,
        context: RunContext,
        env: Mapping[str, str],
        files: AttemptFiles,
        found: Process | None,
    ) -> Result:
        """From `phase` on, whose process was `found` if it was started already."""
        processes = self.processes
        if phase == PRE and (found or (needs_look(context) and not processes.is_stopped)):
            flaw = await self._check(PRE, context, env, files, found)
            if flaw is not None:
                return failure(Outcome.PRECHECK_FAILED, flaw)
            found = None
        ended: Exit | None = None
        result = Result(outcome=Outcome.EXITED, exit_code=0)
        if phase != POST:
            if processes.is_stopped and found is None:
                return self._stopped(None)
            await faultpoint("worker.spawn.before", attempt=self._attempt_id)
            launch = self._launch(context, env, files)
            ended = await processes.execute(launch, "executing", context.timeout_s, found)
            result = result_of(ended)
            found = None
        if is_success(result) and (found or (context.post_checks and not processes.is_stopped)):
            flaw = await self._check(POST, context, env, files, found)
            if flaw is not None:
                return Result(outcome=Outcome.POSTCHECK_FAILED, exit_code=0, message=flaw)
        return self._stopped(ended) if processes.is_stopped else result

    def _launch(self, context: RunContext, env: Mapping[str, str], files: AttemptFiles) -> Launch:
        """The job's own process."""
        task: TaskLaunch | None = None
        if context.task is not None:
            worker_id = self._holder.worker_id
            task = TaskLaunch(context, worker_id, lambda: self.processes.is_stopped)
        return Launch(
            argv=context.argv,
            env=env,
            cwd=files.cwd,
            log=files.log,
            task=task,
            limits=context.limits,
            scratch=files.scratch,
            container=container_of(self._crew.settings, context, env),
        )

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
            ended = await self.processes.execute(launch, phase, context.timeout_s, found)
        except CannotStart as error:
            if isinstance(error, LeaseOver) or is_machines_fault(error):
                raise
            return f"the checks cannot be run: {error}"[:MOST_CHARACTERS]
        if ended.lost and not self.processes.is_stopped:
            raise CheckLost(ended.lost)
        if ended.breach is not None and ended.breach.kind == "lease":
            raise LeaseOver(ended.breach.message)
        if self.processes.is_stopped:
            why = self.processes.why_stopped
            await self.log.say(f"{phase.replace('_', '-')} were stopped: {why}")
            return None
        return await flaw_of(ended, files)

    def _given_back(self, why: str) -> Result:
        """The job is not to blame, and it costs no try; unless it ran, and its rule must say."""
        return failure(Outcome.LOST if self.processes.has_begun else Outcome.DRAINED, why)

    def _stopped(self, ended: Exit | None) -> Result:
        reason, processes = self.processes.stop_reason, self.processes
        assert reason is not None
        return stopped(reason, processes.why_stopped, ended, has_begun=processes.has_begun)


async def _end(found: Process) -> None:
    """It is gone, and so is what is known of it."""
    found.kill()
    await found.reap()
    found.release()
