"""What people ask of schedules: keep, pause, backfill."""

from datetime import datetime

from pydantic import Field

from shared.ids import RunId
from shared.protocol.base import Message
from shared.protocol.pipeline import CatchUp, Overlap, PipelineSpec
from shared.protocol.states import RunStatus


class ScheduleRequest(Message):
    """Keep `pipeline`, which has a schedule, under its own name; it replaces one of that name."""

    pipeline: PipelineSpec


class ScheduleView(Message):
    name: str
    cron: str
    timezone: str
    catch_up: CatchUp
    overlap: Overlap
    is_paused: bool
    next_at: datetime | None
    last_at: datetime | None  # the time for which it last started a run
    last_run: RunId | None
    last_status: RunStatus | None = None  # None also: the run was pruned
    queued: int = 0  # times that wait for the run before to end
    skipped_at: datetime | None = None  # the last time for which it started no run
    skipped_why: str | None = None


class ScheduleList(Message):
    schedules: tuple[ScheduleView, ...]


class PauseScheduleRequest(Message):
    name: str
    is_paused: bool


class BackfillRequest(Message):
    """Start a run for each time of the schedule in [since, until), oldest first, one at a time.

    A time without an offset is one of the schedule's zone. The same key names the same backfill.
    """

    idempotency_key: str = Field(min_length=1, max_length=200)
    name: str
    since: datetime
    until: datetime


class BackfillView(Message):
    backfill_id: int
    name: str  # of the schedule
    kind: str  # asked | missed (after a downtime)
    status: str  # running | done | cancelled
    since: datetime
    until: datetime
    times: int
    started: int  # runs
    next_at: datetime | None  # the time for which the next run will be; None: all were started
    last_run: RunId | None


class BackfillList(Message):
    backfills: tuple[BackfillView, ...]
