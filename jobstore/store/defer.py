"""Jobs that wait without a worker: how they go to sleep, and the two ways in which they wake.

What wakes one names the fence of the attempt that went to sleep. Whoever is second, or speaks of
an earlier sleep, changes nothing.
"""

import json
import random
from typing import NamedTuple

from pydantic import JsonValue

from jobstore.notifications.outbox import note_question
from jobstore.retry import judge_result
from jobstore.store.admit import COLUMNS, admit, ready
from jobstore.store.claim import Held
from jobstore.store.journal import from_us
from jobstore.store.row import find_row
from jobstore.store.stopwatch import Stopwatch
from jobstore.store.verdict import follow, tried_of
from jobstore.store.work import Work
from jobstore.triggers.kinds import (
    Job,
    Question,
    Time,
    Trigger,
    params_of,
    question_view,
    read_trigger,
    says,
)
from shared.protocol.execution import Defer, Fail, Reschedule, Resumption
from shared.protocol.gateway import Outcome, Result
from shared.protocol.questions import QuestionView
from shared.protocol.states import AttemptStatus, JobStatus


class Fired(NamedTuple):
    """What a job waited for came about."""

    job_seq: int
    fence: int
    event: JsonValue


class Lapsed(NamedTuple):
    """It did not, or it never can."""

    job_seq: int
    fence: int
    why: str
    is_late: bool  # it did not come about in time


def put_to_sleep(work: Work, held: Held, state: Defer | Reschedule) -> dict[str, object]:
    """What the job is to wait for is stored; facts for the log. The caller moves the job."""
    trigger: Trigger
    if isinstance(state, Reschedule):
        trigger = Time(kind="time", at=state.at)
    else:
        trigger = read_trigger(state.trigger)
    if isinstance(trigger, Job) and trigger.run_id is None:
        trigger = trigger.model_copy(update={"run_id": held.run_id})
    now = from_us(work.tx.now_us)
    told = says(trigger, now)
    defer = state if isinstance(state, Defer) else None
    work.conn.execute(
        "INSERT INTO deferral (job_seq, fence, kind, params, says, next_method, arguments,"
        " timeout_s, on_timeout, since) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            held.seq,
            held.fence,
            trigger.kind,
            json.dumps(params_of(trigger), ensure_ascii=False),
            told,
            defer and defer.next_method,
            json.dumps(defer.arguments if defer else {}, ensure_ascii=False),
            defer and defer.timeout_s,
            defer and defer.on_timeout,
            work.tx.now_us,
        ),
    )
    if isinstance(trigger, Question):
        note_question(work, _question(work, held, trigger, defer.timeout_s if defer else None))
    facts: dict[str, object] = {"trigger": trigger.kind, "says": told}
    if defer is not None and defer.timeout_s is not None:
        facts["timeout_s"] = defer.timeout_s
    if isinstance(state, Reschedule) and state.reason:
        facts["why"] = state.reason
    return facts


def _question(work: Work, held: Held, trigger: Question, timeout_s: float | None) -> QuestionView:
    (pipeline,) = work.conn.execute("SELECT name FROM run WHERE id = ?", (held.run_id,)).fetchone()
    return question_view(
        held.run_id, held.job_id, pipeline, trigger, from_us(work.tx.now_us), timeout_s
    )


def wake_up(work: Work, fired: Fired) -> bool:
    """The job is queued, or held for what it lacks, and goes on with the event. False: it did not
    wait for this any more."""
    row = work.conn.execute(
        "SELECT next_method, arguments, kind FROM deferral WHERE job_seq = ? AND fence = ?",
        fired[:2],
    ).fetchone()
    if row is None:
        return False
    next_method, arguments, kind = row
    _go_on(work, fired.job_seq, kind, next_method, arguments, fired.event)
    return True


def give_up_waiting(work: Work, lapsed: Lapsed, *, watch: Stopwatch, rng: random.Random) -> bool:
    """The task goes on where it wants to when nothing came in time; else its try has failed.
    False: it did not wait for this any more."""
    row = work.conn.execute(
        "SELECT on_timeout, arguments, kind, timeout_s FROM deferral"
        " WHERE job_seq = ? AND fence = ?",
        (lapsed.job_seq, lapsed.fence),
    ).fetchone()
    if row is None:
        return False
    on_timeout, arguments, kind, timeout_s = row
    if lapsed.is_late and on_timeout is not None:
        event = {"timed_out_after_s": timeout_s}
        _go_on(work, lapsed.job_seq, kind, on_timeout, arguments, event)
        return True
    job = find_row(work, lapsed.job_seq)
    attempt_id, worker_id = work.conn.execute(
        "SELECT id, worker_id FROM attempt WHERE job_seq = ? AND fence = ?",
        (lapsed.job_seq, lapsed.fence),
    ).fetchone()
    held = Held(job.seq, job.run_id, job.job_id, lapsed.fence, worker_id, AttemptStatus.REPORTED)
    tried = tried_of(work, held, watch)
    tried = tried._replace(tries=tried.tries + 1)  # going to sleep had spent none
    why = lapsed.why[:2_000]
    if lapsed.is_late:
        result = Result(outcome=Outcome.TIMEOUT, message=why)
    else:
        result = Result(outcome=Outcome.TASK_ENDED, message=why, task=Fail(reason=why))
    verdict = judge_result(
        result,
        tried.spec,
        tries=tried.tries,
        since_first_try_s=tried.elapsed_s,
        cancelled=tried.cancelled,
        is_stopped=tried.is_stopped,
        rng=rng,
    )
    follow(work, held, attempt_id, verdict, tried, exit_code=None, was=job.status)
    return True


def keep_xcoms(work: Work, seq: int, attempt_id: str) -> None:
    """What a task had left when it went to sleep is there for the attempt that goes on from it.

    A copy: what a try left that was lost on the way is nothing for the next one.
    """
    work.conn.execute(
        "INSERT OR IGNORE INTO xcom (attempt_id, key, value, sha256, size_bytes, kind, length)"
        " SELECT ?1, key, value, sha256, size_bytes, kind, length FROM xcom WHERE attempt_id ="
        " (SELECT attempt.id FROM job JOIN attempt ON attempt.job_seq = job.seq"
        f" WHERE job.seq = ?2 AND job.resume IS NOT NULL AND outcome = '{JobStatus.DEFERRED}'"
        " ORDER BY attempt.fence DESC LIMIT 1)",
        (attempt_id, seq),
    )


def _go_on(
    work: Work, seq: int, kind: str, method: str | None, arguments: str, event: JsonValue
) -> None:
    """One compare-and-set: the job's status, which `admit` moves; the rest follows from it."""
    run_id, job_id = work.conn.execute(
        "SELECT run_id, id FROM job WHERE seq = ?", (seq,)
    ).fetchone()
    if method is not None:
        resume = Resumption(next_method=method, arguments=json.loads(arguments), event=event)
        work.conn.execute(
            "UPDATE job SET resume = ? WHERE seq = ?", (resume.model_dump_json(), seq)
        )
    work.record("job.resumed", run_id, job_id, job_seq=seq, trigger=kind, method=method)
    row = work.conn.execute(f"SELECT {COLUMNS} FROM job WHERE seq = ?", (seq,)).fetchone()
    admit(work, run_id, [ready(row)])
