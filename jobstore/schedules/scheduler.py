"""The loop that starts runs when they are due.

A run is submitted under a key made of the schedule and the time, and recorded afterwards. Should
the process die between the two, the time is found due again, and the key finds the run: never
two, never none. The same keys see to a clock that is put back: its times were dealt with.
"""

import asyncio
import hashlib
from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import Final

import structlog

from jobstore.schedules import backfill_rows, rows
from jobstore.schedules.backfill_rows import Backfill
from jobstore.schedules.due import MAX_MISSED, SLACK, judge
from jobstore.schedules.service import Submitting, pipeline_at, to_us, us_or_none
from jobstore.schedules.states import BackfillEvent, BackfillKind
from jobstore.store.journal import from_us
from shared.cron import BadSchedule, Cron
from shared.errors import KeyReused, ServiceError, UnknownSchedule
from shared.faultpoints import faultpoint
from shared.ids import RunId
from shared.loops import Loops
from shared.protocol.jobs import CancelRequest, SubmitRequest
from shared.protocol.pipeline import CatchUp, Overlap, PipelineSpec
from shared.runtime import Runtime
from shared.sqlite import Database, Tx

log = structlog.get_logger()

LOOK_EVERY_S: Final = 1.0
MAX_QUEUED: Final = 100  # times of one schedule that wait for the run before


