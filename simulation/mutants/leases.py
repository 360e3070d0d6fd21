"""Bugs in how long a job is whose: the clock, heartbeats, the reaper, restarts."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

import jobstore.store.sqlite
from jobstore.keeper import Keeper
from jobstore.leases import LeaseBook
from jobstore.store.claim import find_attempt
from jobstore.store.expire import Expired, expire_lease
from jobstore.store.interface import Leftovers
from jobstore.store.work import Work
from shared.deadlines import Deadlines
from shared.protocol.gateway import LeaseBeat, Verdict
from shared.protocol.states import AttemptStatus


@contextmanager
def lease_on_the_wall_clock() -> Iterator[None]:
    """Leases end at a time of day, which an operator or NTP may change."""

    def by_wall(method: Callable[..., Any]) -> Callable[..., Any]:
        def judged(self: LeaseBook, *arguments: Any) -> Any:
            return method(self, *arguments[:-1], time.time())

        return judged

    with ExitStack() as patched:
        for name in ("restore", "grant", "start", "beat", "take_late", "take_expired", "forgive"):
            wall = by_wall(getattr(LeaseBook, name))
            patched.enter_context(mock.patch.object(LeaseBook, name, wall))
        yield


@contextmanager
def heartbeat_revives_a_lost_lease() -> Iterator[None]:
    """A heartbeat for a lease that is over is answered as if it were renewed."""
    beat = LeaseBook.beat

    def revive(self: LeaseBook, worker_id: str, one: LeaseBeat, now: float) -> Verdict:
        verdict = beat(self, worker_id, one, now)
        return Verdict.RENEWED if verdict is Verdict.GONE else verdict

    with mock.patch.object(LeaseBook, "beat", revive):
        yield


@contextmanager
def heartbeat_renews_nothing() -> Iterator[None]:
    """A heartbeat is answered well, and the lease runs out all the same."""

    def say_so(self: LeaseBook, worker_id: str, one: LeaseBeat, now: float) -> Verdict:
        lease = self._leases.get(one.attempt_id)
        if lease is None or lease.worker_id != worker_id or lease.fence != one.fence:
            return Verdict.GONE
        return Verdict.CANCEL if lease.is_cancelled else Verdict.RENEWED

    with mock.patch.object(LeaseBook, "beat", say_so):
        yield


@contextmanager
def reaper_takes_a_finished_attempt() -> Iterator[None]:
    """A lease that ends is not forgotten, and the reaper takes reported attempts for lost."""

    def reap(work: Work, expired: Expired, **rest: Any) -> None:
        held = find_attempt(work, expired.attempt_id)
        if held.status is AttemptStatus.REPORTED:
            work.conn.execute(
                "UPDATE attempt SET status = ? WHERE id = ?",
                (AttemptStatus.LOST, expired.attempt_id),
            )
        else:
            expire_lease(work, expired, **rest)

    def keep(self: LeaseBook, attempt_id: str) -> None:
        """The lease stays in the book."""

    with (
        mock.patch.object(jobstore.store.sqlite, "expire_lease", reap),
        mock.patch.object(LeaseBook, "end", keep),
    ):
        yield


@contextmanager
def reaper_forgets_what_it_took() -> Iterator[None]:
    """Leases that ran out are taken from the book, and their jobs are not told."""
    take = LeaseBook.take_expired

    def take_in_vain(self: LeaseBook, now: float) -> list[Expired]:
        take(self, now)
        return []

    with mock.patch.object(LeaseBook, "take_expired", take_in_vain):
        yield


@contextmanager
def leases_forgotten_at_restart() -> Iterator[None]:
    """After a restart nobody waits for the leases that were held before."""
    with _forgotten("live"):
        yield


@contextmanager
def retries_forgotten_at_restart() -> Iterator[None]:
    """After a restart nobody wakes the jobs that waited for their next try."""
    with _forgotten("retrying"):
        yield


@contextmanager
def restart_counts_as_silence() -> Iterator[None]:
    """Leases that were held at a restart are over at once, instead of granted anew."""
    restore = Keeper.restore

    def expire(self: Keeper, left: Leftovers) -> None:
        restore(self, left)
        deadlines: Deadlines[str] = self._leases._deadlines
        for attempt in left.live:
            deadlines.arm(attempt.attempt_id, self._runtime.mono())

    with mock.patch.object(Keeper, "restore", expire):
        yield


@contextmanager
def _forgotten(what: str) -> Iterator[None]:
    restore = Keeper.restore

    def forget(self: Keeper, left: Leftovers) -> None:
        restore(self, left._replace(**{what: []}))

    with mock.patch.object(Keeper, "restore", forget):
        yield


MUTANTS = (
    lease_on_the_wall_clock,
    heartbeat_revives_a_lost_lease,
    heartbeat_renews_nothing,
    reaper_takes_a_finished_attempt,
    reaper_forgets_what_it_took,
    leases_forgotten_at_restart,
    retries_forgotten_at_restart,
    restart_counts_as_silence,
)
