"""Past runs, read from the job service's database: on its thread, and in pieces of bounded size."""

import json
import sqlite3
from typing import Any, Final

from jobstore.store import reads
from jobstore.store.journal import from_us
from shared.ids import JobId, RunId
from shared.protocol.history import JobDiff, PastJob, RunDiff
from shared.protocol.jobs import RunFilter, RunSummary
from shared.protocol.pipeline import JobSpec
from shared.protocol.states import RunStatus

ENDED: Final = tuple(status.value for status in RunStatus if status.is_ended)

_IS_ENDED: Final = f"status IN ({', '.join(repr(status) for status in ENDED)})"


def latest_runs(conn: sqlite3.Connection, name: str, limit: int) -> list[int]:
    """Ended runs of the pipeline, newest first."""
    rows = conn.execute(
        f"SELECT id FROM run WHERE name = ? AND {_IS_ENDED} ORDER BY id DESC LIMIT ?",
        (name, limit),
    ).fetchall()
    return [row[0] for row in rows]


def past_jobs(
    conn: sqlite3.Connection, name: str, runs: list[int], job_id: str | None
) -> list[PastJob]:
    """Jobs of these runs in the runs' order; those of one run in the order of its document."""
    rows = conn.execute(
        "SELECT job.run_id, job.id, job.status, job.exit_code, job.tries, job.started_at,"
        " job.ended_at FROM json_each(?1) AS wanted JOIN run ON run.id = wanted.value"
        " JOIN job ON job.run_id = run.id WHERE ?2 IS NULL OR job.id = ?2"
        " ORDER BY wanted.key, job.seq",
        (json.dumps(runs), job_id),
    ).fetchall()
    return [_past_job(name, row) for row in rows]


def compare(conn: sqlite3.Connection, before: int, after: int) -> RunDiff:
    """Both runs side by side, from one state of the database. UnknownRun."""
    summaries = _summary(conn, before), _summary(conn, after)
    old, new = _jobs(conn, before), _jobs(conn, after)
    names = [*new, *(job_id for job_id in old if job_id not in new)]
    diffs = [_job_diff(job_id, old.get(job_id), new.get(job_id)) for job_id in names]
    diffs.sort(key=lambda diff: diff.before is diff.after and not diff.spec)  # keeps the order
    return RunDiff(before=summaries[0], after=summaries[1], jobs=tuple(diffs))


def _past_job(name: str, row: tuple[Any, ...]) -> PastJob:
    run_id, job_id, status, exit_code, tries, started_at, ended_at = row
    return PastJob(
        run_id=run_id,
        pipeline=name,
        job_id=job_id,
        status=status,
        exit_code=exit_code,
        tries=tries,
        started_at=started_at and from_us(started_at),
        ended_at=from_us(ended_at),
        duration_s=_took_s(tries, started_at, ended_at),
    )


def _took_s(tries: int, started_at: int | None, ended_at: int | None) -> float | None:
    """None: it did not run here, or has not ended. A carried-over job has times, but no try."""
    if tries == 0 or started_at is None or ended_at is None:
        return None
    return max(ended_at - started_at, 0) / 1_000_000


def _summary(conn: sqlite3.Connection, run_id: int) -> RunSummary:
    newest = reads.list_runs(conn, RunFilter(limit=1, before=RunId(run_id + 1)))
    if not newest or newest[0].run_id != run_id:
        raise reads.no_such_run(run_id)
    return newest[0]


def _jobs(conn: sqlite3.Connection, run_id: int) -> dict[str, tuple[Any, ...]]:
    rows = conn.execute(
        "SELECT id, status, spec, tries, started_at, ended_at FROM job WHERE run_id = ?"
        " ORDER BY seq",
        (run_id,),
    ).fetchall()
    return {row[0]: row[1:] for row in rows}


def _job_diff(
    job_id: str, before: tuple[Any, ...] | None, after: tuple[Any, ...] | None
) -> JobDiff:
    return JobDiff(
        job_id=JobId(job_id),
        before=before and before[0],
        after=after and after[0],
        before_s=before and _took_s(*before[2:]),
        after_s=after and _took_s(*after[2:]),
        spec=() if before is None or after is None else _changed(before[1], after[1]),
    )


def _changed(before: str, after: str) -> tuple[str, ...]:
    """Fields in which two documents of a job differ, whichever version wrote them."""
    if before == after:
        return ()
    old, new = JobSpec.model_validate_json(before), JobSpec.model_validate_json(after)
    return tuple(name for name in JobSpec.model_fields if getattr(old, name) != getattr(new, name))
