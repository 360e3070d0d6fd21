"""Taking runs out of the database, a bounded piece with each call. On the database's thread.

First the run itself goes, so that nobody sees half of it; then its jobs with all that was theirs,
and its events. Files go last, from lists that were written together with the rows' removal: a
crash leaves rows without a run or names in a list, never a row whose file is gone.
"""

import json
import sqlite3
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from jobstore.history.reads import ENDED
from shared.sqlite import Tx

JOBS: Final = 100
ROWS: Final = 1_000  # artifacts or events
FILES: Final = 100


class Leaving(NamedTuple):
    """Names of files that nothing in the database needs any more, as far as it was looked at."""

    logs: Sequence[str]  # attempts
    blobs: Sequence[str]  # hashes


def take_out(tx: Tx, run_ids: Sequence[int]) -> int:
    """These runs are not there any more for anybody; how many went. Not those that go on again."""
    conn = tx.conn
    wanted = json.dumps(list(run_ids))
    statuses = ", ".join("?" * len(ENDED))
    rows = conn.execute(
        "DELETE FROM run WHERE id IN (SELECT value FROM json_each(?))"
        f" AND status IN ({statuses}) RETURNING id, coalesce(root_run, id)",
        (wanted, *ENDED),
    ).fetchall()
    conn.executemany("INSERT INTO pruned_run (id, root_run) VALUES (?, ?)", rows)
    _bury(tx, [row[0] for row in rows])
    wanted_runs = json.dumps([row[0] for row in rows])
    conn.execute(
        "INSERT OR IGNORE INTO pruned_blob (sha256) SELECT sha256 FROM bundle"
        " WHERE run_id IN (SELECT value FROM json_each(?))",
        (wanted_runs,),
    )
    for table in ("stage", "notification", "bundle"):
        conn.execute(
            f"DELETE FROM {table} WHERE run_id IN (SELECT value FROM json_each(?))",
            (wanted_runs,),
        )
    return len(rows)


def _bury(tx: Tx, run_ids: Sequence[int]) -> None:
    """It is known for good that these runs were pruned, and where their chains ended."""
    for run_id in run_ids:
        first, last, events = tx.conn.execute(
            "SELECT min(seq), max(seq), count(*) FROM event"
            " WHERE run_id = ? AND digest IS NOT NULL",
            (run_id,),
        ).fetchone()
        tx.conn.execute(
            "INSERT INTO tombstone (run_id, first_seq, last_seq, events, digest, pruned_at)"
            " VALUES (?, ?, ?, ?, (SELECT digest FROM event WHERE seq = ?), ?)",
            (run_id, first, last, events, last, tx.now_us),
        )


def clear_some(tx: Tx) -> bool:
    """A piece of what belonged to pruned runs is gone; False: there was nothing more."""
    conn = tx.conn
    run = conn.execute("SELECT id, root_run FROM pruned_run ORDER BY id LIMIT 1").fetchone()
    if run is None:
        return False
    run_id, root_run = run
    jobs = conn.execute(
        "SELECT seq, id, attempt_id FROM job WHERE run_id = ? ORDER BY id LIMIT ?", (run_id, JOBS)
    ).fetchall()
    if jobs:
        _clear_jobs(conn, root_run, jobs)
        return True
    events = conn.execute(
        "DELETE FROM event WHERE seq IN"
        " (SELECT seq FROM event WHERE run_id = ? ORDER BY seq LIMIT ?)",
        (run_id, ROWS),
    ).rowcount
    if events < ROWS:
        conn.execute("DELETE FROM pruned_run WHERE id = ?", (run_id,))
    return True


def has_some(conn: sqlite3.Connection) -> bool:
    """Whether anything is left of pruned runs."""
    row = conn.execute(
        "SELECT 1 FROM pruned_run UNION ALL SELECT 1 FROM pruned_log"
        " UNION ALL SELECT 1 FROM pruned_blob LIMIT 1"
    ).fetchone()
    return row is not None


