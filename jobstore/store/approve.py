"""A person lets a job go on that waits for approval, or refuses it."""

from jobstore.store.admit import COLUMNS, admit, ready
from jobstore.store.cancel import end_as_cancelled
from jobstore.store.reads import find_job
from jobstore.store.row import find_row
from jobstore.store.settle import settle
from jobstore.store.work import Work
from shared.errors import Conflict
from shared.protocol.jobs import ApproveRequest, Reason
from shared.protocol.states import HeldFor

REFUSED = "refused"


def approve_job(work: Work, ask: ApproveRequest) -> None:
    """The job is queued, or held for what else it lacks; refused, it is cancelled.

    The same word again changes nothing. Conflict: it does not wait for approval.
    """
    seq = find_job(work.conn, ask.run_id, ask.job_id)
    held_for, approved_by, was_refused = work.conn.execute(
        "SELECT held_for, approved_by, reason ->> 'what' = ? FROM job WHERE seq = ?",
        (REFUSED, seq),
    ).fetchone()
    if held_for != HeldFor.APPROVAL:
        if approved_by is not None if ask.is_granted else was_refused:
            return
        job = find_row(work, seq)
        raise Conflict(
            f"job {ask.job_id!r} does not wait for approval: it is {job.status.value}",
            state=job.status.value,
        )
    if ask.is_granted:
        _grant(work, seq, ask)
    else:
        _refuse(work, seq, ask)


def _grant(work: Work, seq: int, ask: ApproveRequest) -> None:
    row = work.conn.execute(
        f"UPDATE job SET needs_approval = 0, approved_by = ? WHERE seq = ? RETURNING {COLUMNS}",
        (ask.by, seq),
    ).fetchone()
    work.record("job.approved", ask.run_id, ask.job_id, job_seq=seq, by=ask.by, reason=ask.reason)
    admit(work, ask.run_id, [ready(row)])


def _refuse(work: Work, seq: int, ask: ApproveRequest) -> None:
    message = f"refused by {ask.by}" + (f": {ask.reason}" if ask.reason else "")
    reason = Reason(who="operator", what=REFUSED, message=message).model_dump_json()
    settle(work, ask.run_id, [end_as_cancelled(work, find_row(work, seq), reason, message)])
