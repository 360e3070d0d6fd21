"""Whether the store is whole: no event and no run is missing that was not pruned, and it is not
an older copy of itself."""

import hashlib
import sqlite3
from collections.abc import Iterator
from typing import NamedTuple

from jobstore.audit.finding import CHANGED, Finding


class Start(NamedTuple):
    """The last numbers that were given before there were chains."""

    event_seq: int
    run_id: int


def start_of(conn: sqlite3.Connection) -> Start:
    row = conn.execute("SELECT event_seq, run_id FROM chain_start").fetchone()
    return Start(0, 0) if row is None else Start(*row)


def check_whole(conn: sqlite3.Connection, start: Start) -> Iterator[Finding]:
    """Findings of what is missing."""
    if conn.execute("SELECT count(*) FROM chain_start").fetchone() != (1,):
        yield Finding("chain_start has not its one row", CHANGED)
    yield from _missing_runs(conn, start)
    yield from _missing_events(conn, start)


def _missing_runs(conn: sqlite3.Connection, start: Start) -> Iterator[Finding]:
    missing = conn.execute(
        "WITH RECURSIVE known (id) AS (SELECT id FROM run UNION SELECT run_id FROM tombstone"
        "  UNION SELECT ?1 UNION SELECT ?2 + 1)"
        " SELECT before + 1, id - 1 FROM"
        "  (SELECT id, lag(id) OVER (ORDER BY id) AS before FROM known)"
        " WHERE id - before > 1 AND id > ?1",
        (start.run_id, _highest(conn, "run")),
    ).fetchall()
    for first, last in missing:
        which = f"run {first} is" if first == last else f"runs {first} to {last} are"
        yield Finding(f"P1: {which} missing, and was never pruned", CHANGED)
    for (run_id,) in conn.execute(
        "SELECT id FROM run JOIN tombstone ON run_id = id ORDER BY id"
    ).fetchall():
        yield Finding(f"run {run_id} was pruned, and is there", CHANGED)


def _missing_events(conn: sqlite3.Connection, start: Start) -> Iterator[Finding]:
    """Numbers that no event has: each has to be one that went with a pruned run."""
    gaps = conn.execute(
        "SELECT before + 1, seq - 1 FROM (SELECT seq, lag(seq) OVER (ORDER BY seq) AS before FROM"
        "  (SELECT seq FROM event WHERE seq > ?1 UNION SELECT ?1 UNION SELECT ?2 + 1))"
        " WHERE seq - before > 1",
        (start.event_seq, _highest(conn, "event")),
    ).fetchall()
    unexplained = False
    for first, last in gaps:
        covered = conn.execute(
            "SELECT 1 FROM tombstone WHERE first_seq <= ? AND last_seq >= ? LIMIT 1", (first, last)
        ).fetchone()
        if covered is None and not _covered(conn, first, last):
            unexplained = True
            which = f"event {first} is" if first == last else f"events {first} to {last} are"
            yield Finding(f"{which} missing, and went with no pruned run", CHANGED)
    (gone,) = conn.execute(
        "SELECT coalesce(sum(events), 0) - (SELECT count(*) FROM event JOIN tombstone"
        " ON tombstone.run_id = event.run_id WHERE event.seq > ?) FROM tombstone",
        (start.event_seq,),
    ).fetchone()
    missing = sum(last - first + 1 for first, last in gaps)
    if missing != gone and not unexplained:
        yield Finding(f"{missing} events are missing, {gone} went with pruned runs", CHANGED)


def _covered(conn: sqlite3.Connection, first: int, last: int) -> bool:
    """Whether spans of pruned runs, put together, cover all of these numbers."""
    spans = conn.execute(
        "SELECT first_seq, last_seq FROM tombstone WHERE last_seq >= ? AND first_seq <= ?"
        " ORDER BY first_seq",
        (first, last),
    )
    for since, until in spans:
        if since > first:
            return False
        first = max(first, until + 1)
    return first > last


def _highest(conn: sqlite3.Connection, table: str) -> int:
    """The highest number that the table ever gave."""
    row = conn.execute("SELECT seq FROM sqlite_sequence WHERE name = ?", (table,)).fetchone()
    (here,) = conn.execute(
        "SELECT coalesce(max(seq), 0) FROM event"
        if table == "event"
        else "SELECT coalesce(max(id), 0) FROM run"
    ).fetchone()
    return max(int(here), 0 if row is None else int(row[0]))


def head_of(conn: sqlite3.Connection, start: Start) -> str:
    """The name of this state of the whole store: the last event's number, and a digest."""
    seq = _highest(conn, "event")
    return f"{seq}.{_digest(_heads(conn, seq), start)}"


def check_expected(conn: sqlite3.Connection, start: Start, expected: str) -> Iterator[Finding]:
    """Findings if the store is not one that has grown out of the expected state."""
    number, _, digest = expected.partition(".")
    seq, now = int(number), _highest(conn, "event")
    if seq > now:
        what = f"it was rolled back: its last event is {now}, there was event {seq} before"
        yield Finding(what, CHANGED)
        return
    went_on = conn.execute(
        "SELECT run_id FROM tombstone WHERE first_seq <= ?1 AND last_seq > ?1 ORDER BY run_id",
        (seq,),
    ).fetchall()
    if went_on:
        runs = ", ".join(str(run_id) for (run_id,) in went_on[:5])
        yield Finding(
            f"it cannot be compared: of run {runs}, which went on at that time, nothing is left",
            "audit more often than runs are pruned, and note the head each time",
        )
    elif _digest(_heads(conn, seq), start) != digest:
        yield Finding(f"it is not what it was when event {seq} was its last", CHANGED)


def _heads(conn: sqlite3.Connection, seq: int) -> dict[int, bytes]:
    """Where each run's chain ended when `seq` was the last event."""
    buried = conn.execute(
        "SELECT run_id, digest FROM tombstone WHERE last_seq <= ?", (seq,)
    ).fetchall()
    here = conn.execute(
        "SELECT run_id, digest FROM event WHERE seq IN (SELECT max(seq) FROM event"
        " WHERE seq <= ? AND digest IS NOT NULL"
        " AND run_id NOT IN (SELECT run_id FROM tombstone) GROUP BY run_id)",
        (seq,),
    ).fetchall()
    return dict(buried + here)


def _digest(heads: dict[int, bytes], start: Start) -> str:
    digest = hashlib.sha256(f"{start.event_seq}\n{start.run_id}\n".encode())
    for run_id in sorted(heads):
        digest.update(f"{run_id}\n".encode() + heads[run_id])
    return digest.hexdigest()
