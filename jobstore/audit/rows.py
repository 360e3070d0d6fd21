"""Whether the rows of a run are what its events say: nothing was added, removed or changed."""

import sqlite3
from collections.abc import Iterator

from jobstore.audit.finding import CHANGED, Finding
from jobstore.audit.replay import ToldAttempt, ToldJob, ToldRun
from jobstore.store.seal import Reported, seal_jobs, seal_report
from shared.protocol.states import AttemptStatus


def check_rows(conn: sqlite3.Connection, run_id: int, told: ToldRun) -> Iterator[Finding]:
    """Findings where run, jobs or attempts differ from what happened to them."""
    yield from _run(conn, run_id, told)
    yield from _jobs(conn, run_id, told)
    yield from _attempts(conn, run_id, told)


def _run(conn: sqlite3.Connection, run_id: int, told: ToldRun) -> Iterator[Finding]:
    name, status = conn.execute("SELECT name, status FROM run WHERE id = ?", (run_id,)).fetchone()
    if told.submitted is None:
        yield Finding("P1: its events do not begin with run.submitted", CHANGED)
        return
    if status != told.status:
        yield Finding(f"the run is {status}, its events end with {told.status}", CHANGED)
    seq, facts = told.submitted.row.seq, told.submitted.facts
    if facts.get("name") != name:
        what = f"the run is called {name!r}, {facts.get('name')!r} was submitted"
        yield Finding(what, CHANGED, seq)
    jobs = conn.execute(
        "SELECT id, spec FROM job WHERE run_id = ? AND mapped_by IS NULL ORDER BY seq", (run_id,)
    ).fetchall()
    if len(jobs) != facts.get("jobs"):
        what = f"P1: {facts.get('jobs')} jobs were submitted, {len(jobs)} are there"
        yield Finding(what, CHANGED, seq)
    elif "jobs_sha256" in facts and seal_jobs(jobs) != facts["jobs_sha256"]:
        yield Finding("what the jobs do is not what was submitted", CHANGED, seq)


def _jobs(conn: sqlite3.Connection, run_id: int, told: ToldRun) -> Iterator[Finding]:
    seen = set()
    for job_id, status, fence, tries, attempt_id, exit_code in conn.execute(
        "SELECT id, status, fence, tries, attempt_id, exit_code FROM job"
        " WHERE run_id = ? ORDER BY seq",
        (run_id,),
    ):
        seen.add(job_id)
        job = told.jobs.get(job_id, ToldJob())
        is_ended = job.status is not None and job.status.is_ended
        expected = "nothing yet" if job.status is None else job.status.value
        facts = [
            ("status", status, expected),
            ("fence", fence, job.fence),
            ("tries", tries, job.tries),
            ("attempt", attempt_id, job.latest),
        ]
        if job.status is None:
            facts = [("status", status, status if status in ("blocked", "pending") else expected)]
        if is_ended and attempt_id in told.attempts:
            facts.append(("exit code", exit_code, job.exit_code))
        for name, found, wanted in facts:
            if found != wanted:
                promise = "P5: " if name == "tries" else ""
                what = f"{promise}its {name} is {found}, by its events it is {wanted}"
                yield Finding(what, CHANGED, job.last_seq or None, job_id)
        if told.status in ("success", "failed", "cancelled") and not is_ended:
            yield Finding(f"P1: the run has ended, the job is {status}", CHANGED, None, job_id)
    for job_id in told.jobs.keys() - seen:
        what = "P1: the job is gone, its events are there"
        yield Finding(what, CHANGED, told.jobs[job_id].last_seq, job_id)


def _attempts(conn: sqlite3.Connection, run_id: int, told: ToldRun) -> Iterator[Finding]:
    seen = set()
    for row in conn.execute(
        "SELECT attempt.id, job.id, attempt.fence, worker_id, attempt.status, claimed_at,"
        " attempt.started_at, attempt.ended_at, receipt_id, result_digest, attempt.exit_code,"
        " signal, outcome, log_size, log_sha256, log_lost"
        " FROM job JOIN attempt ON attempt.job_seq = job.seq WHERE job.run_id = ?",
        (run_id,),
    ):
        attempt_id, job_id, fence, worker_id, status, claimed_at, started_at, ended_at = row[:8]
        seen.add(attempt_id)
        attempt = told.attempts.get(attempt_id)
        if attempt is None:
            what = f"attempt {attempt_id} was never claimed, its row is there"
            yield Finding(what, CHANGED, None, job_id)
            continue
        for name, found, wanted in (
            ("job", job_id, attempt.job_id),
            ("fence", fence, attempt.fence),
            ("worker", worker_id, attempt.worker_id),
            ("status", status, attempt.status.value),
            ("time of claim", claimed_at, attempt.claimed_at),
            ("time of start", started_at, attempt.started_at),
            ("time of end", ended_at, attempt.ended_at),
        ):
            if found != wanted:
                what = f"the {name} of attempt {attempt_id} is {found}, by its events {wanted}"
                yield Finding(what, CHANGED, attempt.ended_by, job_id)
        yield from _report(conn, attempt, row)
    for attempt_id in told.attempts.keys() - seen:
        attempt = told.attempts[attempt_id]
        what = f"attempt {attempt_id} is gone, its events are there"
        yield Finding(what, CHANGED, attempt.ended_by, attempt.job_id)


def _report(
    conn: sqlite3.Connection, attempt: ToldAttempt, row: tuple[object, ...]
) -> Iterator[Finding]:
    """The receipt and the report are those of the event that settled them."""
    receipt_id = row[8]
    if attempt.status is AttemptStatus.REPORTED and attempt.receipt_id is None:
        return  # from before events named receipts
    if receipt_id != attempt.receipt_id:
        what = f"the receipt of attempt {attempt.id} is {receipt_id}, by its events it is "
        what += attempt.receipt_id or "none: it never reported"
        yield Finding(f"P2: {what}", CHANGED, attempt.ended_by, attempt.job_id)
    elif attempt.receipt_id is not None:
        listed = conn.execute(
            "SELECT path, size_bytes, sha256 FROM artifact WHERE attempt_id = ?", (attempt.id,)
        ).fetchall()
        report = Reported(row[0], row[2], row[3], *row[8:])  # type: ignore[arg-type]  # a row
        if seal_report(report, listed) != attempt.report_sha256:
            what = f"result, log or artifacts of attempt {attempt.id} are not what was reported"
            yield Finding(what, CHANGED, attempt.ended_by, attempt.job_id)
