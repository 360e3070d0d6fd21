"""Bugs in who may write to a job: its fence, and the state that its attempt has to be in."""

from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from unittest import mock

import jobstore.store.expire
import jobstore.store.finish
import jobstore.store.run
import jobstore.store.waiting
from jobstore.states import ATTEMPT, AttemptEvent, after
from jobstore.store.claim import Granted, Held, find_attempt
from jobstore.store.work import Work
from shared.protocol.gateway import ClaimRequest
from shared.protocol.states import AttemptStatus, JobStatus

REVIVED = {
    AttemptStatus.LAPSED: AttemptStatus.CLAIMED,
    AttemptStatus.LOST: AttemptStatus.RUNNING,
}


@contextmanager
def fence_not_checked() -> Iterator[None]:
    """An attempt that lapsed or was lost is served as if it still held the job."""
    with (
        _blind(jobstore.store.expire),
        _blind(jobstore.store.finish),
        _blind(jobstore.store.run),
    ):
        yield


@contextmanager
def late_result_counts() -> Iterator[None]:
    """The result of an attempt that was lost is accepted, though another may have the job."""
    with _blind(jobstore.store.finish):
        yield


@contextmanager
def lapsed_claim_runs() -> Iterator[None]:
    """A claim that lapsed may still be started."""
    with _blind(jobstore.store.run):
        yield


@contextmanager
def fence_not_raised() -> Iterator[None]:
    """Every claim of a job has the fence of the one before."""
    granted = jobstore.store.claim._open_attempt

    def grant(work: Work, ask: ClaimRequest, seq: int, slots: int) -> Granted:
        work.conn.execute("UPDATE job SET fence = max(fence, 1) - 1 WHERE seq = ?", (seq,))
        return granted(work, ask, seq, slots)

    with mock.patch.object(jobstore.store.claim, "_open_attempt", grant):
        yield


@contextmanager
def job_stays_queued_when_claimed() -> Iterator[None]:
    """A claim does not take the job out of the queue: the next one gets it as well."""
    granted = jobstore.store.claim._open_attempt

    def grant(work: Work, ask: ClaimRequest, seq: int, slots: int) -> Granted:
        lease = granted(work, ask, seq, slots)
        work.conn.execute("UPDATE job SET status = ? WHERE seq = ?", (JobStatus.QUEUED, seq))
        return lease

    with mock.patch.object(jobstore.store.claim, "_open_attempt", grant):
        yield


@contextmanager
def _blind(verb: ModuleType) -> Iterator[None]:
    """`verb` takes attempts that are over for live ones, and moves them from any state."""

    def find(work: Work, attempt_id: str) -> Held:
        held = find_attempt(work, attempt_id)
        return held._replace(status=REVIVED.get(held.status, held.status))

    def move(
        work: Work, attempt_id: str, status: AttemptStatus, event: AttemptEvent, **columns: object
    ) -> None:
        names = "".join(f", {name} = ?" for name in columns)
        work.conn.execute(
            f"UPDATE attempt SET status = ?{names} WHERE id = ?",
            (after(ATTEMPT, status, event), *columns.values(), attempt_id),
        )

    with (
        mock.patch.object(verb, "find_attempt", find),
        mock.patch.object(verb, "move_attempt", move),
    ):
        yield


MUTANTS = (
    fence_not_checked,
    late_result_counts,
    lapsed_claim_runs,
    fence_not_raised,
    job_stays_queued_when_claimed,
)
