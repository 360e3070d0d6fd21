"""Bugs in what the end of a job means for others, and in how people and failures stop them."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import jobstore.store.cancel
import jobstore.store.run
import jobstore.store.settle
import jobstore.store.sqlite
import jobstore.store.stop
from jobstore.leases import LeaseBook
from jobstore.store.claim import find_attempt
from jobstore.store.row import Ended, JobRow
from jobstore.store.run import Started, run_attempt
from jobstore.store.stages import NOBODY
from jobstore.store.unblock import Unblocked, resolve
from jobstore.store.work import Work
from shared.protocol.gateway import RunRequest
from shared.protocol.pipeline import OnError
from shared.protocol.states import JobStatus


@contextmanager
def dependent_promoted_twice() -> Iterator[None]:
    """The end of a job counts twice for those that wait for it and for others."""

    def resolve_twice(*arguments: Any, **facts: Any) -> Unblocked:
        once = resolve(*arguments, **facts)
        again = resolve(*arguments, **facts)
        return Unblocked(once.ready + again.ready, once.ended + again.ended, again.waiting)

    with mock.patch.object(jobstore.store.settle, "resolve", resolve_twice):
        yield


@contextmanager
def dependent_promoted_before_success() -> Iterator[None]:
    """What waits for a job is let go when the job starts."""

    def run(work: Work, ask: RunRequest, **rest: Any) -> Started:
        started = run_attempt(work, ask, **rest)
        seq = find_attempt(work, ask.attempt_id).seq
        found = resolve(
            work,
            started.run_id,
            "seq IN (SELECT downstream FROM edge WHERE upstream = ?)",
            (seq,),
            lets_go=True,
            has_failed=False,
            what="dependency",
        )
        jobstore.store.settle.enter(work, started.run_id, found.ready)
        return started

    with mock.patch.object(jobstore.store.sqlite, "run_attempt", run):
        yield


@contextmanager
def skipped_counts_as_success() -> Iterator[None]:
    """What waits for a job is let go whether it failed, was skipped or was cancelled."""
    after = JobRow.after

    def let_go(self: JobRow, status: JobStatus, **facts: Any) -> Ended:
        return after(self, status, **facts)._replace(lets_go=True)

    with mock.patch.object(JobRow, "after", let_go):
        yield


@contextmanager
def next_stage_forgotten() -> Iterator[None]:
    """The end of a stage opens no other: its jobs stay blocked."""

    def count(work: Work, run_id: int, job: Ended) -> Unblocked:
        return NOBODY

    with mock.patch.object(jobstore.store.settle, "count_in_stage", count):
        yield


@contextmanager
def allowed_failure_stops_the_run() -> Iterator[None]:
    """A job that may fail counts as a failure like any other."""
    after = JobRow.after

    def count(self: JobRow, status: JobStatus, **facts: Any) -> Ended:
        return after(replace_allowed(self), status, **facts)

    def replace_allowed(job: JobRow) -> JobRow:
        return job._replace(allow_failure=False)

    with mock.patch.object(JobRow, "after", count):
        yield


@contextmanager
def failure_stops_nothing() -> Iterator[None]:
    """A run is marked as stopped, and its jobs start all the same."""

    def stop(work: Work, run_id: int, failed: str, on_error: OnError) -> list[tuple[JobRow, Ended]]:
        work.conn.execute("UPDATE run SET is_stopped = 1 WHERE id = ?", (run_id,))
        work.record("run.stopped", run_id, failed_job=failed, on_error=on_error.value)
        return []

    with mock.patch.object(jobstore.store.settle, "stop_run", stop):
        yield


@contextmanager
def cancel_not_told_to_the_worker() -> Iterator[None]:
    """A cancelled job that runs goes on: its heartbeats are answered as before."""

    def say_nothing(self: LeaseBook, attempt_id: str) -> None:
        """Nobody hears of it."""

    with mock.patch.object(LeaseBook, "cancel", say_nothing):
        yield


@contextmanager
def cancel_leaves_the_queue() -> Iterator[None]:
    """A cancelled run is marked as such, and what has not started starts."""

    def mark_only(work: Work, run_id: int, *_: Any) -> None:
        work.conn.execute("UPDATE run SET is_cancelled = 1 WHERE id = ?", (run_id,))

    with mock.patch.object(jobstore.store.cancel, "_cancel", mark_only):
        yield


@contextmanager
def stopped_claim_keeps_its_lease() -> Iterator[None]:
    """A job that ends while it is claimed leaves the claim as it was."""

    def leave(*_: Any, **__: Any) -> None:
        """The attempt is live."""

    with mock.patch.object(jobstore.store.stop, "move_attempt", leave):
        yield


MUTANTS = (
    dependent_promoted_twice,
    dependent_promoted_before_success,
    skipped_counts_as_success,
    next_stage_forgotten,
    allowed_failure_stops_the_run,
    failure_stops_nothing,
    cancel_not_told_to_the_worker,
    cancel_leaves_the_queue,
    stopped_claim_keeps_its_lease,
)
