"""Where a result is accepted, once, and where a late one is kept as evidence."""

import hashlib
import random
from typing import NamedTuple

from jobstore.retry import Verdict, judge_result
from jobstore.states import AttemptEvent, JobEvent
from jobstore.store.claim import Held, check_holder, find_attempt, move_attempt
from jobstore.store.defer import put_to_sleep
from jobstore.store.loss import count_loss
from jobstore.store.seal import Reported, seal_report
from jobstore.store.stopwatch import Stopwatch
from jobstore.store.verdict import Tried, follow, judge_branch, tried_of
from jobstore.store.work import Work
from shared.errors import ResultConflict, StaleFence
from shared.protocol.execution import Defer, Reschedule, Succeed
from shared.protocol.gateway import FinishRequest, Outcome, Result
from shared.protocol.states import AttemptStatus, JobStatus


class Accepted(NamedTuple):
    """A report that counts."""

    receipt_id: str
    job_status: JobStatus


class Late(NamedTuple):
    """A report that came too late: it was kept, and changes nothing."""

    error: StaleFence


def finish_attempt(
    work: Work,
    ask: FinishRequest,
    *,
    log_inline: bytes | None,
    max_lost: int,
    watch: Stopwatch,
    rng: random.Random,
) -> Accepted | Late:
    """The result is settled, its artifacts listed, what follows from it done: all in one write.

    The same report again finds the same receipt. ResultConflict: another was accepted before.
    """
    held = find_attempt(work, ask.attempt_id)
    digest = digest_of(ask)
    if held.status is AttemptStatus.REPORTED and held.worker_id == ask.worker_id:
        return _receipt_again(work, ask, digest)
    try:
        check_holder(held, worker_id=ask.worker_id, fence=ask.fence)
        if held.status is not AttemptStatus.RUNNING:
            raise StaleFence(f"the attempt is {held.status.value}", state=held.status.value)
    except StaleFence as error:
        _keep_evidence(work, ask, held)
        return Late(error)
    tried = tried_of(work, held, watch)
    verdict = _judge(work, ask.result, held, tried, max_lost=max_lost, rng=rng)
    chosen = ask.result.task.follow if isinstance(ask.result.task, Succeed) else None
    if chosen is not None and verdict.event is JobEvent.SUCCEED:
        verdict = judge_branch(work, held, chosen) or verdict
    more = None
    if isinstance(ask.result.task, Defer | Reschedule) and verdict.event in (
        JobEvent.DEFER,
        JobEvent.RESCHEDULE,
    ):
        more = put_to_sleep(work, held, ask.result.task)
    report = Reported(
        id=ask.attempt_id,
        fence=ask.fence,
        worker_id=ask.worker_id,
        receipt_id=work.tx.new_id(),
        result_digest=digest,
        exit_code=ask.result.exit_code,
        signal=ask.result.signal,
        outcome=outcome_of(ask.result),
        log_size=ask.log.size_bytes,
        log_sha256=ask.log.sha256,
        log_lost=ask.log.lost_bytes,
    )
    listed = [(a.path, a.size_bytes, a.sha256) for a in ask.artifacts]
    job_status = follow(
        work,
        held,
        ask.attempt_id,
        verdict,
        tried,
        exit_code=ask.result.exit_code,
        chosen=chosen,
        more={
            **(more or {}),
            "receipt_id": report.receipt_id,
            "report_sha256": seal_report(report, listed),
        },
    )
    move_attempt(
        work,
        ask.attempt_id,
        AttemptStatus.RUNNING,
        AttemptEvent.REPORT,
        ended_at=work.tx.now_us,
        exit_code=report.exit_code,
        signal=report.signal,
        reason=verdict.reason and verdict.reason.model_dump_json(),
        receipt_id=report.receipt_id,
        result_digest=digest,
        job_status=job_status,
        outcome=report.outcome,
        log_size=report.log_size,
        log_sha256=report.log_sha256,
        log_lost=report.log_lost,
        log_inline=log_inline,
        usage=ask.usage.model_dump_json(),
    )
    work.conn.executemany(
        "INSERT INTO artifact (attempt_id, path, size_bytes, sha256) VALUES (?, ?, ?, ?)",
        [(ask.attempt_id, *artifact) for artifact in listed],
    )
    return Accepted(report.receipt_id, job_status)


def _judge(
    work: Work, result: Result, held: Held, tried: Tried, *, max_lost: int, rng: random.Random
) -> Verdict:
    if result.outcome is Outcome.LOST:
        return count_loss(work, held, tried, max_lost=max_lost, message=result.message, rng=rng)
    return judge_result(
        result,
        tried.spec,
        tries=tried.tries,
        since_first_try_s=tried.elapsed_s,
        cancelled=tried.cancelled,
        is_stopped=tried.is_stopped,
        rng=rng,
    )


def outcome_of(result: Result) -> str:
    """How the attempt itself ended, whatever follows for its job."""
    if result.outcome is Outcome.EXITED and result.exit_code == 0:
        return JobStatus.SUCCESS
    if isinstance(result.task, Defer | Reschedule):
        return JobStatus.DEFERRED if isinstance(result.task, Defer) else JobStatus.RESCHEDULED
    kept = (
        Outcome.TIMEOUT,
        Outcome.CANCELLED,
        Outcome.DRAINED,
        Outcome.PREEMPTED,
        Outcome.LOST,
        Outcome.PRECHECK_FAILED,
        Outcome.POSTCHECK_FAILED,
    )
    return result.outcome.value if result.outcome in kept else JobStatus.FAILED


def digest_of(ask: FinishRequest) -> str:
    """What makes two reports the same: everything but how much of the log came along."""
    log = f"{ask.log.size_bytes}:{ask.log.sha256}:{ask.log.lost_bytes}"
    listed = "".join(f"{a.sha256}{a.path}\n" for a in ask.artifacts)
    text = f"{ask.fence}:{ask.result.model_dump_json()}:{log}:{listed}"
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _receipt_again(work: Work, ask: FinishRequest, digest: str) -> Accepted:
    receipt_id, accepted, job_status = work.conn.execute(
        "SELECT receipt_id, result_digest, job_status FROM attempt WHERE id = ?",
        (ask.attempt_id,),
    ).fetchone()
    if accepted != digest:
        raise ResultConflict(receipt_id=receipt_id)
    return Accepted(receipt_id, JobStatus(job_status))


def _keep_evidence(work: Work, ask: FinishRequest, held: Held) -> None:
    """Once, and only from the worker whose attempt it was: anybody else has nothing to tell."""
    if held.worker_id != ask.worker_id:
        return
    evidence = ask.model_dump_json(include={"worker_id", "fence", "result", "artifacts", "usage"})
    kept = work.conn.execute(
        "UPDATE attempt SET evidence = ? WHERE id = ? AND evidence IS NULL",
        (evidence, ask.attempt_id),
    ).rowcount
    if not kept:
        return
    work.record(
        "attempt.reported_late",
        held.run_id,
        held.job_id,
        ask.attempt_id,
        held.seq,
        worker_id=ask.worker_id,
        fence=ask.fence,
        outcome=ask.result.outcome.value,
        exit_code=ask.result.exit_code,
    )
