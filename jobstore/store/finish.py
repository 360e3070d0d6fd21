"""Where a result is accepted, once; where a late one is kept as evidence; where a lease is lost."""

import hashlib
import random
from typing import NamedTuple

from jobstore.retry import Verdict, judge_loss, judge_result
from jobstore.states import AttemptEvent, JobEvent
from jobstore.store.admit import COLUMNS, admit, give_up_place, ready
from jobstore.store.claim import Held, check_holder, find_attempt, lapse_claim, move_attempt
from jobstore.store.row import find_row
from jobstore.store.settle import settle
from jobstore.store.stop import FAIL_FAST, skip_stopped
from jobstore.store.stopwatch import Stopwatch
from jobstore.store.work import Work
from shared.errors import ResultConflict, StaleFence
from shared.protocol.gateway import FinishRequest, Outcome, Result
from shared.protocol.jobs import Reason
from shared.protocol.pipeline import JobSpec, When
from shared.protocol.states import AttemptStatus, JobStatus


class Accepted(NamedTuple):
    """A report that counts."""

    receipt_id: str
    job_status: JobStatus


class Late(NamedTuple):
    """A report that came too late: it was kept, and changes nothing."""

    error: StaleFence


class Expired(NamedTuple):
    """An attempt that was not started in time, or whose worker was silent for too long."""

    attempt_id: str
    was_running: bool


