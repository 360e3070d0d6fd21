"""Bugs in how jobs come into the queue, wait in it, and leave it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import jobstore.store.admit
import jobstore.store.sqlite
import jobstore.store.submit
import jobstore.store.waiting
from jobstore.store.claim import Granted, refuse_job
from jobstore.store.submit import submit_run
from jobstore.store.waiting import WaitingRoom
from jobstore.store.work import Work
from shared.protocol.gateway import ClaimRequest, RefuseRequest
from shared.protocol.pipeline import PipelineSpec
from shared.protocol.states import JobStatus


@contextmanager
def submit_key_ignored() -> Iterator[None]:
    """A submission that is sent again makes another run."""

    def submit(work: Work, pipeline: PipelineSpec, *, key: str, **rest: Any) -> int:
        return submit_run(work, pipeline, key=work.tx.new_id(), **rest)

    with mock.patch.object(jobstore.store.sqlite, "submit_run", submit):
        yield


@contextmanager
def refusal_loses_the_job() -> Iterator[None]:
    """A job that was refused is in no queue any more."""

    def refuse(work: Work, ask: RefuseRequest) -> int | None:
        seq = refuse_job(work, ask)
        if seq is not None:
            work.conn.execute("UPDATE job SET status = ? WHERE seq = ?", (JobStatus.HELD, seq))
        return seq

    with mock.patch.object(jobstore.store.sqlite, "refuse_job", refuse):
        yield


@contextmanager
def refused_job_does_not_rest() -> Iterator[None]:
    """A worker gets the job that it refused at once again."""

    def rest(self: WaitingRoom, worker_id: str, job_seq: int, until: float) -> None:
        """It does not."""

    with mock.patch.object(WaitingRoom, "rest", rest):
        yield


@contextmanager
def claim_differs_on_repeat() -> Iterator[None]:
    """A claim that is sent again, as its answer got lost, brings other jobs than before."""

    def granted_before(work: Work, ask: ClaimRequest) -> list[Granted]:
        return []

    with mock.patch.object(jobstore.store.waiting, "granted_before", granted_before):
        yield


@contextmanager
def lock_not_held() -> Iterator[None]:
    """A job has its lock whoever else has it."""

    def take(work: Work, name: str, seq: int) -> bool:
        return True

    with mock.patch.object(jobstore.store.admit, "_take_lock", take):
        yield


@contextmanager
def lock_not_passed_on() -> Iterator[None]:
    """A lock that becomes free stays with the job that had it."""

    def keep(work: Work, name: str, seq: int) -> None:
        """Nobody gets it."""

    with mock.patch.object(jobstore.store.admit, "_pass_lock_on", keep):
        yield


@contextmanager
def max_workers_exceeded() -> Iterator[None]:
    """The end of a job makes room for two."""
    release = jobstore.store.admit.release

    def release_two(work: Work, run_id: int, count: int = 1) -> None:
        release(work, run_id, count + 1)

    with mock.patch.object(jobstore.store.admit, "release", release_two):
        yield


@contextmanager
def room_not_passed_on() -> Iterator[None]:
    """The end of a job makes room for none."""

    def release_none(work: Work, run_id: int, count: int = 1) -> None:
        """Those that are held stay so."""

    with mock.patch.object(jobstore.store.admit, "release", release_none):
        yield


MUTANTS = (
    submit_key_ignored,
    refusal_loses_the_job,
    refused_job_does_not_rest,
    claim_differs_on_repeat,
    lock_not_held,
    lock_not_passed_on,
    max_workers_exceeded,
    room_not_passed_on,
)
