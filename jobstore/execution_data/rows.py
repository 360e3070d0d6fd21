"""XComs as rows: what an attempt left, found by the job for which that attempt counts.

Small values stay JSON texts inside the database, where a slice of a list is cut; of a large one
the row knows the blob that has it, and how long it is if it is a list.
"""

import sqlite3
from typing import NamedTuple

from shared.errors import Conflict, StaleFence, UnknownJob
from shared.protocol.states import AttemptStatus, JobStatus
from shared.sqlite import Tx


class Source(NamedTuple):
    """Where a job's XComs are: one attempt's, or those of all instances in their order."""

    attempt_id: str | None
    instances: list[str | None] | None  # attempts; None: it is not mapped


class Value(NamedTuple):
    """What was left: JSON, or the hash of the blob that holds it."""

    text: str
    sha256: str | None
    size_bytes: int


class Large(NamedTuple):
    """What a row tells of a value that is a blob."""

    sha256: str
    size_bytes: int
    kind: str  # as json_type() says it
    length: int | None  # of a list


NOTHING = Value("null", None, 4)


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


def find(conn: sqlite3.Connection, attempt_id: str | None, key: str) -> Value | None:
    row = conn.execute(
        "SELECT value, sha256, coalesce(size_bytes, length(value)) FROM xcom"
        " WHERE attempt_id = ? AND key = ?",
        (attempt_id, key),
    ).fetchone()
    return None if row is None else Value(*row)


def length(conn: sqlite3.Connection, source: Source, key: str) -> int:
    """Of the sequence. Conflict: what was left there is no list."""
    if source.instances is not None:
        return len(source.instances)
    row = conn.execute(
        "SELECT coalesce(kind, json_type(value)), coalesce(length, json_array_length(value))"
        " FROM xcom WHERE attempt_id = ? AND key = ?",
        (source.attempt_id, key),
    ).fetchone()
    if row is None or row[0] != "array":
        found = "nothing" if row is None else str(row[0])
        raise Conflict(f"expected a list under {key!r}, found {found}", state=found)
    return int(row[1])


def items(conn: sqlite3.Connection, source: Source, key: str, places: range) -> list[Value]:
    """Null where an instance left nothing. The places exist, and the list is no blob."""
    if source.instances is not None:
        return [find(conn, source.instances[n], key) or NOTHING for n in places]
    return [
        Value(str(value), None, len(value))
        for (value,) in conn.execute(
            "SELECT xcom.value -> ('$[' || place.value || ']')"
            " FROM json_each(?) AS place, xcom WHERE xcom.attempt_id = ? AND xcom.key = ?"
            " ORDER BY place.key",
            (str(list(places)), source.attempt_id, key),
        ).fetchall()
    ]


def keep(tx: Tx, attempt_id: str, key: str, value: str, large: Large | None) -> None:
    """It stands in the place of what was there. Of a `large` one the value is null. StaleFence."""
    _check_runs(tx, attempt_id)
    _let_go(tx, attempt_id, key)
    tx.conn.execute(
        "INSERT INTO xcom (attempt_id, key, value, sha256, size_bytes, kind, length)"
        " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (attempt_id, key) DO UPDATE SET"
        " value = excluded.value, sha256 = excluded.sha256, size_bytes = excluded.size_bytes,"
        " kind = excluded.kind, length = excluded.length",
        (attempt_id, key, value, *(large or (None, None, None, None))),
    )


def drop(tx: Tx, attempt_id: str, key: str) -> None:
    """There is nothing of that name. StaleFence."""
    _check_runs(tx, attempt_id)
    _let_go(tx, attempt_id, key)
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


def _check_runs(tx: Tx, attempt_id: str) -> None:
    """The attempt has not ended since the request came: what it left then is what it left."""
    row = tx.conn.execute("SELECT status FROM attempt WHERE id = ?", (attempt_id,)).fetchone()
    status = "gone" if row is None else row[0]
    if status != AttemptStatus.RUNNING:
        raise StaleFence(f"the attempt is {status}", state=status)


def _let_go(tx: Tx, attempt_id: str, key: str) -> None:
    """The blob of a value that is replaced is looked at: it goes, if nothing else uses it."""
    tx.conn.execute(
        "INSERT OR IGNORE INTO pruned_blob (sha256) SELECT sha256 FROM xcom"
        " WHERE attempt_id = ? AND key = ? AND sha256 IS NOT NULL",
        (attempt_id, key),
    )
