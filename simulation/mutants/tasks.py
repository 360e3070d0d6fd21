"""Bugs in what tasks leave for each other, and in how those that wait without a worker go on."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from unittest import mock

import jobstore.execution_data.rows
import jobstore.retry
import jobstore.store.run
import jobstore.store.sqlite
import jobstore.triggers.rows
from jobstore.execution_data.rows import Large, find
from jobstore.retry import Verdict
from jobstore.states import JobEvent
from jobstore.store.told import answer_question, post_callback
from jobstore.store.work import Work
from shared.protocol.questions import AnswerRequest
from shared.protocol.states import JobStatus
from shared.sqlite import Tx


@contextmanager
def value_kept_twice() -> Iterator[None]:
    """A value that is sent again, as its answer got lost, is kept beside itself."""
    keep = jobstore.execution_data.rows.keep

    def keep_both(tx: Tx, attempt_id: str, key: str, value: str, large: Large | None) -> None:
        before = find(tx.conn, attempt_id, key)
        if before is not None and before.text == value and large is None:
            value = json.dumps([json.loads(value)] * 2)
        keep(tx, attempt_id, key, value, large)

    with mock.patch.object(jobstore.execution_data.rows, "keep", keep_both):
        yield


@contextmanager
def values_of_a_lost_try_kept() -> Iterator[None]:
    """What a task left that was lost when it had gone on is the next try's as well."""

    def move_all(work: Work, seq: int, attempt_id: str) -> None:
        work.conn.execute(
            "UPDATE OR IGNORE xcom SET attempt_id = ?1 WHERE attempt_id = (SELECT attempt.id"
            " FROM job JOIN attempt ON attempt.job_seq = job.seq WHERE job.seq = ?2"
            " AND job.resume IS NOT NULL AND attempt.id <> ?1 AND attempt.started_at IS NOT NULL"
            " ORDER BY attempt.fence DESC LIMIT 1)",
            (attempt_id, seq),
        )

    with mock.patch.object(jobstore.store.run, "keep_xcoms", move_all):
        yield


@contextmanager
def deferred_job_woken_twice() -> Iterator[None]:
    """A message or an answer that is sent again wakes the job that it has woken before."""

    def post(work: Work, callback_id: str, secret: str, event: Any) -> None:
        row = work.conn.execute(
            "SELECT job_seq FROM callback WHERE id = ? AND event IS NOT NULL", (callback_id,)
        ).fetchone()
        post_callback(work, callback_id, secret, event)
        if row is not None:
            _wake(work, row[0])

    def answer(work: Work, ask: AnswerRequest) -> None:
        row = work.conn.execute(
            "SELECT seq FROM job WHERE run_id = ? AND id = ? AND resume IS NOT NULL",
            (ask.run_id, ask.job_id),
        ).fetchone()
        answer_question(work, ask)
        if row is not None:
            _wake(work, row[0])

    with (
        mock.patch.object(jobstore.store.sqlite, "post_callback", post),
        mock.patch.object(jobstore.store.sqlite, "answer_question", answer),
    ):
        yield


def _wake(work: Work, seq: int) -> None:
    """The job is in the queue, also while it runs."""
    run_id, job_id, status, selector_id = work.conn.execute(
        "SELECT run_id, id, status, selector_id FROM job WHERE seq = ?", (seq,)
    ).fetchone()
    if status == JobStatus.RUNNING:
        work.move_job(seq, JobStatus.RUNNING, JobEvent.REQUEUE)
        work.record("job.resumed", run_id, job_id, job_seq=seq)
        work.record("job.queued", run_id, job_id, job_seq=seq, queue_timeout_s=None)
        work.batch.ready[selector_id] += 1


@contextmanager
def wait_spends_a_try() -> Iterator[None]:
    """A task that waits without a worker pays for it as for a failure."""
    judge_wait = jobstore.retry._judge_wait

    def judge(*arguments: Any, **named: Any) -> Verdict:
        verdict = judge_wait(*arguments, **named)
        return Verdict(verdict.event, verdict.reason)

    with mock.patch.object(jobstore.retry, "_judge_wait", judge):
        yield


@contextmanager
def waits_forgotten_at_restart() -> Iterator[None]:
    """Who waited before the job service was restarted is waited for no more."""

    def none(conn: object) -> Sequence[int]:
        return []

    with mock.patch.object(jobstore.triggers.rows, "every", none):
        yield


MUTANTS = (
    value_kept_twice,
    values_of_a_lost_try_kept,
    deferred_job_woken_twice,
    wait_spends_a_try,
    waits_forgotten_at_restart,
)
