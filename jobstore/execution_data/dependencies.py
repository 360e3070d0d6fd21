"""The jobs that a running one needed, as they are now."""

import sqlite3

from shared.ids import JobId
from shared.protocol.gateway import Dependencies, DependencyResult
from shared.protocol.states import JobStatus


def dependencies_of(conn: sqlite3.Connection, seq: int) -> Dependencies:
    """An instance of a mapped job needs what that job needs."""
    found = conn.execute(
        "SELECT job.id, job.status, job.exit_code FROM job AS own"
        " JOIN edge ON edge.downstream = coalesce(own.mapped_by, own.seq)"
        " JOIN job ON job.seq = edge.upstream AND job.mapped_by IS NOT edge.downstream"
        " WHERE own.seq = ? ORDER BY job.seq",
        (seq,),
    ).fetchall()
    return Dependencies(
        dependencies=tuple(
            DependencyResult(job_id=JobId(job_id), status=JobStatus(status), exit_code=exit_code)
            for job_id, status, exit_code in found
        )
    )
