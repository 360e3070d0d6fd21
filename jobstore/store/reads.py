"""What people look at: runs, jobs, attempts, artifacts, events. Read-only, always ordered."""

import json
import sqlite3
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, NamedTuple, TypeVar

from pydantic import BaseModel

from jobstore.states import LIVE
from jobstore.store.journal import from_us
from shared.errors import UnknownJob, UnknownRun
from shared.ids import JobId
from shared.protocol import jobs as j
from shared.protocol.gateway import ArtifactEntry, Usage
from shared.protocol.states import JobStatus, RunStatus

EXIT_CODES = {RunStatus.SUCCESS: 0, RunStatus.FAILED: 1, RunStatus.CANCELLED: 1}

_RUN = "id, name, status, created_at, started_at, ended_at, retry_of, attempt, schedule"


def list_runs(conn: sqlite3.Connection, ask: j.RunFilter) -> list[j.RunSummary]:
    narrowed = {
        "name = ?": ask.name,
        "status = ?": ask.status,
        "created_at >= ?": ask.since and int(ask.since.timestamp() * 1_000_000),
        "id < ?": ask.before,
    }
    given = {condition: value for condition, value in narrowed.items() if value is not None}
    where = f" WHERE {' AND '.join(given)}" if given else ""
    rows = conn.execute(
        f"SELECT {_RUN} FROM run{where} ORDER BY id DESC LIMIT ?", (*given.values(), ask.limit)
    ).fetchall()
    return [j.RunSummary(**_run_facts(conn, row)) for row in rows]


def show_run(
    conn: sqlite3.Connection, run_id: int, phases: Mapping[int, str], looks: Mapping[int, str]
) -> j.RunView:
    """By queue place, `phases` says of jobs that run what they are at, `looks` of deferred ones
    what was seen the last time."""
    row = conn.execute(f"SELECT {_RUN} FROM run WHERE id = ?", (run_id,)).fetchone()
    if row is None:
        raise no_such_run(run_id)
    stages = conn.execute(
        "SELECT name, status FROM stage WHERE run_id = ? ORDER BY position", (run_id,)
    ).fetchall()
    attempts: dict[int, int] = dict(
        conn.execute(
            "SELECT job.seq, count(*) FROM job JOIN attempt ON attempt.job_seq = job.seq"
            " WHERE job.run_id = ? AND attempt.started_at IS NOT NULL GROUP BY job.seq",
            (run_id,),
        ).fetchall()
    )
    jobs = conn.execute(
        "SELECT seq, id, spec, status, exit_code, reason, tries, refusals, allow_failure,"
        " started_at, ended_at, held_for, marked_by, iif(mapping IS NULL, NULL,"
        " (SELECT count(*) FROM job AS instance WHERE instance.mapped_by = job.seq))"
        " FROM job WHERE run_id = ? ORDER BY seq",
        (run_id,),
    ).fetchall()
    deferrals = {
        found[0]: found
        for found in conn.execute(
            "SELECT deferral.job_seq, deferral.kind, deferral.says, deferral.since,"
            " deferral.timeout_s FROM job JOIN deferral ON deferral.job_seq = job.seq"
            " WHERE job.run_id = ?",
            (run_id,),
        ).fetchall()
    }
    return j.RunView(
        **_run_facts(conn, row),
        stages=tuple(j.StageView(name=name, status=status) for name, status in stages),
        jobs=tuple(
            _job_view(
                job,
                attempts.get(job[0], 0),
                phases.get(job[0]),
                _deferral(deferrals.get(job[0]), looks.get(job[0])),
            )
            for job in jobs
        ),
    )


