"""Bugs in what spends a try, and in how many there are."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from unittest import mock

import jobstore.retry
import jobstore.store.expire
import jobstore.store.finish
import jobstore.store.sqlite
from jobstore.retry import Verdict, judge_result
from jobstore.store.claim import Held, find_attempt, lapse_claim, refuse_job
from jobstore.store.run import Started, run_attempt
from jobstore.store.work import Work
from shared.protocol.gateway import RefuseRequest, RunRequest
from shared.protocol.pipeline import RetryOn, RetryRule
from shared.protocol.states import AttemptStatus


@contextmanager
def lapse_spends_a_try() -> Iterator[None]:
    """A claim that nobody started costs the job a try."""

    def lapse(work: Work, attempt_id: str, held: Held) -> None:
        lapse_claim(work, attempt_id, held)
        _spend(work, held.seq)

    with mock.patch.object(jobstore.store.expire, "lapse_claim", lapse):
        yield


@contextmanager
def refusal_spends_a_try() -> Iterator[None]:
    """A refused claim costs the job a try."""

    def refuse(work: Work, ask: RefuseRequest) -> int | None:
        seq = refuse_job(work, ask)
        if seq is not None:
            _spend(work, seq)
        return seq

    with mock.patch.object(jobstore.store.sqlite, "refuse_job", refuse):
        yield


@contextmanager
def repeated_run_spends_a_try() -> Iterator[None]:
    """A run that is asked for again, as its answer got lost, costs the job a second try."""

    def run(work: Work, ask: RunRequest, **rest: Any) -> Started:
        held = find_attempt(work, ask.attempt_id)
        started = run_attempt(work, ask, **rest)
        if held.status is AttemptStatus.RUNNING:
            _spend(work, held.seq)
        return started

    with mock.patch.object(jobstore.store.sqlite, "run_attempt", run):
        yield


@contextmanager
def drained_attempt_spends_a_try() -> Iterator[None]:
    """What a worker had to stop for its own reasons costs the job a try."""

    def judge(*arguments: Any, **facts: Any) -> Verdict:
        return replace(judge_result(*arguments, **facts), spends_try=True)

    with mock.patch.object(jobstore.store.finish, "judge_result", judge):
        yield


@contextmanager
def retry_beyond_the_most() -> Iterator[None]:
    """A job that fails is tried again however often it was."""

    def may_retry(rule: RetryRule, kind: RetryOn, *_: object, **__: object) -> bool:
        return kind in rule.on

    with mock.patch.object(jobstore.retry, "_may_retry", may_retry):
        yield


@contextmanager
def run_counts_no_try() -> Iterator[None]:
    """A job that runs has spent nothing."""

    def run(work: Work, ask: RunRequest, **rest: Any) -> Started:
        held = find_attempt(work, ask.attempt_id)
        started = run_attempt(work, ask, **rest)
        if held.status is AttemptStatus.CLAIMED:
            _spend(work, held.seq, -1)
        return started

    with mock.patch.object(jobstore.store.sqlite, "run_attempt", run):
        yield


def _spend(work: Work, seq: int, count: int = 1) -> None:
    work.conn.execute("UPDATE job SET tries = tries + ? WHERE seq = ?", (count, seq))


MUTANTS = (
    lapse_spends_a_try,
    refusal_spends_a_try,
    repeated_run_spends_a_try,
    drained_attempt_spends_a_try,
    retry_beyond_the_most,
    run_counts_no_try,
)
