"""What follows from how an attempt ended. Pure: facts in, verdict out."""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from jobstore.states import JobEvent
from jobstore.triggers.kinds import BadTrigger, read_trigger
from shared.protocol.execution import Defer, Fail, Reschedule, Retry, Skip
from shared.protocol.gateway import Outcome, Result
from shared.protocol.jobs import Reason
from shared.protocol.pipeline import JobSpec, OnLost, RetryOn, RetryRule


@dataclass(frozen=True, slots=True)
class Verdict:
    """The event that happens to the job, when it may be tried again, and why."""

    event: JobEvent
    reason: Reason | None
    delay_s: float = 0.0
    spends_try: bool = True


def judge_result(
    result: Result,
    job: JobSpec,
    *,
    tries: int,
    since_first_try_s: float,
    cancelled: Reason | None,
    is_stopped: bool = False,
    rng: random.Random,
) -> Verdict:
    """What a worker's report means. `tries` includes this one; `cancelled` is why an operator or
    a failure asked for its end, if one did; `is_stopped`: nothing of its run starts any more."""
    reason = explain(result)
    if result.outcome is Outcome.EXITED and result.exit_code == 0:
        return Verdict(JobEvent.SUCCEED, None)
    if cancelled is not None or result.outcome is Outcome.CANCELLED:
        return Verdict(JobEvent.CANCEL, cancelled or reason)
    if result.outcome in (Outcome.DRAINED, Outcome.PREEMPTED):
        return Verdict(JobEvent.REQUEUE, reason, spends_try=False)
    if isinstance(result.task, Skip):
        return Verdict(JobEvent.SKIP, reason)
    if isinstance(result.task, Defer | Reschedule):
        return _judge_wait(result.task, is_stopped=is_stopped)
    kind, event = _KINDS.get(result.outcome, (RetryOn.FAILED, JobEvent.FAIL))
    rule = job.retry or RetryRule()
    # Only an exit that failed has a code to go by: one that a check called bad has exited 0.
    exit_code = result.exit_code if result.outcome is Outcome.EXITED else None
    if (
        not is_stopped
        and result.outcome is not Outcome.FORBIDDEN  # the same policy would forbid it again
        and not (isinstance(result.task, Fail) and not result.task.may_retry)
        and _may_retry(rule, kind, exit_code, tries=tries, since_first_try_s=since_first_try_s)
    ):
        wished = result.task.delay_s if isinstance(result.task, Retry) else None
        wait_s = delay_s(rule, tries, rng) if wished is None else wished
        return Verdict(JobEvent.RETRY, reason, delay_s=wait_s)
    return Verdict(event, reason)


def _judge_wait(task: Defer | Reschedule, *, is_stopped: bool) -> Verdict:
    """The task frees its slot, if what it waits for means anything, and its run goes on."""
    if is_stopped:
        why = Reason(who="job", what="fail_fast", message="another job failed")
        return Verdict(JobEvent.SKIP, why)
    if isinstance(task, Reschedule):
        return Verdict(JobEvent.RESCHEDULE, None, spends_try=False)
    try:
        read_trigger(task.trigger)
    except BadTrigger as bad:  # it would be as wrong the next time
        return Verdict(JobEvent.FAIL, Reason(who="job", what="trigger", message=str(bad)))
    return Verdict(JobEvent.DEFER, None, spends_try=False)


def judge_loss(
    job: JobSpec,
    *,
    tries: int,
    losses: int,
    max_lost: int,
    since_first_try_s: float,
    cancelled: Reason | None,
    is_stopped: bool = False,
    message: str,
    rng: random.Random,
) -> Verdict:
    """What follows when a worker went silent with the job, or has crashed; `losses` includes
    this one.

    A rule that names `lost` decides as it does of failures, else the job's `on_lost`. A job that
    took too many workers down is not tried again in any case.
    """
    reason = Reason(who="worker", what="lost", message=message)
    if cancelled is not None:
        return Verdict(JobEvent.CANCEL, cancelled)
    rule = job.retry or RetryRule()
    if losses >= max_lost and (RetryOn.LOST in rule.on or job.on_lost is OnLost.REQUEUE):
        message = f"lost on {losses} workers: a job that takes its worker down is not tried again"
        return Verdict(JobEvent.FAIL, Reason(who="job", what="poison", message=message))
    if is_stopped:
        return Verdict(JobEvent.FAIL, reason)
    if RetryOn.LOST in rule.on:
        if _may_retry(rule, RetryOn.LOST, None, tries=tries, since_first_try_s=since_first_try_s):
            return Verdict(JobEvent.RETRY, reason, delay_s=delay_s(rule, tries, rng))
        return Verdict(JobEvent.FAIL, reason)
    return Verdict(JobEvent.FAIL if job.on_lost is OnLost.FAIL else JobEvent.REQUEUE, reason)


