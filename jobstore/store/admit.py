"""Which jobs may be queued: what is approved, has its lock, and finds room in its run.

At most `max_workers` of a run are queued, claimed or running, and one of each lock. The others are
held, outside the index that a claim reads, so that a claim costs the same however many jobs wait.

A job takes its lock before it waits for room: room never waits for a lock, so the two cannot block
each other, and both are passed on by one look into an index.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

from jobstore.states import JobEvent
from jobstore.store.row import JobRow
from jobstore.store.work import Work
from shared.protocol.states import HeldFor, JobStatus


class Ready(NamedTuple):
    """A job that waits for no other any more."""

    seq: int
    job_id: str
    status: JobStatus
    selector_id: int
    priority: int
    queue_timeout_s: float | None
    lock: str | None
    needs_approval: bool
    mapping: str | None = None  # it stands for instances of itself


# The queue timeout is for a job's first start only: what comes after it has waited already.
COLUMNS = (
    "seq, id, status, selector_id, priority, iif(started_at IS NULL, queue_timeout_s, NULL),"
    " lock, needs_approval, mapping"
)


def ready(row: tuple[int, str, str, int, int, float | None, str | None, int, str | None]) -> Ready:
    return Ready(row[0], row[1], JobStatus(row[2]), *row[3:7], bool(row[7]), row[8])


def admit(work: Work, run_id: int, jobs: Iterable[Ready]) -> None:
    """Each of `jobs` is queued, or held for the first thing that it lacks."""
    limit, admitted = work.conn.execute(
        "SELECT max_workers, admitted FROM run WHERE id = ?", (run_id,)
    ).fetchone()
    before = admitted
    for job in sorted(jobs, key=lambda j: (-j.priority, j.seq)):
        if job.needs_approval:
            _hold(work, run_id, job, HeldFor.APPROVAL)
        elif job.lock is not None and not _take_lock(work, job.lock, job.seq):
            _hold(work, run_id, job, HeldFor.LOCK, lock=job.lock)
        elif limit is not None and admitted >= limit:
            _hold(work, run_id, job, HeldFor.MAX_WORKERS, limit=limit)
        else:
            _queue(work, run_id, job)
            admitted += 1
    if limit is not None and admitted != before:
        work.conn.execute("UPDATE run SET admitted = ? WHERE id = ?", (admitted, run_id))


def give_up_place(work: Work, job: JobRow, *, was_admitted: bool) -> None:
    """The job needs neither its lock nor its room any more: whoever waits for them has them."""
    if job.lock is not None:
        _pass_lock_on(work, job.lock, job.seq)
    if was_admitted:
        release(work, job.run_id)


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
        f"SELECT {COLUMNS} FROM job WHERE run_id = ? AND held_for = '{HeldFor.MAX_WORKERS}'"
        " ORDER BY priority DESC, seq LIMIT ?",
        (run_id, row[0]),
    ).fetchall()
    if held:
        admit(work, run_id, map(ready, held))


def _hold(work: Work, run_id: int, job: Ready, what: HeldFor, **facts: Any) -> None:
    work.move_job(job.seq, job.status, JobEvent.HOLD, held_for=what)
    work.record("job.held", run_id, job.job_id, job_seq=job.seq, held_for=what.value, **facts)


def _queue(work: Work, run_id: int, job: Ready) -> None:
    """The job is in the ready index, and waiting claims will hear of it."""
    work.move_job(job.seq, job.status, JobEvent.QUEUE, held_for=None)
    work.record(
        "job.queued", run_id, job.job_id, job_seq=job.seq, queue_timeout_s=job.queue_timeout_s
    )
    work.batch.ready[job.selector_id] += 1


def _take_lock(work: Work, name: str, seq: int) -> bool:
    """True: the job holds the lock, from now or from before."""
    taken = work.conn.execute(
        "INSERT INTO lock (name, holder) VALUES (?, ?) ON CONFLICT (name) DO NOTHING", (name, seq)
    ).rowcount
    if taken:
        return True
    (holder,) = work.conn.execute("SELECT holder FROM lock WHERE name = ?", (name,)).fetchone()
    return bool(holder == seq)


def _pass_lock_on(work: Work, name: str, seq: int) -> None:
    freed = work.conn.execute(
        "DELETE FROM lock WHERE name = ? AND holder = ?", (name, seq)
    ).rowcount
    if not freed:
        return
    row = work.conn.execute(
        f"SELECT run_id, {COLUMNS} FROM job WHERE lock = ? AND held_for = '{HeldFor.LOCK}'"
        " ORDER BY priority DESC, seq LIMIT 1",
        (name,),
    ).fetchone()
    if row is not None:
        admit(work, row[0], [ready(row[1:])])
