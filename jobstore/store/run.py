"""Where an attempt starts to run: the one gate at which a try is counted."""

from typing import NamedTuple

from jobstore.states import JOB, LIVE, AttemptEvent, JobEvent, RunEvent, after
from jobstore.store.claim import check_holder, find_attempt, move_attempt
from jobstore.store.defer import keep_xcoms
from jobstore.store.stopwatch import Stopwatch
from jobstore.store.work import Work
from shared.errors import StaleFence
from shared.protocol.gateway import RunRequest
from shared.protocol.states import AttemptStatus, JobStatus, RunStatus


class Started(NamedTuple):
    """What the store knows of an attempt that runs."""

    run_id: int
    job_id: str
    pipeline: str
    settings: str  # of the pipeline, as JSON: see RunSettings
    spec: str  # JobSpec as JSON
    tries: int
    dependencies: list[tuple[str, str, int | None]]  # job id, status, exit code
    map_index: int | None = None
    scheduled_for: int | None = None  # microseconds
    resume: str | None = None  # Resumption as JSON, of a task that was deferred


_RUNNING = after(JOB, JobStatus.CLAIMED, JobEvent.RUN)


def run_attempt(work: Work, ask: RunRequest, *, watch: Stopwatch) -> Started:
    """The attempt runs and one try is spent; asked again, the same answer and nothing spent.

    StaleFence: it lapsed, was cancelled, or is another worker's.
    """
    held = find_attempt(work, ask.attempt_id)
    check_holder(held, worker_id=ask.worker_id, fence=ask.fence)
    if held.status not in LIVE:
        raise StaleFence(f"the attempt is {held.status.value}", state=held.status.value)
    if held.status is AttemptStatus.CLAIMED:
        move_attempt(
            work,
            ask.attempt_id,
            AttemptStatus.CLAIMED,
            AttemptEvent.RUN,
            started_at=work.tx.now_us,
            host=ask.host,
            pid=ask.pid,
        )
        (tries,) = work.conn.execute(
            "UPDATE job SET status = ?, tries = tries + 1,"
            " started_at = coalesce(started_at, ?) WHERE seq = ? AND status = ? RETURNING tries",
            (_RUNNING, work.tx.now_us, held.seq, JobStatus.CLAIMED),
        ).fetchone()
        keep_xcoms(work, held.seq, ask.attempt_id)
        if tries == 1:
            watch.start(held.seq, work.tx.mono)
        work.record(
            "job.running",
            held.run_id,
            held.job_id,
            ask.attempt_id,
            held.seq,
            fence=held.fence,
            tries=tries,
            worker_id=held.worker_id,
        )
    (
        spec,
        tries,
        pipeline,
        run_status,
        settings,
        stands_for,
        map_index,
        scheduled_for,
        resume,
    ) = work.conn.execute(
        "SELECT job.spec, job.tries, run.name, run.status, run.settings,"
        " coalesce(job.mapped_by, job.seq), job.map_index, run.scheduled_for, job.resume FROM job"
        " JOIN run ON run.id = job.run_id WHERE job.seq = ?",
        (held.seq,),
    ).fetchone()
    if run_status == RunStatus.PENDING:
        work.move_run(held.run_id, RunStatus.PENDING, RunEvent.START)
    dependencies = work.conn.execute(
        "SELECT job.id, job.status, job.exit_code FROM edge"
        " JOIN job ON job.seq = edge.upstream WHERE edge.downstream = ?1"
        " AND job.mapped_by IS NOT ?1 ORDER BY job.seq",
        (stands_for,),
    ).fetchall()
    return Started(
        held.run_id,
        held.job_id,
        pipeline,
        settings,
        spec,
        tries,
        dependencies,
        map_index,
        scheduled_for,
        resume,
    )
