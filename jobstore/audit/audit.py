"""An audit: what really happened, replayed from the event log of a store that is only read."""

import sqlite3
from collections.abc import Iterable
from pathlib import Path

from jobstore.audit.contents import Contents
from jobstore.audit.finding import CHANGED, Audit, Finding, RunVerdict
from jobstore.audit.links import check_links
from jobstore.audit.replay import replay
from jobstore.audit.rows import check_rows
from jobstore.audit.source import opened, store_folder
from jobstore.audit.whole import Start, check_expected, check_whole, head_of, start_of
from shared.errors import UnknownRun


def audit_run(data: Path, run_id: int) -> Audit:
    """What is found of one run. UnknownRun; Misconfigured: there is no store to read."""
    folder = store_folder(data)
    with opened(folder) as conn:
        buried = conn.execute("SELECT 1 FROM tombstone WHERE run_id = ?", (run_id,)).fetchone()
        told = conn.execute("SELECT 1 FROM event WHERE run_id = ? LIMIT 1", (run_id,)).fetchone()
        here = conn.execute("SELECT 1 FROM run WHERE id = ?", (run_id,)).fetchone()
        if here is None and (buried or told is None):
            raise UnknownRun(
                f"run {run_id} was pruned" if buried else f"there is no run {run_id}",
                run_id=run_id,
            )
        verdict = _verdict(conn, run_id, start_of(conn), Contents(folder))
    audit = Audit([verdict], [])
    _forgive_pruned(folder, audit)
    return audit


def audit_all(data: Path, expected: str | None = None) -> Audit:
    """What is found of every run, and of the store as a whole."""
    folder = store_folder(data)
    contents = Contents(folder)
    with opened(folder) as conn:
        start = start_of(conn)
        findings = list(check_whole(conn, start))
        if expected is not None:
            findings += check_expected(conn, start, expected)
        run_ids = conn.execute(
            "SELECT id FROM run UNION SELECT run_id FROM event"
            " WHERE run_id NOT IN (SELECT run_id FROM tombstone)"
            " AND run_id NOT IN (SELECT id FROM pruned_run) ORDER BY 1"
        ).fetchall()
        runs = [_verdict(conn, run_id, start, contents) for (run_id,) in run_ids]
        (pruned,) = conn.execute("SELECT count(*) FROM tombstone").fetchone()
        audit = Audit(runs, findings, head_of(conn, start), pruned)
    _forgive_pruned(folder, audit)
    return audit


def _verdict(conn: sqlite3.Connection, run_id: int, start: Start, contents: Contents) -> RunVerdict:
    verdict = RunVerdict(run_id)
    events, verdict.findings = check_links(conn, run_id, start.event_seq)
    verdict.events = len(events)
    verdict.unchained = sum(not event.is_chained for event in events)
    row = conn.execute("SELECT name, status FROM run WHERE id = ?", (run_id,)).fetchone()
    if row is None:
        last = events[-1].row.seq if events else None
        verdict.findings.append(
            Finding(
                "P1: the run is gone, its events are there, and it was never pruned", CHANGED, last
            )
        )
        return verdict
    verdict.name, verdict.status = row
    told = replay(events)
    verdict.findings += told.findings
    if told.submitted is not None or run_id > start.run_id:
        verdict.findings += check_rows(conn, run_id, told)
    hashed = contents.hashed
    verdict.findings += contents.check(conn, run_id)
    verdict.files = contents.hashed - hashed
    verdict.jobs = len(told.jobs)
    verdict.receipts = sum(a.receipt_id is not None for a in told.attempts.values())
    return verdict


def _forgive_pruned(folder: Path, audit: Audit) -> None:
    """Files of a run that was pruned while we looked are not missing."""
    doubtful = [run for run in audit.runs if any(finding.file for finding in run.findings)]
    if not doubtful:
        return
    with opened(folder) as conn:
        for run in doubtful:
            if conn.execute("SELECT 1 FROM tombstone WHERE run_id = ?", (run.run_id,)).fetchone():
                run.findings = _without_files(run.findings)


def _without_files(findings: Iterable[Finding]) -> list[Finding]:
    return [finding for finding in findings if not finding.file]
