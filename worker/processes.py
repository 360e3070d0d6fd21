"""The processes of one attempt, one after the other, and the hands that can stop them.

They can be stopped at any moment, for one of several reasons; the first one counts.
"""

import glob
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

import structlog

from shared.faultpoints import faultpoint
from shared.ids import AttemptId
from worker.checking import POST, PRE
from worker.crew import Crew
from worker.ending import NOTHING_USED, Stop, together
from worker.logvoice import JobLog
from worker.outbox.record import BEFORE_THE_JOB, RESUMED, Record
from worker.ports import Exit, Launch, LeaseOver, Process, WorkerAtFault

DURING: Final[Mapping[str, str]] = {PRE: " in its pre-checks", POST: " in its post-checks"}

log = structlog.get_logger()


class Processes:
    """At most one lives at a time. All of them together have the time that the job has."""

    def __init__(self, attempt_id: AttemptId, crew: Crew, job_log: JobLog) -> None:
        self.phase = "starting"
        self.latest: Process | None = None
        self.usage = NOTHING_USED
        self.published: tuple[str, ...] = ()  # globs of artifacts that a task named while it ran
        self.stop_reason: Stop | None = None
        self.why_stopped = ""
        self._attempt_id = attempt_id
        self._crew = crew
        self._log = job_log
        self.is_sought = False  # an earlier worker's, and not yet found: a later one can do it
        self._is_running = False
        self._is_timed = False
        self._is_contained = False
        self._pid: int | None = None  # of the process that was started last
        self._deadline: float | None = None  # when the time of all phases is over
        self._kill_at = float("inf")

    @property
    def is_stopped(self) -> bool:
        """Asked anew after each wait, in which it may have happened."""
        return self.stop_reason is not None

    @property
    def has_begun(self) -> bool:
        """The job's own command was started."""
        return self.phase not in BEFORE_THE_JOB

    @property
    def survive(self) -> bool:
        """Whether a successor can go on with what runs."""
        can = self._crew.settings.reattach and not self._is_contained
        return can and (self.is_sought or (self._is_running and self.phase in RESUMED))

    def stop(self, stop: Stop, why: str, grace_s: float) -> None:
        """SIGTERM now, SIGKILL after `grace_s`. The first reason counts, the earliest kill too."""
        is_first = not self.is_stopped
        if is_first:
            self.stop_reason, self.why_stopped = stop, why
            self._crew.outbox.note(self._attempt_id, stop=stop.value, why=why)
            log.info("attempt.stopped", attempt_id=self._attempt_id, stop=stop.value, why=why)
        if self._is_running and self.latest is not None:
            if is_first:
                self.latest.terminate()
            self._arm_kill(grace_s)

    def take_up(self, record: Record) -> None:
        """What an earlier worker knew of them is known again."""
        if not record.has_not_begun:
            self.phase = record.phase
        self._pid, self._deadline = record.pid, record.deadline
        self.usage, self.published = record.usage or NOTHING_USED, record.published
        if record.stop is not None:
            self.stop_reason, self.why_stopped = Stop(record.stop), record.why

    async def execute(
        self, launch: Launch, phase: str, timeout_s: float, found: Process | None = None
    ) -> Exit:
        """The process tree was started, or found, and is gone again. CannotStart."""
        self._is_contained = launch.container is not None
        process = found or await self._start(launch, phase, timeout_s)
        self.latest = process
        self._is_running = True
        self.is_sought = False
        self.phase = phase
        if self.is_stopped:  # while it was being started
            process.terminate()
            self._arm_kill(self._crew.settings.grace_s)
        await faultpoint("worker.spawn.after", attempt=self._attempt_id)
        self._time(timeout_s)
        self._log.listen()
        try:
            ended = await process.wait()
            await process.reap()
        finally:
            self._is_running = False
            self._crew.alarms.disarm((self._attempt_id, "kill"))
        for remark in ended.remarks:
            await self._log.say(remark)
        self.usage = together(self.usage, ended.usage)
        if ended.task is not None:
            self.published = tuple(glob.escape(path) for path in ended.task.artifacts)
        return ended

    def close(self) -> None:
        """No alarm is left of them."""
        self._crew.alarms.disarm((self._attempt_id, "timeout"))

    def release(self) -> None:
        """No successor finds the last one any more: how it all ended was noted."""
        if self.latest is not None:
            self.latest.release()

    async def _start(self, launch: Launch, phase: str, timeout_s: float) -> Process:
        """The phase's process. A successor can tell it from that of the phase before, at any
        moment: that one is noted as such, and then forgotten by the runner, before this starts."""
        crew = self._crew
        is_noted = crew.outbox.note(
            self._attempt_id, phase=phase, pid=None, earlier=self._pid, usage=self.usage
        )
        if not is_noted and not self.has_begun:  # a successor would start the job a second time
            raise WorkerAtFault("its start cannot be noted in the outbox")
        await faultpoint("worker.phase.noted", attempt=self._attempt_id)
        self.release()
        process = await self._started(replace(launch, attempt_id=self._attempt_id))
        await faultpoint("worker.spawn.unnoted", attempt=self._attempt_id)
        self._pid = process.pid
        self._deadline = self._deadline or crew.runtime.mono() + timeout_s
        crew.outbox.note(self._attempt_id, pid=process.pid, deadline=self._deadline)
        return process

    async def _started(self, launch: Launch) -> Process:
        """The lease may be renewed while what a start needs is fetched: that counts. LeaseOver."""
        leases, runner = self._crew.leases, self._crew.runner
        while True:
            until = leases.ends_at(self._attempt_id)
            try:
                process = await runner.start(replace(launch, until=until))
            except LeaseOver:
                if leases.ends_at(self._attempt_id) <= until:
                    raise
                continue
            renewed_until = leases.ends_at(self._attempt_id)
            if renewed_until > until:
                runner.permit({self._attempt_id: renewed_until})
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
        if at < self._kill_at and self.latest is not None:
            self._kill_at = at
            self._crew.alarms.arm((self._attempt_id, "kill"), at, self.latest.kill)