def list_attempts(conn: sqlite3.Connection, run_id: int, job_id: str) -> list[j.AttemptView]:
    seq = find_job(conn, run_id, job_id)
    rows = conn.execute(
        "SELECT id, fence, worker_id, status, claimed_at, started_at, ended_at, exit_code, signal,"
        " reason, receipt_id, log_size, log_lost, usage, evidence, outcome"
        " FROM attempt WHERE job_seq = ? ORDER BY fence",
        (seq,),
    ).fetchall()
    return [
        j.AttemptView(
            attempt_id=row[0],
            fence=row[1],
            worker_id=row[2],
            status=row[3],
            claimed_at=from_us(row[4]),
            started_at=row[5] and from_us(row[5]),
            ended_at=row[6] and from_us(row[6]),
            exit_code=row[7],
            signal=row[8],
            reason=_parsed(j.Reason, row[9]),
            receipt_id=row[10],
            log_size_bytes=row[11],
            log_lost_bytes=row[12],
            usage=_parsed(Usage, row[13]),
            evidence=row[14] and json.loads(row[14]),
            outcome=row[15],
        )
        for row in rows
    ]


def list_artifacts(
    conn: sqlite3.Connection, run_id: int, job_id: str | None
) -> list[j.JobArtifact]:
    """Those of the attempts that count."""
    if job_id is not None:
        find_job(conn, run_id, job_id)
    else:
        check_run(conn, run_id)
    rows = conn.execute(
        "SELECT job.id, artifact.path, artifact.size_bytes, artifact.sha256 FROM job"
        " JOIN artifact ON artifact.attempt_id = job.attempt_id"
        " WHERE job.run_id = ?1 AND (?2 IS NULL OR job.id = ?2) ORDER BY job.seq, artifact.path",
        (run_id, job_id),
    ).fetchall()
    return [
        j.JobArtifact(
            job_id=JobId(row[0]),
            artifact=ArtifactEntry(path=row[1], size_bytes=row[2], sha256=row[3]),
        )
        for row in rows
    ]


def find_dependency(conn: sqlite3.Connection, attempt_id: str, job_id: str) -> int | None:
    """The run in which `attempt_id` has `job_id` as a dependency; None when it has not."""
    row = conn.execute(
        "SELECT upstream.run_id FROM attempt"
        " JOIN job AS own ON own.seq = attempt.job_seq"
        " JOIN edge ON edge.downstream = coalesce(own.mapped_by, own.seq)"
        " JOIN job AS upstream ON upstream.seq = edge.upstream"
        " WHERE attempt.id = ? AND upstream.id = ?",
        (attempt_id, job_id),
    ).fetchone()
    return None if row is None else int(row[0])


def list_events(conn: sqlite3.Connection, run_id: int, after: int, limit: int) -> list[j.Event]:
    check_run(conn, run_id)
    rows = conn.execute(
        "SELECT seq, at, kind, run_id, job_id, attempt_id, facts FROM event"
        " WHERE run_id = ? AND seq > ? ORDER BY seq LIMIT ?",
        (run_id, after, limit),
    ).fetchall()
    return [
        j.Event(
            seq=row[0],
            at=from_us(row[1]),
            kind=row[2],
            run_id=row[3],
            job_id=row[4],
            attempt_id=row[5],
            facts=json.loads(row[6]),
        )
        for row in rows
    ]


def no_such_run(run_id: int) -> UnknownRun:
    return UnknownRun(f"there is no run {run_id}", run_id=run_id)


def check_run(conn: sqlite3.Connection, run_id: int) -> None:
    """UnknownRun: there is none of that number."""
    if conn.execute("SELECT 1 FROM run WHERE id = ?", (run_id,)).fetchone() is None:
        raise no_such_run(run_id)


def find_job(conn: sqlite3.Connection, run_id: int, job_id: str) -> int:
    """The job's queue place. UnknownRun, UnknownJob."""
    row = conn.execute(
        "SELECT seq FROM job WHERE run_id = ? AND id = ?", (run_id, job_id)
    ).fetchone()
    if row is not None:
        return int(row[0])
    check_run(conn, run_id)
    raise UnknownJob(f"run {run_id} has no job {job_id!r}", run_id=run_id, job_id=job_id)