def finish_attempt(
    work: Work,
    ask: FinishRequest,
    *,
    log_inline: bytes | None,
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
    tried = _tried(work, held, watch)
    verdict = judge_result(
        ask.result,
        tried.spec,
        tries=tried.tries,
        since_first_try_s=tried.elapsed_s,
        cancelled=tried.cancelled,
        is_stopped=tried.is_stopped,
        rng=rng,
    )
    receipt_id = work.tx.new_id()
    job_status = follow(work, held, ask.attempt_id, verdict, tried, exit_code=ask.result.exit_code)
    move_attempt(
        work,
        ask.attempt_id,
        AttemptStatus.RUNNING,
        AttemptEvent.REPORT,
        ended_at=work.tx.now_us,
        exit_code=ask.result.exit_code,
        signal=ask.result.signal,
        reason=verdict.reason and verdict.reason.model_dump_json(),
        receipt_id=receipt_id,
        result_digest=digest,
        job_status=job_status,
        outcome=outcome_of(ask.result),
        log_size=ask.log.size_bytes,
        log_sha256=ask.log.sha256,
        log_lost=ask.log.lost_bytes,
        log_inline=log_inline,
        usage=ask.usage.model_dump_json(),
    )
    work.conn.executemany(
        "INSERT INTO artifact (attempt_id, path, size_bytes, sha256) VALUES (?, ?, ?, ?)",
        [(ask.attempt_id, a.path, a.size_bytes, a.sha256) for a in ask.artifacts],
    )
    if job_status.is_ended:
        watch.forget(held.seq)
    return Accepted(receipt_id, job_status)


def expire_lease(
    work: Work, expired: Expired, *, max_lost: int, watch: Stopwatch, rng: random.Random
) -> None:
    """The attempt lapsed or is lost, unless it was settled a moment ago: then nothing happens.

    Nor when it was started a moment ago, while it was found to lapse: it has a new lease.
    """
    attempt_id = expired.attempt_id
    held = find_attempt(work, attempt_id)
    if held.status is AttemptStatus.CLAIMED:
        lapse_claim(work, attempt_id, held)
    elif held.status is AttemptStatus.RUNNING and expired.was_running:
        (losses,) = work.conn.execute(
            "UPDATE job SET losses = losses + 1 WHERE seq = ? RETURNING losses", (held.seq,)
        ).fetchone()
        tried = _tried(work, held, watch)
        verdict = judge_loss(
            tried.spec,
            tries=tried.tries,
            losses=losses,
            max_lost=max_lost,
            since_first_try_s=tried.elapsed_s,
            cancelled=tried.cancelled,
            is_stopped=tried.is_stopped,
            rng=rng,
        )
        work.record(
            "attempt.lost",
            held.run_id,
            held.job_id,
            attempt_id,
            held.seq,
            worker_id=held.worker_id,
            fence=held.fence,
        )
        status = follow(work, held, attempt_id, verdict, tried, exit_code=None)
        if status.is_ended:
            watch.forget(held.seq)
        move_attempt(
            work,
            attempt_id,
            AttemptStatus.RUNNING,
            AttemptEvent.LOSE,
            ended_at=work.tx.now_us,
            outcome=AttemptStatus.LOST,
            reason=verdict.reason and verdict.reason.model_dump_json(),
        )


class Tried(NamedTuple):
    """What a verdict depends on, beside how the attempt ended."""

    spec: JobSpec
    tries: int
    elapsed_s: float  # since the first try started
    cancelled: Reason | None
    is_stopped: bool  # nothing more of the run starts, this job included


def _tried(work: Work, held: Held, watch: Stopwatch) -> Tried:
    spec, tries, elapsed_s, cancelled, is_stopped = work.conn.execute(
        "SELECT job.spec, job.tries, job.elapsed_s, iif(job.is_cancelled, job.reason, NULL),"
        f" run.is_stopped AND job.condition = '{When.ON_SUCCESS}'"
        " FROM job JOIN run ON run.id = job.run_id WHERE job.seq = ?",
        (held.seq,),
    ).fetchone()
    return Tried(
        JobSpec.model_validate_json(spec),
        tries,
        watch.elapsed_s(held.seq, work.tx.mono, elapsed_s),
        _reason(cancelled),
        bool(is_stopped),
    )


def follow(
    work: Work,
    held: Held,
    attempt_id: str,
    verdict: Verdict,
    tried: Tried,
    *,
    exit_code: int | None,
) -> JobStatus:
    """The verdict has happened to a running job; the status that it led to."""
    columns: dict[str, object] = {
        "exit_code": exit_code,
        "reason": verdict.reason and verdict.reason.model_dump_json(),
        "elapsed_s": tried.elapsed_s,
        "tries": tried.tries - (not verdict.spends_try),
    }
    if verdict.event is JobEvent.RETRY:
        columns["delay_s"] = verdict.delay_s
    elif verdict.event is not JobEvent.REQUEUE:
        columns["ended_at"] = work.tx.now_us
    status = work.move_job(held.seq, JobStatus.RUNNING, verdict.event, **columns)
    facts: dict[str, object] = {"fence": held.fence, "exit_code": exit_code}
    if verdict.reason is not None:
        facts["reason"] = verdict.reason.what
    if verdict.event is JobEvent.RETRY:
        facts["delay_s"] = verdict.delay_s
    kind = "job.requeued" if verdict.event is JobEvent.REQUEUE else f"job.{status.value}"
    work.record(kind, held.run_id, held.job_id, attempt_id, held.seq, **facts)
    job = find_row(work, held.seq)
    if verdict.event is JobEvent.REQUEUE and not tried.is_stopped:
        (selector_id,) = work.conn.execute(
            "SELECT selector_id FROM job WHERE seq = ?", (held.seq,)
        ).fetchone()
        work.batch.ready[selector_id] += 1
        return status
    if verdict.event is JobEvent.REQUEUE:  # it had to leave its worker, and may not start again
        why = Reason(who="job", what=FAIL_FAST, message="another job failed").model_dump_json()
        settle(work, held.run_id, [skip_stopped(work, job, why)])
        status = JobStatus.SKIPPED
    elif status.is_ended:
        # Told to stop for a failure that was marked since, it is merely cancelled.
        told = verdict.reason is not None and verdict.reason.what == FAIL_FAST
        by_failure = told and tried.is_stopped
        settle(work, held.run_id, [job.after(status, by_failure=by_failure)])
    # After settling, so that the highest priority gets the room.
    give_up_place(work, job, was_admitted=True)
    return status


def outcome_of(result: Result) -> str:
    """How the attempt itself ended, whatever follows for its job."""
    if result.outcome is Outcome.EXITED and result.exit_code == 0:
        return JobStatus.SUCCESS
    kept = (
        Outcome.TIMEOUT,
        Outcome.CANCELLED,
        Outcome.DRAINED,
        Outcome.PRECHECK_FAILED,
        Outcome.POSTCHECK_FAILED,
    )
    return result.outcome.value if result.outcome in kept else JobStatus.FAILED


def wake_jobs(work: Work, seqs: list[int]) -> None:
    """The delay of these jobs is over: those that still wait for their next try are queued."""
    for seq in seqs:
        row = work.conn.execute(
            f"SELECT run_id, {COLUMNS} FROM job WHERE seq = ? AND status = '{JobStatus.RETRYING}'",
            (seq,),
        ).fetchone()
        if row is not None:
            admit(work, row[0], [ready(row[1:])])


def digest_of(ask: FinishRequest) -> str:
    """What makes two reports the same: everything but how much of the log came along."""
    log = f"{ask.log.size_bytes}:{ask.log.sha256}:{ask.log.lost_bytes}"
    listed = "".join(f"{a.sha256}{a.path}\n" for a in ask.artifacts)
    text = f"{ask.fence}:{ask.result.model_dump_json()}:{log}:{listed}"
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _reason(text: str | None) -> Reason | None:
    return None if text is None else Reason.model_validate_json(text)


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
