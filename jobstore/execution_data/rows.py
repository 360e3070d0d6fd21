"""XComs as rows: what an attempt left, found by the job for which that attempt counts.

Values stay JSON texts inside the database; a slice of a long list is cut there.
"""

import sqlite3
from typing import NamedTuple

from shared.errors import Conflict, UnknownJob
from shared.protocol.states import JobStatus
from shared.sqlite import Tx


class Source(NamedTuple):
    """Where a job's XComs are: one attempt's, or those of all instances in their order."""

    attempt_id: str | None
    instances: list[str | None] | None  # attempts; None: it is not mapped


def source_of(conn: sqlite3.Connection, run_id: int, job_id: str) -> Source:
    """UnknownJob. A mapped job that was carried over has its instances in the run before."""
    while True:
        row = conn.execute(
            "SELECT job.seq, job.attempt_id, job.mapping, job.status, run.retry_of FROM job"
            " JOIN run ON run.id = job.run_id WHERE job.run_id = ? AND job.id = ?",
            (run_id, job_id),
        ).fetchone()
        if row is None:
            raise UnknownJob(f"the run has no job {job_id!r}", job_id=job_id)
        seq, attempt_id, mapping, status, retry_of = row
        if mapping is None:
            return Source(attempt_id, None)
        attempts = conn.execute(
            "SELECT attempt_id FROM job WHERE mapped_by = ? ORDER BY map_index", (seq,)
        ).fetchall()
        if attempts or status != JobStatus.SUCCESS or retry_of is None or mapping == "unfolded":
            return Source(None, [attempt for (attempt,) in attempts])
        run_id = retry_of


def find(conn: sqlite3.Connection, attempt_id: str | None, key: str) -> str | None:
    """The value as JSON."""
    row = conn.execute(
        "SELECT value FROM xcom WHERE attempt_id = ? AND key = ?", (attempt_id, key)
    ).fetchone()
    return None if row is None else str(row[0])


def length(conn: sqlite3.Connection, source: Source, key: str) -> int:
    """Of the sequence. Conflict: what was left there is no list."""
    if source.instances is not None:
        return len(source.instances)
    row = conn.execute(
        "SELECT json_type(value), json_array_length(value) FROM xcom"
        " WHERE attempt_id = ? AND key = ?",
        (source.attempt_id, key),
    ).fetchone()
    if row is None or row[0] != "array":
        found = "nothing" if row is None else str(row[0])
        raise Conflict(f"expected a list under {key!r}, found {found}", state=found)
    return int(row[1])


def items(conn: sqlite3.Connection, source: Source, key: str, places: range) -> list[str]:
    """As JSON, null where an instance left nothing. The places exist."""
    if source.instances is not None:
        return [find(conn, source.instances[n], key) or "null" for n in places]
    return [
        str(value)
        for (value,) in conn.execute(
            "SELECT xcom.value -> ('$[' || place.value || ']')"
            " FROM json_each(?) AS place, xcom WHERE xcom.attempt_id = ? AND xcom.key = ?"
            " ORDER BY place.key",
            (str(list(places)), source.attempt_id, key),
        ).fetchall()
    ]


def keep(tx: Tx, attempt_id: str, key: str, value: str) -> None:
    tx.conn.execute(
        "INSERT INTO xcom (attempt_id, key, value) VALUES (?, ?, ?)"
        " ON CONFLICT (attempt_id, key) DO UPDATE SET value = excluded.value",
        (attempt_id, key, value),
    )


def drop(tx: Tx, attempt_id: str, key: str) -> None:
    tx.conn.execute("DELETE FROM xcom WHERE attempt_id = ? AND key = ?", (attempt_id, key))


def keys(conn: sqlite3.Connection, source: Source) -> list[str]:
    attempts = [source.attempt_id] if source.instances is None else source.instances
    found: dict[str, None] = {}
    for attempt_id in attempts:
        for (key,) in conn.execute(
            "SELECT key FROM xcom WHERE attempt_id = ? ORDER BY key", (attempt_id,)
        ).fetchall():
            found[key] = None
    return sorted(found)