class Scheduler:
    """Starts what is due, while it is started. One for each database."""

    def __init__(self, database: Database, jobs: Submitting, runtime: Runtime) -> None:
        self._db = database
        self._jobs = jobs
        self._runtime = runtime
        self._loops = Loops(runtime)
        self._loops.every("jobstore.scheduler", LOOK_EVERY_S, self.look_once)

    @property
    def failure(self) -> "asyncio.Future[None]":
        return self._loops.failure

    async def start(self) -> None:
        """Runs start by themselves."""
        await self._refresh()
        await self._loops.start()

    async def stop(self) -> None:
        await self._loops.stop()

    async def look_once(self) -> None:
        """What was due has been started, or dealt with otherwise."""
        now = self._runtime.now()
        ahead = to_us(now + SLACK)
        for schedule in await self._db.read(lambda conn: rows.to_look_at(conn, to_us(now), ahead)):
            try:
                await self._look_at(schedule, now)
            except BadSchedule as bad:  # the zone is gone from this machine's data
                log.error("schedule.broken", schedule=schedule.name, error=str(bad))
            except UnknownSchedule:
                continue  # it was removed while we looked
        for backfill in await self._db.read(backfill_rows.running):
            try:
                await self._go_on_with(backfill)
            except BadSchedule as bad:
                log.error("schedule.broken", schedule=backfill.schedule, error=str(bad))
            except UnknownSchedule:
                continue  # which has cancelled the backfill, too

    async def _refresh(self) -> None:
        """The next times are those of this machine's knowledge of zones."""
        for schedule in await self._db.read(rows.every):
            try:
                cron = Cron(schedule.cron, schedule.timezone)
            except BadSchedule as bad:
                log.error("schedule.broken", schedule=schedule.name, error=str(bad))
                continue
            until = schedule.handled_until
            await self._handled(schedule, until, us_or_none(cron.after(from_us(until))))

    # -- one schedule -------------------------------------------------------------------------

    async def _look_at(self, schedule: rows.Schedule, now: datetime) -> None:
        cron = Cron(schedule.cron, schedule.timezone)
        handled = from_us(schedule.handled_until)
        if handled > now + SLACK:  # the clock was put back
            log.warning("schedule.clock_put_back", schedule=schedule.name, ahead_at=str(handled))
            handled = now
        if schedule.queue and not schedule.still_runs:
            first, *rest = schedule.queue
            schedule = await self._start(schedule, from_us(first), cron, rest)
        due = cron.latest(handled, now, MAX_MISSED + 1)
        schedule, left = await self._without_started(schedule, due)
        plan = judge(left, now, schedule.catch_up)
        for time in plan.let_go[-1:]:
            await self._skip(schedule, time, "it was missed, and nothing makes up for it")
        start: Sequence[datetime] = plan.start
        if schedule.catch_up is CatchUp.ALL and left:
            schedule, start = await self._make_up(schedule, plan.make_up, plan.start, cron)
        for time in start:
            schedule = await self._start_or_not(schedule, time, cron)
        until = due[-1] if due else min(handled, now)
        await self._handled(schedule, to_us(until), us_or_none(cron.after(until)))

    async def _without_started(
        self, schedule: rows.Schedule, due: Sequence[datetime]
    ) -> tuple[rows.Schedule, list[datetime]]:
        """The times that have no run yet. Those that have one are recorded, should that lack."""
        if not due:
            return schedule, []
        keys = {_key(schedule.name, to_us(time)): time for time in due}
        known = await self._db.read(partial(rows.runs_by_key, keys=list(keys)))
        for key, run_id in known.items():
            if schedule.last_run is None or run_id > schedule.last_run:
                schedule = await self._record(schedule, keys[key], run_id, schedule.queue)
        return schedule, [time for key, time in keys.items() if key not in known]

    async def _make_up(
        self,
        schedule: rows.Schedule,
        missed: Sequence[datetime],
        punctual: Sequence[datetime],
        cron: Cron,
    ) -> tuple[rows.Schedule, Sequence[datetime]]:
        """What was missed is a backfill; the punctual times that are still to be started now.

        While one makes up for a downtime, times that fall due wait behind it. What is noted is
        dealt with in the same transaction: noted twice, it would run twice.
        """
        late, new = [to_us(time) for time in missed], [to_us(time) for time in punctual]

        def call(tx: Tx) -> int | None:
            """Up to when all is dealt with; None: nothing is."""
            if backfill_rows.extend_missed(tx.conn, schedule.name, [*late, *new]):
                until = [*late, *new][-1]
            elif late:
                backfill_rows.add(
                    tx.conn,
                    schedule.name,
                    BackfillKind.MISSED,
                    late[0],
                    late[-1] + 1,
                    len(late),
                    None,
                )
                if new:
                    backfill_rows.extend_missed(tx.conn, schedule.name, new)
                until = [*late, *new][-1]
            else:
                return None
            next_at = us_or_none(cron.after(from_us(until)))
            rows.note_handled(tx.conn, schedule, until, next_at)
            return until

        until = await self._db.write(call)
        if until is None:
            return schedule, punctual
        log.info("schedule.makes_up", schedule=schedule.name, times=len(late) + len(new))
        return schedule._replace(handled_until=until), []

    async def _start_or_not(
        self, schedule: rows.Schedule, time: datetime, cron: Cron
    ) -> rows.Schedule:
        if not schedule.still_runs and not schedule.queue:
            return await self._start(schedule, time, cron, ())
        if schedule.overlap is Overlap.QUEUE:
            if len(schedule.queue) < MAX_QUEUED:
                queue = (*schedule.queue, to_us(time))
                await self._db.write(lambda tx: rows.note_queued(tx.conn, schedule.name, queue))
                return schedule._replace(queue=queue)
            return await self._skip(schedule, time, f"{MAX_QUEUED} times wait already")
        if schedule.overlap is Overlap.CANCEL or not schedule.still_runs:
            await self._cancel_last(schedule)
            return await self._start(schedule, time, cron, ())
        return await self._skip(schedule, time, f"run {schedule.last_run} of it still ran")

    async def _cancel_last(self, schedule: rows.Schedule) -> None:
        if schedule.last_run is not None and schedule.still_runs:
            reason = "the next run of its schedule is due"
            await self._jobs.cancel(CancelRequest(run_id=RunId(schedule.last_run), reason=reason))

    async def _start(
        self, schedule: rows.Schedule, time: datetime, cron: Cron, queue: Sequence[int]
    ) -> rows.Schedule:
        key = _key(schedule.name, to_us(time))
        run_id = await self._submit(schedule.name, time, cron, key)
        if isinstance(run_id, str):
            await self._db.write(lambda tx: rows.note_queued(tx.conn, schedule.name, queue))
            return await self._skip(schedule, time, run_id)
        await faultpoint("jobstore.schedule.before_record")
        return await self._record(schedule, time, run_id, queue)

    async def _record(
        self, schedule: rows.Schedule, time: datetime, run_id: int, queue: Sequence[int]
    ) -> rows.Schedule:
        def call(tx: Tx) -> rows.Schedule:
            rows.note_started(tx.conn, schedule.name, to_us(time), run_id, queue)
            return rows.find(tx.conn, schedule.name)

        log.info("schedule.started", schedule=schedule.name, run_id=run_id, at=str(time))
        now_is = await self._db.write(call)
        return now_is._replace(handled_until=schedule.handled_until)

    async def _skip(self, schedule: rows.Schedule, time: datetime, why: str) -> rows.Schedule:
        log.warning("schedule.skipped", schedule=schedule.name, at=str(time), why=why)
        await self._db.write(lambda tx: rows.note_skipped(tx.conn, schedule.name, to_us(time), why))
        return schedule

    async def _handled(self, schedule: rows.Schedule, until: int, next_at: int | None) -> None:
        if (until, next_at) != (schedule.handled_until, schedule.next_at):
            await self._db.write(lambda tx: rows.note_handled(tx.conn, schedule, until, next_at))

    # -- one backfill -------------------------------------------------------------------------

    async def _go_on_with(self, backfill: Backfill) -> None:
        """Its next run has started, unless the one before still runs."""
        if backfill.still_runs:
            return
        if backfill.next_at is None:
            await self._db.write(
                lambda tx: backfill_rows.move(tx.conn, backfill.id, BackfillEvent.COMPLETE)
            )
            log.info("backfill.done", backfill=backfill.id, schedule=backfill.schedule)
            return
        schedule = await self._db.read(partial(rows.find, name=backfill.schedule))
        cron, time = Cron(schedule.cron, schedule.timezone), from_us(backfill.next_at)
        if backfill.kind is BackfillKind.MISSED:  # they are the schedule's own times
            key = _key(schedule.name, backfill.next_at)
        else:
            key = f"backfill:{backfill.id}:{backfill.next_at}"
        run_id = await self._submit(schedule.name, time, cron, key)
        if isinstance(run_id, str):
            await self._skip(schedule, time, run_id)
        await faultpoint("jobstore.backfill.before_record")
        following = cron.after(time)
        next_at = us_or_none(following)
        if next_at is not None and next_at >= backfill.until:
            next_at = None
        started = None if isinstance(run_id, str) else run_id
        at = to_us(time)
        await self._db.write(
            lambda tx: backfill_rows.note_started(tx.conn, backfill, at, started, next_at)
        )

    async def _submit(self, name: str, time: datetime, cron: Cron, key: str) -> int | str:
        """The run, the same for the same key; or why there can be none."""
        pipeline = await self._db.read(partial(rows.pipeline_of, name=name))
        try:
            spec = pipeline_at(PipelineSpec.model_validate_json(pipeline), time, cron)
            ask = SubmitRequest(idempotency_key=key, pipeline=spec)
            return (await self._jobs.submit(ask)).run_id
        except KeyReused as other:  # the schedule was replaced since: the run is as good
            return int(other.facts["run_id"])
        except ServiceError as error:
            if error.retryable:
                raise
            return error.message
        except ValueError:  # kept by an older version, and not good enough for this one
            return "its pipeline is not understood any more: add the schedule again"


def _key(name: str, at: int) -> str:
    """The name may be as long as a whole key."""
    return f"schedule:{hashlib.sha256(name.encode()).hexdigest()[:32]}:{at}"