class LogPlace(NamedTuple):
    """Where a job's log is. `attempt_id` is None while nothing has run."""

    attempt_id: str | None
    inline: bytes | None  # the whole log, when it is in the database
    is_live: bool  # the attempt runs: its log may grow
    job_has_ended: bool
    ended_at: datetime | None  # the attempt


def log_of(conn: sqlite3.Connection, run_id: int, job_id: str, attempt_id: str | None) -> LogPlace:
    """Of the latest attempt that ran, unless `attempt_id` names one."""
    seq = find_job(conn, run_id, job_id)
    status, counts = conn.execute(
        "SELECT status, attempt_id FROM job WHERE seq = ?", (seq,)
    ).fetchone()
    row = conn.execute(
        "SELECT id, log_inline, status, ended_at FROM attempt WHERE job_seq = ?1"
        " AND started_at IS NOT NULL AND (?2 IS NULL OR id = ?2) ORDER BY fence DESC LIMIT 1",
        (seq, attempt_id),
    ).fetchone()
    if row is None and counts is not None:  # carried over: the log is the earlier run's
        row = conn.execute(
            "SELECT id, log_inline, status, ended_at FROM attempt"
            " WHERE id = ?1 AND started_at IS NOT NULL AND (?2 IS NULL OR id = ?2)",
            (counts, attempt_id),
        ).fetchone()
    found, inline, state, ended_at = row or (None, None, None, None)
    at = None if ended_at is None else from_us(ended_at)
    return LogPlace(found, inline, state in LIVE, JobStatus(status).is_ended, at)


def status_of(conn: sqlite3.Connection, run_id: int) -> RunStatus:
    row = conn.execute("SELECT status FROM run WHERE id = ?", (run_id,)).fetchone()
    if row is None:
        raise no_such_run(run_id)
    return RunStatus(row[0])


def _run_facts(conn: sqlite3.Connection, row: tuple[Any, ...]) -> dict[str, Any]:
    run_id, name, status, created_at, started_at, ended_at, retry_of, attempt, schedule = row
    counts = conn.execute(
        "SELECT status, count(*) FROM job WHERE run_id = ? GROUP BY status ORDER BY status",
        (run_id,),
    ).fetchall()
    return {
        "run_id": run_id,
        "name": name,
        "status": status,
        "exit_code": EXIT_CODES.get(RunStatus(status)),
        "created_at": from_us(created_at),
        "started_at": started_at and from_us(started_at),
        "ended_at": ended_at and from_us(ended_at),
        "counts": dict(counts),
        "retry_of": retry_of,
        "attempt": attempt,
        "schedule": schedule,
    }


def _deferral(row: tuple[Any, ...] | None, last_look: str | None) -> j.Deferral | None:
    if row is None:
        return None
    _, kind, told, since, timeout_s = row
    until = None if timeout_s is None else from_us(since) + timedelta(seconds=timeout_s)
    return j.Deferral(
        trigger=kind, says=told, since=from_us(since), until=until, last_look=last_look
    )


def _job_view(
    row: tuple[Any, ...], attempts: int, phase: str | None, deferral: j.Deferral | None
) -> j.JobView:
    spec = json.loads(row[2])
    return j.JobView(
        id=row[1],
        stage=spec["stage"],
        status=row[3],
        exit_code=row[4],
        reason=_parsed(j.Reason, row[5]),
        tries=row[6],
        attempts=attempts,
        refusals=row[7],
        needs=tuple(spec["needs"]),
        allow_failure=bool(row[8]),
        held_for=row[11],
        phase=phase if row[3] == JobStatus.RUNNING else None,
        deferral=deferral,
        matrix=spec.get("matrix", {}),
        marked_by=row[12],
        instances=row[13],
        started_at=row[9] and from_us(row[9]),
        ended_at=row[10] and from_us(row[10]),
    )


M = TypeVar("M", bound=BaseModel)


def _parsed(model: type[M], text: str | None) -> M | None:
    return None if text is None else model.model_validate_json(text)
