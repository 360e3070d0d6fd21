"""Whether the events of a run are those that were written: each digest is worked out anew."""

import json
import sqlite3
from collections.abc import Iterator
from typing import Any, NamedTuple

from jobstore.audit.finding import CHANGED, Finding
from jobstore.store.chain import FIRST, EventRow, link


class ToldEvent(NamedTuple):
    """An event, its facts read."""

    row: EventRow
    facts: dict[str, Any]
    is_chained: bool


def events_of(conn: sqlite3.Connection, run_id: int) -> Iterator[tuple[EventRow, bytes | None]]:
    for row in conn.execute(
        "SELECT seq, at, kind, run_id, job_id, attempt_id, facts, digest FROM event"
        " WHERE run_id = ? ORDER BY seq",
        (run_id,),
    ):
        yield EventRow(*row[:7]), row[7]


def check_links(
    conn: sqlite3.Connection, run_id: int, chain_start: int
) -> tuple[list[ToldEvent], list[Finding]]:
    """The run's events, and where their chain is broken. After a break it is followed from there,
    so that one change is one finding."""
    told: list[ToldEvent] = []
    findings: list[Finding] = []
    before = FIRST
    for row, digest in events_of(conn, run_id):
        facts = _facts(row, findings)
        told.append(ToldEvent(row, facts, digest is not None))
        if digest is None:
            if row.seq > chain_start:
                findings.append(Finding(f"{row.kind} has no digest", CHANGED, row.seq, row.job_id))
            continue
        if row.seq <= chain_start:
            what = f"{row.kind} has a digest, though it is from before the chains"
            findings.append(Finding(what, CHANGED, row.seq, row.job_id))
        elif link(before, row) != digest:
            what = f"{row.kind} is not what was written, or what came before it is gone"
            findings.append(Finding(what, CHANGED, row.seq, row.job_id))
        before = digest
    return told, findings


def _facts(row: EventRow, findings: list[Finding]) -> dict[str, Any]:
    try:
        facts = json.loads(row.facts)
    except ValueError:
        facts = None
    if isinstance(facts, dict):
        return facts
    findings.append(Finding(f"the facts of {row.kind} cannot be read", CHANGED, row.seq))
    return {}
