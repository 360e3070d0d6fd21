"""Where a job is claimed, handed back, and where a claim that nobody started lapses."""

import heapq
from collections.abc import Mapping
from typing import NamedTuple

from jobstore.states import ATTEMPT, JOB, LIVE, AttemptEvent, JobEvent, after
from jobstore.store.savings import Savings
from jobstore.store.work import Work
from shared.errors import StaleFence, UnknownAttempt
from shared.protocol.gateway import ClaimRequest, RefuseRequest
from shared.protocol.states import AttemptStatus, JobStatus

_CLAIMED = after(JOB, JobStatus.QUEUED, JobEvent.CLAIM)


class Selector(NamedTuple):
    """What a job wants of its worker. Jobs that want the same are queued together."""

    labels: Mapping[str, str]
    slots: int


class Granted(NamedTuple):
    """A lease that was given."""

    attempt_id: str
    fence: int
    run_id: int
    job_id: str
    slots: int


class Grants(NamedTuple):
    """What a claim came to."""

    granted: list[Granted]
    is_saving: bool = False  # the next job wants more slots than were left: no other before it


def claim_jobs(
    work: Work,
    ask: ClaimRequest,
    *,
    most: int,
    selectors: Mapping[int, Selector],
    resting: set[int],
    savings: Savings,
) -> Grants:
    """Up to `most` of the oldest jobs of highest priority, each with a new attempt and fence.

    `selectors` are those that the worker's labels and slots satisfy; jobs in `resting` were
    refused by this worker a moment ago. The worker saves up for a job that does not fit, unless
    another does. The cost depends on the free slots, never on how many jobs are queued.
    """
    left = ask.free_slots
    chosen = heapq.merge(
        *(
            work.conn.execute(
                f"SELECT -priority, seq, {int(wanted.slots)} FROM job"
                f" WHERE status = '{JobStatus.QUEUED}' AND selector_id = ?"
                " ORDER BY priority DESC, seq LIMIT ?",
                (selector_id, min(most, max(1, left // wanted.slots)) + len(resting)),
            ).fetchall()
            for selector_id, wanted in selectors.items()
        )
    )
    granted: list[Granted] = []
    for _, seq, slots in chosen:
        if seq in resting:
            continue
        if slots <= left:
            granted.append(_open_attempt(work, ask, seq, slots))
            savings.end(seq)
            left -= slots
        elif savings.save(ask.worker_id, seq, work.tx.mono):
            return Grants(granted, is_saving=True)
        if left == 0 or len(granted) == most:
            break
    return Grants(granted)


def granted_before(work: Work, ask: ClaimRequest) -> list[Granted]:
    """What this claim_id was given already and is still live: the answer got lost on its way."""
    rows = work.conn.execute(
        "SELECT attempt.id, attempt.fence, job.run_id, job.id, selector.slots FROM attempt"
        " JOIN job ON job.seq = attempt.job_seq JOIN selector ON selector.id = job.selector_id"
        " WHERE attempt.worker_id = ? AND attempt.claim_id = ? AND attempt.status IN (?, ?)"
        " ORDER BY job.seq",
        (ask.worker_id, ask.claim_id, *LIVE),
    ).fetchall()
    return [Granted(*row) for row in rows]


def _open_attempt(work: Work, ask: ClaimRequest, seq: int, slots: int) -> Granted:
    attempt_id = work.tx.new_id()
    fence, run_id, job_id = work.conn.execute(
        "UPDATE job SET status = ?, fence = fence + 1, attempt_id = ?"
        " WHERE seq = ? AND status = ? RETURNING fence, run_id, id",
        (_CLAIMED, attempt_id, seq, JobStatus.QUEUED),
    ).fetchone()
    work.conn.execute(
        "INSERT INTO attempt (id, job_seq, fence, worker_id, claim_id, status, claimed_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            attempt_id,
            seq,
            fence,
            ask.worker_id,
            ask.claim_id,
            AttemptStatus.CLAIMED,
            work.tx.now_us,
        ),
    )
    work.record(
        "job.claimed",
        run_id,
        job_id,
        attempt_id,
        seq,
        worker_id=ask.worker_id,
        fence=fence,
        claim_id=ask.claim_id,
    )
    return Granted(attempt_id, fence, run_id, job_id, slots)


class Held(NamedTuple):
    """The job that an attempt is of, and what the attempt is now."""

    seq: int
    run_id: int
    job_id: str
    fence: int
    worker_id: str
    status: AttemptStatus


def find_attempt(work: Work, attempt_id: str) -> Held:
    """UnknownAttempt: there never was one of this id."""
    row = work.conn.execute(
        "SELECT job.seq, job.run_id, job.id, attempt.fence, attempt.worker_id, attempt.status"
        " FROM attempt JOIN job ON job.seq = attempt.job_seq WHERE attempt.id = ?",
        (attempt_id,),
    ).fetchone()
    if row is None:
        raise UnknownAttempt(attempt_id=attempt_id)
    return Held(row[0], row[1], row[2], row[3], row[4], AttemptStatus(row[5]))


def check_holder(held: Held, *, worker_id: str, fence: int) -> None:
    """StaleFence: the attempt is another worker's, or of another fence."""
    if held.worker_id != worker_id or held.fence != fence:
        raise StaleFence(state=held.status.value)


def move_attempt(
    work: Work, attempt_id: str, status: AttemptStatus, event: AttemptEvent, **columns: object
) -> None:
    """The attempt is in the state that `event` leads to. StaleFence: it was not in `status`."""
    to = after(ATTEMPT, status, event)
    names = "".join(f", {name} = ?" for name in columns)
    moved = work.conn.execute(
        f"UPDATE attempt SET status = ?{names} WHERE id = ? AND status = ?",
        (to, *columns.values(), attempt_id, status),
    ).rowcount
    if moved != 1:
        raise StaleFence(state=status.value)


def refuse_job(work: Work, ask: RefuseRequest) -> int | None:
    """The job's queue place, to which it went back; None when this was refused before."""
    held = find_attempt(work, ask.attempt_id)
    check_holder(held, worker_id=ask.worker_id, fence=ask.fence)
    if held.status is AttemptStatus.REFUSED:
        return None
    if held.status is not AttemptStatus.CLAIMED:
        raise StaleFence(
            f"the attempt is {held.status.value}: only one that is not running can be refused",
            state=held.status.value,
        )
    _hand_back(work, held, ask.attempt_id, AttemptEvent.REFUSE, JobEvent.REFUSE, ask.reason)
    work.conn.execute("UPDATE job SET refusals = refusals + 1 WHERE seq = ?", (held.seq,))
    return held.seq


def lapse_claim(work: Work, attempt_id: str, held: Held) -> None:
    """The claim was not started in time; the job is back in its place, no try spent."""
    _hand_back(work, held, attempt_id, AttemptEvent.LAPSE, JobEvent.LAPSE, "not started in time")


_PAST: Mapping[JobEvent, str] = {JobEvent.REFUSE: "job.refused", JobEvent.LAPSE: "job.lapsed"}


def _hand_back(
    work: Work,
    held: Held,
    attempt_id: str,
    attempt_event: AttemptEvent,
    job_event: JobEvent,
    reason: str,
) -> None:
    move_attempt(work, attempt_id, AttemptStatus.CLAIMED, attempt_event, ended_at=work.tx.now_us)
    work.move_job(held.seq, JobStatus.CLAIMED, job_event)
    work.record(
        _PAST[job_event],
        held.run_id,
        held.job_id,
        attempt_id,
        held.seq,
        worker_id=held.worker_id,
        fence=held.fence,
        reason=reason,
    )
    (selector_id,) = work.conn.execute(
        "SELECT selector_id FROM job WHERE seq = ?", (held.seq,)
    ).fetchone()
    work.batch.ready[selector_id] += 1
