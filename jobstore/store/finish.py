"""Where a result is accepted, once; where a late one is kept as evidence; where a lease is lost."""

import hashlib
import random
from typing import NamedTuple

from jobstore.retry import Verdict, judge_loss, judge_result
from jobstore.states import AttemptEvent, JobEvent
from jobstore.store.admit import COLUMNS, admit, ready, release
from jobstore.store.claim import Held, check_holder, find_attempt, lapse_claim, move_attempt
from jobstore.store.settle import Ended, settle
from jobstore.store.work import Work
from shared.errors import ResultConflict, StaleFence
from shared.protocol.gateway import FinishRequest
from shared.protocol.jobs import Reason
from shared.protocol.pipeline import JobSpec
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
    work: Work, ask: FinishRequest, *, log_inline: bytes | None, rng: random.Random
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
    row = work.conn.execute(
        "SELECT spec, tries, started_at, iif(is_cancelled, reason, NULL) FROM job WHERE seq = ?",
        (held.seq,),
    ).fetchone()
    spec = JobSpec.model_validate_json(row[0])
    verdict = judge_result(
        ask.result,
        spec,
        tries=row[1],
        since_first_try_s=(work.tx.now_us - row[2]) / 1_000_000,
        cancelled=_reason(row[3]),
        rng=rng,
    )
    receipt_id = work.tx.new_id()
    job_status = follow(work, held, ask.attempt_id, verdict, exit_code=ask.result.exit_code)
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
    return Accepted(receipt_id, job_status)


def expire_lease(work: Work, expired: Expired, *, max_lost: int) -> None:
    """The attempt lapsed or is lost, unless it was settled a moment ago: then nothing happens.

    Nor when it was started a moment ago, while it was found to lapse: it has a new lease.
    """
    attempt_id = expired.attempt_id
    held = find_attempt(work, attempt_id)
    if held.status is AttemptStatus.CLAIMED:
        lapse_claim(work, attempt_id, held)
    elif held.status is AttemptStatus.RUNNING and expired.was_running:
        losses, spec, cancelled = work.conn.execute(
            "UPDATE job SET losses = losses + 1 WHERE seq = ?"
            " RETURNING losses, spec, iif(is_cancelled, reason, NULL)",
            (held.seq,),
        ).fetchone()
        verdict = judge_loss(
            JobSpec.model_validate_json(spec),
            losses=losses,
            max_lost=max_lost,
            cancelled=_reason(cancelled),
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
        follow(work, held, attempt_id, verdict, exit_code=None)
        move_attempt(
            work,
            attempt_id,
            AttemptStatus.RUNNING,
            AttemptEvent.LOSE,
            ended_at=work.tx.now_us,
            reason=verdict.reason and verdict.reason.model_dump_json(),
        )


def follow(
    work: Work, held: Held, attempt_id: str, verdict: Verdict, *, exit_code: int | None
) -> JobStatus:
    """The verdict has happened to a running job; the status that it led to."""
    columns: dict[str, object] = {
        "exit_code": exit_code,
        "reason": verdict.reason and verdict.reason.model_dump_json(),
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
    if not verdict.spends_try:
        work.conn.execute("UPDATE job SET tries = tries - 1 WHERE seq = ?", (held.seq,))
    stage, allow_failure, selector_id = work.conn.execute(
        "SELECT stage, allow_failure, selector_id FROM job WHERE seq = ?", (held.seq,)
    ).fetchone()
    if verdict.event is JobEvent.REQUEUE:
        work.batch.ready[selector_id] += 1
        return status
    if status.is_ended:
        settle(work, held.run_id, [Ended(held.seq, stage, status, bool(allow_failure))])
    release(work, held.run_id)  # after settling, so that the highest priority gets the room
    return status


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
