"""Which jobs may be queued: at most `max_workers` of a run are queued, claimed or running.

The others are held, outside the index that a claim reads, so that a claim costs the same however
many jobs wait.
"""

from collections.abc import Iterable
from typing import NamedTuple

from jobstore.states import JobEvent
from jobstore.store.work import Work
from shared.protocol.states import JobStatus


class Ready(NamedTuple):
    """A job whose dependencies are met."""

    seq: int
    job_id: str
    status: JobStatus
    selector_id: int
    priority: int
    queue_timeout_s: float | None


# The queue timeout is for a job's first start only: what comes after it has waited already.
COLUMNS = "seq, id, status, selector_id, priority, iif(started_at IS NULL, queue_timeout_s, NULL)"


def ready(row: tuple[int, str, str, int, int, float | None]) -> Ready:
    return Ready(row[0], row[1], JobStatus(row[2]), *row[3:])


def admit(work: Work, run_id: int, jobs: Iterable[Ready]) -> None:
    """Each of `jobs` is queued, or held where the run's max_workers is reached."""
    limit, admitted = work.conn.execute(
        "SELECT max_workers, admitted FROM run WHERE id = ?", (run_id,)
    ).fetchone()
    before = admitted
    for job in sorted(jobs, key=lambda j: (-j.priority, j.seq)):
        if limit is None or admitted < limit:
            queue(work, run_id, job)
            admitted += 1
        elif job.status is not JobStatus.HELD:
            work.move_job(job.seq, job.status, JobEvent.HOLD)
            work.record("job.held", run_id, job.job_id, job_seq=job.seq, limit=limit)
    if limit is not None and admitted != before:
        work.conn.execute("UPDATE run SET admitted = ? WHERE id = ?", (admitted, run_id))


def queue(work: Work, run_id: int, job: Ready) -> None:
    """The job is in the ready index, and waiting claims will hear of it."""
    work.move_job(job.seq, job.status, JobEvent.QUEUE)
    work.record(
        "job.queued", run_id, job.job_id, job_seq=job.seq, queue_timeout_s=job.queue_timeout_s
    )
    work.batch.ready[job.selector_id] += 1


def release(work: Work, run_id: int, count: int = 1) -> None:
    """`count` jobs of the run no longer count; as many held ones as now fit are queued."""
    row = work.conn.execute(
        "UPDATE run SET admitted = admitted - ? WHERE id = ? AND max_workers IS NOT NULL"
        " RETURNING max_workers - admitted",
        (count, run_id),
    ).fetchone()
    if row is None or row[0] <= 0:
        return
    held = work.conn.execute(
        f"SELECT {COLUMNS} FROM job WHERE run_id = ? AND status = '{JobStatus.HELD}'"
        " ORDER BY priority DESC, seq LIMIT ?",
        (run_id, row[0]),
    ).fetchall()
    if held:
        admit(work, run_id, map(ready, held))
