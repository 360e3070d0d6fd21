"""Backfills in the job service's database. Its functions run on that one's thread."""

import sqlite3
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from jobstore.schedules.rows import mark_run
from jobstore.schedules.states import BACKFILL, BackfillEvent, BackfillKind, BackfillStatus
from shared.errors import UnknownBackfill
from shared.protocol.states import RunStatus

LISTED: Final = 100


class Backfill(NamedTuple):
    id: int
    schedule: str
    kind: BackfillKind
    status: BackfillStatus
    since: int
    until: int
    times: int
    started: int
    next_at: int | None
    last_run: int | None
    last_status: RunStatus | None

    @property
    def still_runs(self) -> bool:
        return self.last_status is not None and not self.last_status.is_ended


_BACKFILL: Final = (
    "SELECT backfill.id, backfill.schedule, kind, backfill.status, since, until, times, started,"
    " next_at, last_run, run.status FROM backfill LEFT JOIN run ON run.id = backfill.last_run"
)


def add(
    conn: sqlite3.Connection,
    name: str,
    kind: BackfillKind,
    since: int,
    until: int,
    times: int,
    key: str | None,
) -> Backfill:
    """The same key finds the backfill that it made before."""
    known = conn.execute(
        "SELECT id FROM backfill WHERE submit_key IS NOT NULL AND submit_key = ?", (key,)
    ).fetchone()
    if known is not None:
        return find(conn, known[0])
    cursor = conn.execute(
        "INSERT INTO backfill (schedule, kind, status, since, until, times, next_at, submit_key)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (name, kind, BackfillStatus.RUNNING, since, until, times, since, key),
    )
    assert cursor.lastrowid is not None
    return find(conn, cursor.lastrowid)


def find(conn: sqlite3.Connection, backfill_id: int) -> Backfill:
    row = conn.execute(f"{_BACKFILL} WHERE backfill.id = ?", (backfill_id,)).fetchone()
    if row is None:
        raise UnknownBackfill(f"there is no backfill {backfill_id}", backfill_id=backfill_id)
    return _backfill(row)


def running(conn: sqlite3.Connection) -> list[Backfill]:
    rows = conn.execute(
        f"{_BACKFILL} WHERE backfill.status = '{BackfillStatus.RUNNING}' ORDER BY backfill.id"
    )
    return [_backfill(row) for row in rows]


def latest(conn: sqlite3.Connection) -> list[Backfill]:
    rows = conn.execute(
        f"{_BACKFILL} ORDER BY backfill.status = ? DESC, backfill.id DESC LIMIT ?",
        (BackfillStatus.RUNNING, LISTED),
    )
    return [_backfill(row) for row in rows]


def extend_missed(conn: sqlite3.Connection, name: str, times: Sequence[int]) -> bool:
    """The backfill that makes up for a downtime, if one still does, takes the times on as well."""
    return (
        conn.execute(
            "UPDATE backfill SET until = ?, times = times + ?, next_at = coalesce(next_at, ?)"
            " WHERE schedule = ? AND kind = ? AND status = ?",
            (
                times[-1] + 1,
                len(times),
                times[0],
                name,
                BackfillKind.MISSED,
                BackfillStatus.RUNNING,
            ),
        ).rowcount
        > 0
    )


def note_started(
    conn: sqlite3.Connection, backfill: Backfill, at: int, run_id: int | None, next_at: int | None
) -> None:
    """The run for `at` was started (None: could not be), and `next_at` is the one after it."""
    conn.execute(
        "UPDATE backfill SET started = started + ?, last_run = coalesce(?, last_run), next_at = ?"
        " WHERE id = ?",
        (run_id is not None, run_id, next_at, backfill.id),
    )
    if run_id is not None:
        mark_run(conn, run_id, backfill.schedule, at)


def move(conn: sqlite3.Connection, backfill_id: int, event: BackfillEvent) -> Backfill:
    """It is in the state that `event` leads to, unless it has ended before."""
    conn.execute(
        "UPDATE backfill SET status = ? WHERE id = ? AND status = ?",
        (BACKFILL[BackfillStatus.RUNNING, event], backfill_id, BackfillStatus.RUNNING),
    )
    return find(conn, backfill_id)


def _backfill(row: tuple[Any, ...]) -> Backfill:
    found = Backfill(*row)
    return found._replace(
        kind=BackfillKind(found.kind),
        status=BackfillStatus(found.status),
        last_status=row[-1] and RunStatus(row[-1]),
    )
