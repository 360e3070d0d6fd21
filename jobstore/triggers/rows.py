"""What the triggerer reads: who waits for what, and what became of what is waited for."""

import json
import sqlite3
from collections.abc import Sequence
from typing import NamedTuple

from pydantic import JsonValue

from shared.protocol.states import JobStatus, RunStatus


class Waiting(NamedTuple):
    """A job that waits without a worker."""

    job_seq: int
    fence: int
    run_id: int
    job_id: str
    kind: str
    params: str  # JSON
    timeout_s: float | None
    since: int  # microseconds


_WAITING = (
    "SELECT deferral.job_seq, deferral.fence, job.run_id, job.id, deferral.kind, deferral.params,"
    " deferral.timeout_s, deferral.since FROM deferral JOIN job ON job.seq = deferral.job_seq"
)


def every(conn: sqlite3.Connection) -> list[int]:
    """The queue places of all who wait."""
    return [seq for (seq,) in conn.execute("SELECT job_seq FROM deferral ORDER BY job_seq")]


def find(conn: sqlite3.Connection, seqs: Sequence[int]) -> list[Waiting]:
    """Those of them that wait now."""
    rows = conn.execute(
        f"{_WAITING} WHERE deferral.job_seq IN (SELECT value FROM json_each(?))"
        " ORDER BY deferral.job_seq",
        (json.dumps(list(seqs)),),
    ).fetchall()
    return [Waiting(*row) for row in rows]


class Seen(NamedTuple):
    """A run or a job that is waited for."""

    is_known: bool
    event: JsonValue = None  # None: it has not ended


def look_at_run(conn: sqlite3.Connection, run_id: int) -> Seen:
    row = conn.execute("SELECT name, status FROM run WHERE id = ?", (run_id,)).fetchone()
    if row is None:
        return Seen(False)
    if not RunStatus(row[1]).is_ended:
        return Seen(True)
    return Seen(True, {"run_id": run_id, "name": row[0], "status": row[1]})


def look_at_job(conn: sqlite3.Connection, run_id: int, job_id: str) -> Seen:
    row = conn.execute(
        "SELECT status, exit_code FROM job WHERE run_id = ? AND id = ?", (run_id, job_id)
    ).fetchone()
    if row is None:
        return Seen(False)
    if not JobStatus(row[0]).is_ended:
        return Seen(True)
    return Seen(True, {"run_id": run_id, "job_id": job_id, "status": row[0], "exit_code": row[1]})


class Posted(NamedTuple):
    """A callback: to whom it belongs, and what has come."""

    job_seq: int
    event: str | None  # JSON


def find_callback(conn: sqlite3.Connection, callback_id: str) -> Posted | None:
    row = conn.execute(
        "SELECT job_seq, event FROM callback WHERE id = ?", (callback_id,)
    ).fetchone()
    return None if row is None else Posted(*row)