def leaving(conn: sqlite3.Connection, after: Leaving) -> Leaving:
    """Some names of files to remove, those that follow `after`."""
    logs = conn.execute(
        "SELECT attempt_id FROM pruned_log WHERE attempt_id > ? ORDER BY attempt_id LIMIT ?",
        (after.logs[-1] if after.logs else "", FILES),
    )
    blobs = conn.execute(
        "SELECT sha256 FROM pruned_blob WHERE sha256 > ? ORDER BY sha256 LIMIT ?",
        (after.blobs[-1] if after.blobs else "", FILES),
    )
    return Leaving([row[0] for row in logs.fetchall()], [row[0] for row in blobs.fetchall()])


def is_used(conn: sqlite3.Connection, sha256: str) -> bool:
    """Whether these bytes are an artifact of an attempt, the files of a run's tasks or an XCom."""
    row = conn.execute(
        "SELECT 1 FROM artifact WHERE sha256 = ?1"
        " UNION ALL SELECT 1 FROM bundle WHERE sha256 = ?1"
        " UNION ALL SELECT 1 FROM xcom WHERE sha256 = ?1 LIMIT 1",
        (sha256,),
    ).fetchone()
    return row is not None


def forget(tx: Tx, gone: Leaving) -> None:
    """These files are dealt with."""
    _delete(tx.conn, "pruned_log", "attempt_id", gone.logs)
    _delete(tx.conn, "pruned_blob", "sha256", gone.blobs)


def _clear_jobs(
    conn: sqlite3.Connection, root_run: int, jobs: Sequence[tuple[int, str, str | None]]
) -> None:
    attempts: list[str] = []
    has_kin = conn.execute("SELECT 1 FROM run WHERE root_run = ? LIMIT 1", (root_run,)).fetchone()
    for seq, job_id, counts in jobs:
        own = conn.execute("SELECT id FROM attempt WHERE job_seq = ?", (seq,)).fetchall()
        mine = {row[0] for row in own} | ({counts} if counts is not None else set())
        if has_kin:
            mine = {a for a in mine if not _has_heir(conn, root_run, job_id, a)}
        attempts += sorted(mine)
    listed = conn.execute(
        "SELECT attempt_id, path, sha256 FROM artifact"
        " WHERE attempt_id IN (SELECT value FROM json_each(?)) LIMIT ?",
        (json.dumps(attempts), ROWS),
    ).fetchall()
    conn.executemany(
        "INSERT OR IGNORE INTO pruned_blob (sha256) VALUES (?)", [(row[2],) for row in listed]
    )
    conn.executemany(
        "DELETE FROM artifact WHERE attempt_id = ? AND path = ?", [row[:2] for row in listed]
    )
    if len(listed) == ROWS:
        return  # there may be more: the jobs stay for the next call
    # A log that ended up in the database may have a file as well, from while the job ran.
    conn.executemany("INSERT OR IGNORE INTO pruned_log VALUES (?)", [(a,) for a in attempts])
    conn.execute(
        "INSERT OR IGNORE INTO pruned_blob (sha256) SELECT sha256 FROM xcom"
        " WHERE sha256 IS NOT NULL AND attempt_id IN (SELECT value FROM json_each(?))",
        (json.dumps(attempts),),
    )
    _delete(conn, "xcom", "attempt_id", attempts)
    _delete(conn, "attempt", "id", attempts)
    # Both ends of an edge: once the newest jobs are gone, others are given their numbers.
    seqs = [job[0] for job in jobs]
    _delete(conn, "edge", "upstream", seqs)
    _delete(conn, "edge", "downstream", seqs)
    _delete(conn, "job", "seq", seqs)


def _has_heir(conn: sqlite3.Connection, root_run: int, job_id: str, attempt_id: str) -> bool:
    """Whether the attempt is the one that counts in a run that stays."""
    row = conn.execute(
        "SELECT 1 FROM run JOIN job ON job.run_id = run.id AND job.id = ?"
        " WHERE run.root_run = ? AND job.attempt_id = ?",
        (job_id, root_run, attempt_id),
    ).fetchone()
    return row is not None


def _delete(conn: sqlite3.Connection, table: str, column: str, values: Iterable[str | int]) -> None:
    conn.executemany(f"DELETE FROM {table} WHERE {column} = ?", [(value,) for value in values])
