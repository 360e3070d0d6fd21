"""What people ask of schedules. The times themselves are the scheduler's."""

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Final, Protocol

from jobstore.schedules import backfill_rows, rows
from jobstore.schedules.backfill_rows import Backfill
from jobstore.schedules.states import BackfillEvent, BackfillKind
from jobstore.store.journal import from_us
from shared.cron import Cron
from shared.errors import BadPipeline, BadRequest
from shared.ids import RunId
from shared.pipeline_rules import Mistake, find_mistakes
from shared.protocol import jobs as j
from shared.protocol.pipeline import PipelineSpec
from shared.protocol.schedules import (
    BackfillList,
    BackfillRequest,
    BackfillView,
    PauseScheduleRequest,
    ScheduleList,
    ScheduleRequest,
    ScheduleView,
)
from shared.runtime import Runtime
from shared.sqlite import Database, Tx

MAX_TIMES: Final = 10_000  # of one backfill


class Submitting(Protocol):
    """What schedules need of the job service."""

    async def submit(self, ask: j.SubmitRequest) -> j.SubmitReply: ...

    async def cancel(self, ask: j.CancelRequest) -> None: ...


class ScheduleService:
    """`Schedules`, in the job service's own database."""

    def __init__(self, database: Database, runtime: Runtime) -> None:
        self._db = database
        self._runtime = runtime

    async def put_schedule(self, ask: ScheduleRequest) -> ScheduleView:
        spec = ask.pipeline.schedule
        mistakes = find_mistakes(ask.pipeline)
        if spec is None:
            mistakes.append(Mistake(("schedule",), "the pipeline has no schedule"))
        if spec is None or mistakes:
            raise BadPipeline(
                "; ".join(mistake.message for mistake in mistakes[:20]),
                mistakes=[{"path": m.path, "message": m.message} for m in mistakes[:100]],
            )
        now = self._runtime.now()
        name = ask.pipeline.name
        row = rows.Schedule(
            name=name,
            cron=spec.cron,
            timezone=spec.timezone,
            catch_up=spec.catch_up,
            overlap=spec.overlap,
            is_paused=False,
            handled_until=to_us(now),
            next_at=us_or_none(Cron(spec.cron, spec.timezone).after(now)),
            queue=(),
            last_at=None,
            last_run=None,
            skipped_at=None,
            skipped_why=None,
            last_status=None,
        )
        pipeline = ask.pipeline.model_dump_json(exclude_defaults=True)

        def call(tx: Tx) -> rows.Schedule:
            rows.put(tx.conn, row, pipeline)
            return rows.find(tx.conn, name)

        return _view(await self._db.write(call))

    async def list_schedules(self) -> ScheduleList:
        return ScheduleList(schedules=tuple(_view(row) for row in await self._db.read(rows.every)))

    async def pause_schedule(self, ask: PauseScheduleRequest) -> ScheduleView:
        now = self._runtime.now()

        def call(tx: Tx) -> rows.Schedule:
            row = rows.find(tx.conn, ask.name)
            next_at = us_or_none(Cron(row.cron, row.timezone).after(now))
            rows.pause(tx.conn, ask.name, ask.is_paused, to_us(now), next_at)
            return rows.find(tx.conn, ask.name)

        return _view(await self._db.write(call))

    async def remove_schedule(self, name: str) -> None:
        await self._db.write(lambda tx: rows.remove(tx.conn, name))

    async def backfill(self, ask: BackfillRequest) -> BackfillView:
        row = await self._db.read(partial(rows.find, name=ask.name))
        cron = Cron(row.cron, row.timezone)
        since, until = (
            moment if moment.tzinfo is not None else moment.replace(tzinfo=cron.zone)
            for moment in (ask.since, ask.until)
        )
        times = await self._runtime.offload(_times, cron, since, until)
        view = await self._db.write(
            lambda tx: backfill_rows.add(
                tx.conn,
                ask.name,
                BackfillKind.ASKED,
                to_us(times[0]),
                to_us(until),
                len(times),
                ask.idempotency_key,
            )
        )
        return _backfill_view(view)

    async def list_backfills(self) -> BackfillList:
        found = await self._db.read(backfill_rows.latest)
        return BackfillList(backfills=tuple(_backfill_view(row) for row in found))

    async def cancel_backfill(self, backfill_id: int) -> BackfillView:
        def call(tx: Tx) -> Backfill:
            backfill_rows.find(tx.conn, backfill_id)
            return backfill_rows.move(tx.conn, backfill_id, BackfillEvent.CANCEL)

        return _backfill_view(await self._db.write(call))


def to_us(moment: datetime) -> int:
    return round(moment.timestamp() * 1_000_000)


def us_or_none(moment: datetime | None) -> int | None:
    return None if moment is None else to_us(moment)


def pipeline_at(pipeline: PipelineSpec, time: datetime, cron: Cron) -> PipelineSpec:
    """The pipeline as it runs for `time`: its jobs can read that, with the zone's offset."""
    env = {**pipeline.env, "DRAWBAR_SCHEDULED_AT": time.astimezone(cron.zone).isoformat()}
    return pipeline.model_copy(update={"env": env})


def _times(cron: Cron, since: datetime, until: datetime) -> Sequence[datetime]:
    try:
        times = cron.between(since.astimezone(UTC), until.astimezone(UTC), MAX_TIMES + 1)
    except OverflowError:
        raise BadRequest("since or until is no time that a calendar has") from None
    if not times:
        raise BadRequest(f"{cron.text!r} has no time from {since} until {until}", times=0)
    if len(times) > MAX_TIMES:
        raise BadRequest(
            f"{cron.text!r} has more than {MAX_TIMES:,} times from {since} until {until}: "
            "take a shorter span",
            limit=MAX_TIMES,
        )
    return times


def _view(row: rows.Schedule) -> ScheduleView:
    return ScheduleView(
        name=row.name,
        cron=row.cron,
        timezone=row.timezone,
        catch_up=row.catch_up,
        overlap=row.overlap,
        is_paused=row.is_paused,
        next_at=None if row.is_paused else _moment(row.next_at),
        last_at=_moment(row.last_at),
        last_run=None if row.last_run is None else RunId(row.last_run),
        last_status=row.last_status,
        queued=len(row.queue),
        skipped_at=_moment(row.skipped_at),
        skipped_why=row.skipped_why,
    )


def _backfill_view(row: Backfill) -> BackfillView:
    return BackfillView(
        backfill_id=row.id,
        name=row.schedule,
        kind=row.kind.value,
        status=row.status.value,
        since=from_us(row.since),
        until=from_us(row.until),
        times=row.times,
        started=row.started,
        next_at=_moment(row.next_at),
        last_run=None if row.last_run is None else RunId(row.last_run),
    )


def _moment(us: int | None) -> datetime | None:
    return None if us is None else from_us(us)