# What a rule calls it, and what becomes of the job when it is not tried again.
_KINDS: Final[Mapping[Outcome, tuple[RetryOn, JobEvent]]] = {
    Outcome.TIMEOUT: (RetryOn.TIMEOUT, JobEvent.TIME_OUT),
    Outcome.PRECHECK_FAILED: (RetryOn.PRECHECK_FAILED, JobEvent.FAIL_PRECHECK),
    Outcome.POSTCHECK_FAILED: (RetryOn.POSTCHECK_FAILED, JobEvent.FAIL_POSTCHECK),
}


def would_retry(rule: RetryRule, tries: int) -> bool:
    """Whether a plain failure of this try would be tried again."""
    return RetryOn.FAILED in rule.on and tries <= rule.max


def delay_s(rule: RetryRule, tries: int, rng: random.Random) -> float:
    """Seconds until the next try after `tries` of them: exponential, with +/- jitter."""
    base = rule.delay_s * rule.backoff ** min(tries - 1, 64)
    return min(base * (1 + rule.jitter * rng.uniform(-1, 1)), 7 * 86_400.0)


def explain(result: Result) -> Reason | None:
    """Who did what; None for a success."""
    match result.outcome:
        case Outcome.EXITED:
            if result.exit_code == 0:
                return None
            return Reason(who="job", what="exit_code", message=f"exited with {result.exit_code}")
        case Outcome.SIGNALED:
            return Reason(who="job", what="signal", message=f"ended by signal {result.signal}")
        case Outcome.TIMEOUT:
            return Reason(who="job", what="timeout", message=result.message)
        case Outcome.CANCELLED:
            return Reason(who="operator", what="cancelled", message=result.message)
        case Outcome.DRAINED:
            return Reason(who="operator", what="drained", message=result.message)
        case Outcome.PREEMPTED:
            return Reason(who="operator", what="preempted", message=result.message)
        case Outcome.LOST:
            return Reason(who="worker", what="lost", message=result.message)
        case Outcome.PRECHECK_FAILED:
            return Reason(who="job", what="precheck", message=result.message)
        case Outcome.POSTCHECK_FAILED:
            return Reason(who="job", what="postcheck", message=result.message)
        case Outcome.FORBIDDEN:
            return Reason(who="worker", what="forbidden", message=result.message)
        case Outcome.CONTAINER_LOST:
            return Reason(who="worker", what="container_lost", message=result.message)
        case Outcome.TASK_BROKEN:
            return Reason(who="job", what="task_broken", message=result.message)
        case Outcome.TASK_ENDED:
            return _explain_task(result)
        case (
            Outcome.SPAWN_ERROR
            | Outcome.INPUT_ERROR
            | Outcome.ARTIFACT_ERROR
            | Outcome.OOM
            | Outcome.OVER_LIMIT
        ):
            return Reason(who="job", what=result.outcome.value, message=result.message)


def _explain_task(result: Result) -> Reason:
    match result.task:
        case Skip():
            what = "skipped"
        case _:
            what = "task_failed"
    return Reason(who="job", what=what, message=result.message)


def _may_retry(
    rule: RetryRule,
    kind: RetryOn,
    exit_code: int | None,
    *,
    tries: int,
    since_first_try_s: float,
) -> bool:
    if kind not in rule.on or tries > rule.max:
        return False
    if rule.max_time_s is not None and since_first_try_s > rule.max_time_s:
        return False
    return not rule.on_exit_codes or exit_code is None or exit_code in rule.on_exit_codes
