"""Stages end and the next ones are reached, one after the other."""

from jobstore.states import StageEvent
from jobstore.store.row import Ended
from jobstore.store.unblock import Unblocked, resolve
from jobstore.store.work import Work
from shared.protocol.states import StageStatus

NOBODY = Unblocked([], [], 0)
_ENDS = (StageStatus.SUCCESS, StageStatus.FAILED, StageStatus.SKIPPED, StageStatus.CANCELLED)


def count_in_stage(work: Work, run_id: int, job: Ended) -> Unblocked:
    """Its stage knows of the job's end. What that means for the jobs of the stages after it."""
    row = work.conn.execute(
        "UPDATE stage SET open_jobs = open_jobs - 1, failed_jobs = failed_jobs + ?,"
        " failures = failures + ?, cancelled_jobs = cancelled_jobs + ?"
        " WHERE run_id = ? AND position = ? RETURNING open_jobs, is_reached",
        (job.counts, job.has_failed, job.is_cancelled, run_id, job.stage),
    ).fetchone()
    if row is None or row[0] > 0 or not row[1]:
        return NOBODY
    return go_on(work, run_id, job.stage)


def go_on(work: Work, run_id: int, position: int) -> Unblocked:
    """The stage, all of whose jobs have ended, is closed; the next with open jobs is reached."""
    while True:
        failures, is_spoilt = _close(work, run_id, position)
        position += 1
        row = work.conn.execute(
            "UPDATE stage SET is_reached = 1, is_spoilt = ?, failures = failures + ?"
            " WHERE run_id = ? AND position = ? RETURNING open_jobs",
            (is_spoilt, failures, run_id, position),
        ).fetchone()
        if row is None:
            return NOBODY
        if row[0] > 0:
            return _reach(work, run_id, position, is_spoilt=is_spoilt, has_failed=failures > 0)


def _reach(
    work: Work, run_id: int, position: int, *, is_spoilt: bool, has_failed: bool
) -> Unblocked:
    """Jobs of the stage wait for it no more. It is open if any of them may still run."""
    found = resolve(
        work,
        run_id,
        "run_id = ? AND stage = ?",
        (run_id, position),
        lets_go=not is_spoilt,
        has_failed=has_failed,
        what="stage",
    )
    if found.ready or found.waiting:
        work.move_stage(run_id, position, StageStatus.PENDING, StageEvent.OPEN)
    return found


def _close(work: Work, run_id: int, position: int) -> tuple[int, bool]:
    """The stage has ended. How many jobs failed up to here, and whether a stage did not succeed.

    A stage after one that did not succeed is skipped, or runs what runs in spite of it.
    """
    raw, failed, cancelled, failures, is_spoilt = work.conn.execute(
        "SELECT status, failed_jobs, cancelled_jobs, failures, is_spoilt FROM stage"
        " WHERE run_id = ? AND position = ?",
        (run_id, position),
    ).fetchone()
    status = StageStatus(raw)
    if status in _ENDS:
        return failures, bool(is_spoilt) or status is not StageStatus.SUCCESS
    if failed:
        event = StageEvent.FAIL
    elif cancelled or (status is StageStatus.RUNNING and _is_cancelled(work, run_id)):
        event = StageEvent.CANCEL
    elif status is StageStatus.PENDING and is_spoilt:
        event = StageEvent.SKIP
    else:
        event = StageEvent.SUCCEED
    if status is StageStatus.PENDING and event is StageEvent.SUCCEED:  # nothing was left to do
        status = work.move_stage(run_id, position, status, StageEvent.OPEN)
    status = work.move_stage(run_id, position, status, event)
    return failures, bool(is_spoilt) or status is not StageStatus.SUCCESS


def _is_cancelled(work: Work, run_id: int) -> bool:
    (flag,) = work.conn.execute("SELECT is_cancelled FROM run WHERE id = ?", (run_id,)).fetchone()
    return bool(flag)
