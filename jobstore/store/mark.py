"""A person takes a job for a success that has ended badly, or has not started.

In a run that goes on, whoever was skipped because of the job may run after all. In a run that has
ended nothing runs any more: the record is mended, so that a run that goes on from it carries the
job over.
"""

from jobstore.states import RUN, STAGE, JobEvent, RunEvent, StageEvent, after
from jobstore.store.admit import give_up_place
from jobstore.store.reads import find_job
from jobstore.store.rejudge import left_out, rejudge
from jobstore.store.row import ROW, JobRow, find_row, job_row
from jobstore.store.settle import settle
from jobstore.store.stop import has_place
from jobstore.store.unfold import UNFOLDED
from jobstore.store.work import Work
from shared.errors import Conflict
from shared.protocol.jobs import MarkRequest, Reason
from shared.protocol.states import FAILURES, JobStatus, RunStatus, StageStatus


def mark_job(work: Work, ask: MarkRequest) -> None:
    """The job is a success. One that is a success is left as it is. Conflict: a worker has it.

    A mapped job is marked in those of its instances that neither succeeded nor were skipped; when
    the last of them is a success, so is the job, unless it had ended: then it is marked as well.
    """
    job = find_row(work, find_job(work.conn, ask.run_id, ask.job_id))
    if job.status is JobStatus.SUCCESS:
        return
    marked = [job, *(_instances(work, job.seq) if _is_unfolded(work, job.seq) else ())]
    for one in marked:
        if one.status in (JobStatus.CLAIMED, JobStatus.RUNNING):
            raise Conflict(
                f"job {one.job_id!r} is {one.status.value}: wait for its end, or cancel it first",
                state=one.status.value,
            )
    if len(marked) > 1 and not job.status.is_ended:
        marked.remove(job)  # it ends as its instances do
    for one in reversed(marked):  # who stands for others is a success after they are
        _mark(work, ask, one)


def _is_unfolded(work: Work, seq: int) -> bool:
    (mapping,) = work.conn.execute("SELECT mapping FROM job WHERE seq = ?", (seq,)).fetchone()
    return bool(mapping == UNFOLDED)


def _instances(work: Work, seq: int) -> list[JobRow]:
    """Those that may be marked, in their order."""
    found = work.conn.execute(
        f"SELECT {ROW} FROM job WHERE mapped_by = ? ORDER BY map_index", (seq,)
    ).fetchall()
    good = (JobStatus.SUCCESS, JobStatus.SKIPPED)
    return [one for one in map(job_row, found) if one.status not in good]


def _mark(work: Work, ask: MarkRequest, job: JobRow) -> None:
    message = f"taken for a success by {ask.by}" + (f": {ask.reason}" if ask.reason else "")
    reason = Reason(who="operator", what="marked", message=message)
    columns: dict[str, object] = {"marked_by": ask.by, "reason": reason.model_dump_json()}
    if not job.status.is_ended:  # how long it took stays what it was
        columns |= {"ended_at": work.tx.now_us, "held_for": None}
    to = work.move_job(job.seq, job.status, JobEvent.MARK, **columns)
    work.record(
        "job.marked",
        ask.run_id,
        job.job_id,
        job_seq=job.seq,
        by=ask.by,
        reason=ask.reason,
        was=job.status.value,
        status=to.value,
    )
    if not job.status.is_ended:
        settle(work, ask.run_id, [job.after(to)])
        give_up_place(work, job, was_admitted=has_place(job.status))
        return
    (raw,) = work.conn.execute("SELECT status FROM run WHERE id = ?", (ask.run_id,)).fetchone()
    if RunStatus(raw).is_ended:
        _mend(work, ask.run_id, RunStatus(raw), job.stage)
    else:
        rejudge(work, ask.run_id)


def _mend(work: Work, run_id: int, status: RunStatus, position: int) -> None:
    """The ended run, and the job's stage, are successes if nothing bad is left in them.

    Bad is also what a failure has left out, marked as that may be: it has not run.
    """
    left = [job.stage for job in left_out(work, run_id)]
    failed = ", ".join(f"'{s}'" for s in FAILURES)
    bad = f"status = '{JobStatus.CANCELLED}' OR (status IN ({failed}) AND NOT allow_failure)"
    in_run, in_stage, counted = work.conn.execute(
        f"SELECT total({bad}), total(stage = ? AND ({bad})),"
        f" total(status IN ({failed}) AND NOT allow_failure) FROM job WHERE run_id = ?",
        (position, run_id),
    ).fetchone()
    (is_cancelled,) = work.conn.execute(
        "UPDATE run SET failed_jobs = ? WHERE id = ? RETURNING is_cancelled", (counted, run_id)
    ).fetchone()
    if not in_stage and position not in left:
        _mend_stage(work, run_id, position)
    if in_run == 0 and not left and not is_cancelled and status is not RunStatus.SUCCESS:
        to = after(RUN, status, RunEvent.MARK)
        work.conn.execute("UPDATE run SET status = ? WHERE id = ?", (to, run_id))
        work.record("run.marked", run_id, was=status.value, status=to.value)


def _mend_stage(work: Work, run_id: int, position: int) -> None:
    row = work.conn.execute(
        "SELECT status FROM stage WHERE run_id = ? AND position = ?", (run_id, position)
    ).fetchone()
    if row is not None and row[0] != StageStatus.SUCCESS:
        to = after(STAGE, StageStatus(row[0]), StageEvent.MARK)
        (name,) = work.conn.execute(
            "UPDATE stage SET status = ? WHERE run_id = ? AND position = ? RETURNING name",
            (to, run_id, position),
        ).fetchone()
        work.record("stage.marked", run_id, stage=name, status=to.value)
