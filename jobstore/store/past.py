"""A run as another one goes on from it."""

import sqlite3
from typing import NamedTuple

from jobstore.run_settings import read_settings
from jobstore.store.reads import no_such_run
from shared.protocol.pipeline import JobSpec, OnError, PipelineSpec
from shared.protocol.states import JobStatus, RunStatus


class PastJob(NamedTuple):
    """A job of a run that may be gone on from."""

    status: JobStatus
    attempt_id: str | None
    exit_code: int | None
    marked_by: str | None


class PastRun(NamedTuple):
    """What a run ran, and where it stands."""

    pipeline: PipelineSpec
    status: RunStatus
    jobs: dict[str, PastJob]


def past_run(conn: sqlite3.Connection, run_id: int) -> PastRun:
    """The pipeline as it was submitted; defaults of its jobs are filled in."""
    row = conn.execute(
        "SELECT name, description, max_workers, status, on_error, settings FROM run WHERE id = ?",
        (run_id,),
    ).fetchone()
    if row is None:
        raise no_such_run(run_id)
    stages = conn.execute(
        "SELECT name FROM stage WHERE run_id = ? ORDER BY position", (run_id,)
    ).fetchall()
    jobs = conn.execute(
        "SELECT spec, id, status, attempt_id, exit_code, marked_by FROM job WHERE run_id = ?"
        " AND mapped_by IS NULL ORDER BY seq",
        (run_id,),
    ).fetchall()
    pipeline = PipelineSpec(
        name=row[0],
        description=row[1],
        max_workers=row[2],
        on_error=OnError(row[4]),
        stages=tuple(name for (name,) in stages),
        jobs=tuple(JobSpec.model_validate_json(job[0]) for job in jobs),
        **dict(read_settings(row[5])),
    )
    past = {job[1]: PastJob(JobStatus(job[2]), *job[3:]) for job in jobs}
    return PastRun(pipeline, RunStatus(row[3]), past)
