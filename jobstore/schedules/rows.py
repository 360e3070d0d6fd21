"""Schedules in the job service's database. Its functions run on that one's thread."""

import json
import sqlite3
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from jobstore.schedules.states import (
    BACKFILL,
    BackfillEvent,
    BackfillStatus,
)
from shared.errors import UnknownSchedule
from shared.protocol.pipeline import CatchUp, Overlap
from shared.protocol.states import RunStatus


class Schedule(NamedTuple):
    """A row, without its pipeline. Times are microseconds."""

    name: str
    cron: str
    timezone: str
    catch_up: CatchUp
    overlap: Overlap
    is_paused: bool
    handled_until: int
    next_at: int | None
    queue: tuple[int, ...]
    last_at: int | None
    last_run: int | None
    skipped_at: int | None
    skipped_why: str | None
    last_status: RunStatus | None  # of the last run, where it still exists

    @property
    def still_runs(self) -> bool:
        return self.last_status is not None and not self.last_status.is_ended


_SCHEDULE: Final = (
    "SELECT schedule.name, cron, timezone, catch_up, overlap, is_paused, handled_until, next_at,"
    " queue, last_at, last_run, skipped_at, skipped_why, run.status"
    " FROM schedule LEFT JOIN run ON run.id = schedule.last_run"
)


def put(conn: sqlite3.Connection, schedule: Schedule, pipeline: str) -> None:
    """The schedule is as given; what a former one of its name did, and a pause, are kept."""
    conn.execute(
        "INSERT INTO schedule (name, cron, timezone, catch_up, overlap, pipeline, handled_until,"
        " next_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (name) DO UPDATE SET"
        " cron = excluded.cron, timezone = excluded.timezone, catch_up = excluded.catch_up,"
        " overlap = excluded.overlap, pipeline = excluded.pipeline,"
        " handled_until = excluded.handled_until, next_at = excluded.next_at",
        (
            schedule.name,
            schedule.cron,
            schedule.timezone,
            schedule.catch_up,
            schedule.overlap,
            pipeline,
            schedule.handled_until,
            schedule.next_at,
        ),
    )


def every(conn: sqlite3.Connection) -> list[Schedule]:
    return [_schedule(row) for row in conn.execute(f"{_SCHEDULE} ORDER BY schedule.name")]


def find(conn: sqlite3.Connection, name: str) -> Schedule:
    row = conn.execute(f"{_SCHEDULE} WHERE schedule.name = ?", (name,)).fetchone()
    if row is None:
        raise UnknownSchedule(f"there is no schedule {name!r}", name=name)
    return _schedule(row)


def pipeline_of(conn: sqlite3.Connection, name: str) -> str:
    row = conn.execute("SELECT pipeline FROM schedule WHERE name = ?", (name,)).fetchone()
    if row is None:
        raise UnknownSchedule(f"there is no schedule {name!r}", name=name)
    return str(row[0])


def to_look_at(conn: sqlite3.Connection, now: int, ahead: int) -> list[Schedule]:
    """Those with a time that is due or waits; and those that are ahead of a clock put back."""
    rows = conn.execute(
        f"{_SCHEDULE} WHERE NOT is_paused AND (next_at <= ? OR queue <> '[]' OR handled_until > ?)"
        " ORDER BY schedule.name",
        (now, ahead),
    )
    return [_schedule(row) for row in rows]


def pause(
    conn: sqlite3.Connection, name: str, is_paused: bool, now: int, next_at: int | None
) -> None:
    """The times of the pause are over when it ends, and its queue is empty when it begins."""
    conn.execute(
        "UPDATE schedule SET is_paused = ?, handled_until = ?, next_at = ?, queue = '[]'"
        " WHERE name = ? AND is_paused <> ?",
        (is_paused, now, next_at, name, is_paused),
    )


def remove(conn: sqlite3.Connection, name: str) -> None:
    if conn.execute("DELETE FROM schedule WHERE name = ?", (name,)).rowcount == 0:
        raise UnknownSchedule(f"there is no schedule {name!r}", name=name)
    conn.execute(
        "UPDATE backfill SET status = ? WHERE schedule = ? AND status = ?",
        (
            BACKFILL[BackfillStatus.RUNNING, BackfillEvent.CANCEL],
            name,
            BackfillStatus.RUNNING,
        ),
    )


def runs_by_key(conn: sqlite3.Connection, keys: Sequence[str]) -> dict[str, int]:
    """Which of the keys have made runs."""
    marks = ", ".join("?" * len(keys))
    rows = conn.execute(f"SELECT submit_key, id FROM run WHERE submit_key IN ({marks})", keys)
    return dict(rows.fetchall())


def note_started(
    conn: sqlite3.Connection, name: str, at: int, run_id: int, queue: Sequence[int]
) -> None:
    """The run is the schedule's latest, and says so itself."""
    conn.execute(
        "UPDATE schedule SET last_at = ?, last_run = ?, queue = ? WHERE name = ?",
        (at, run_id, json.dumps(list(queue)), name),
    )
    mark_run(conn, run_id, name, at)


def note_queued(conn: sqlite3.Connection, name: str, queue: Sequence[int]) -> None:
    conn.execute("UPDATE schedule SET queue = ? WHERE name = ?", (json.dumps(list(queue)), name))


def note_skipped(conn: sqlite3.Connection, name: str, at: int, why: str) -> None:
    conn.execute(
        "UPDATE schedule SET skipped_at = ?, skipped_why = ? WHERE name = ?", (at, why, name)
    )


def note_handled(
    conn: sqlite3.Connection, schedule: Schedule, until: int, next_at: int | None
) -> None:
    """Unless it was replaced or paused meanwhile: then it starts from that moment."""
    conn.execute(
        "UPDATE schedule SET handled_until = ?, next_at = ? WHERE name = ? AND handled_until = ?",
        (until, next_at, schedule.name, schedule.handled_until),
    )


def mark_run(conn: sqlite3.Connection, run_id: int, name: str, at: int) -> None:
    """The run says which schedule started it, and for which time."""
    conn.execute("UPDATE run SET schedule = ?, scheduled_for = ? WHERE id = ?", (name, at, run_id))


def _schedule(row: tuple[Any, ...]) -> Schedule:
    found = Schedule(*row)
    return found._replace(
        catch_up=CatchUp(found.catch_up),
        overlap=Overlap(found.overlap),
        is_paused=bool(found.is_paused),
        queue=tuple(json.loads(row[8])),
        last_status=row[-1] and RunStatus(row[-1]),
    )
