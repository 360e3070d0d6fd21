"""What follows from how an attempt ended."""

import random

import pytest

from jobstore.retry import Verdict, delay_s, explain, judge_loss, judge_result
from jobstore.states import JobEvent
from shared.protocol.gateway import Outcome, Result
from shared.protocol.jobs import Reason
from shared.protocol.pipeline import JobSpec, OnLost, RetryOn, RetryRule

RNG = random.Random(1)
ASKED = Reason(who="operator", what="cancelled", message="enough")


def a_job(rule: RetryRule | None = None, on_lost: OnLost = OnLost.REQUEUE) -> JobSpec:
    return JobSpec(id="j", command="true", retry=rule, on_lost=on_lost)


def judged(
    result: Result,
    rule: RetryRule | None = None,
    *,
    tries: int = 1,
    since_first_try_s: float = 0,
    cancelled: Reason | None = None,
) -> JobEvent:
    return judge_result(
        result,
        a_job(rule),
        tries=tries,
        since_first_try_s=since_first_try_s,
        cancelled=cancelled,
        rng=RNG,
    ).event


def exited(code: int) -> Result:
    return Result(outcome=Outcome.EXITED, exit_code=code)


def test_exit_code_zero_is_a_success() -> None:
    assert judged(exited(0)) is JobEvent.SUCCEED


def test_a_failure_without_tries_left_fails() -> None:
    assert judged(exited(1)) is JobEvent.FAIL
    assert judged(exited(1), RetryRule(max=2), tries=3) is JobEvent.FAIL


def test_a_failure_with_tries_left_is_retried() -> None:
    assert judged(exited(1), RetryRule(max=2), tries=2) is JobEvent.RETRY


def test_only_the_listed_exit_codes_are_retried() -> None:
    rule = RetryRule(max=2, on_exit_codes=(75,))

    assert judged(exited(75), rule) is JobEvent.RETRY
    assert judged(exited(1), rule) is JobEvent.FAIL


def test_a_timeout_is_retried_only_when_the_rule_says_so() -> None:
    timeout = Result(outcome=Outcome.TIMEOUT)

    assert judged(timeout, RetryRule(max=1)) is JobEvent.RETRY
    assert judged(timeout, RetryRule(max=1, on=(RetryOn.FAILED,))) is JobEvent.TIME_OUT


def test_no_retry_starts_after_the_total_time() -> None:
    rule = RetryRule(max=5, max_time_s=60)

    assert judged(exited(1), rule, since_first_try_s=59) is JobEvent.RETRY
    assert judged(exited(1), rule, since_first_try_s=61) is JobEvent.FAIL


def test_a_cancelled_job_is_not_retried_but_a_success_stands() -> None:
    rule = RetryRule(max=5)

    assert judged(exited(1), rule, cancelled=ASKED) is JobEvent.CANCEL
    assert judged(exited(0), rule, cancelled=ASKED) is JobEvent.SUCCEED


def test_a_drained_attempt_goes_back_without_spending_a_try() -> None:
    verdict = judge_result(
        Result(outcome=Outcome.DRAINED),
        a_job(),
        tries=1,
        since_first_try_s=0,
        cancelled=None,
        rng=RNG,
    )

    assert (verdict.event, verdict.spends_try) == (JobEvent.REQUEUE, False)


def test_delays_grow_by_the_backoff_and_stay_within_the_jitter() -> None:
    rule = RetryRule(max=9, delay_s=10, backoff=2, jitter=0.1)

    for tries, base in ((1, 10), (2, 20), (5, 160)):
        assert base * 0.9 <= delay_s(rule, tries, RNG) <= base * 1.1


def test_an_endless_backoff_stays_bounded() -> None:
    rule = RetryRule(max=1_000, delay_s=3_600, backoff=100, jitter=0)

    assert delay_s(rule, 999, RNG) == 7 * 86_400


def lost(
    job: JobSpec,
    *,
    tries: int = 1,
    losses: int = 1,
    since_first_try_s: float = 0,
    cancelled: Reason | None = None,
    is_stopped: bool = False,
) -> Verdict:
    return judge_loss(
        job,
        tries=tries,
        losses=losses,
        max_lost=3,
        since_first_try_s=since_first_try_s,
        cancelled=cancelled,
        is_stopped=is_stopped,
        message="gone",
        rng=RNG,
    )


def test_a_lost_job_is_queued_again_until_it_is_poison() -> None:
    events = [lost(a_job(), losses=n).event for n in (1, 2, 3)]

    assert events == [JobEvent.REQUEUE, JobEvent.REQUEUE, JobEvent.FAIL]


def test_a_lost_job_fails_at_once_where_the_document_says_so() -> None:
    assert lost(a_job(on_lost=OnLost.FAIL)).event is JobEvent.FAIL


def test_a_rule_that_names_lost_makes_a_loss_a_try_that_waits_its_delay() -> None:
    job = a_job(RetryRule(max=1, delay_s=30, jitter=0, on=(RetryOn.LOST,)), OnLost.FAIL)

    first, second = lost(job, tries=1), lost(job, tries=2, losses=2)

    assert (first.event, first.delay_s) == (JobEvent.RETRY, 30)
    assert (second.event, second.reason and second.reason.what) == (JobEvent.FAIL, "lost")


def test_a_rule_that_names_lost_tries_no_poison_again() -> None:
    job = a_job(RetryRule(max=9, on=(RetryOn.LOST,)))

    assert lost(job, losses=3).event is JobEvent.FAIL


def test_a_lost_job_of_a_stopped_run_has_failed() -> None:
    assert lost(a_job(), is_stopped=True).event is JobEvent.FAIL


def test_a_lost_job_that_was_cancelled_is_cancelled() -> None:
    assert lost(a_job(), cancelled=ASKED).event is JobEvent.CANCEL


@pytest.mark.parametrize(
    ("outcome", "on", "end"),
    [
        (Outcome.PRECHECK_FAILED, RetryOn.PRECHECK_FAILED, JobEvent.FAIL_PRECHECK),
        (Outcome.POSTCHECK_FAILED, RetryOn.POSTCHECK_FAILED, JobEvent.FAIL_POSTCHECK),
        (Outcome.TIMEOUT, RetryOn.TIMEOUT, JobEvent.TIME_OUT),
        (Outcome.SIGNALED, RetryOn.FAILED, JobEvent.FAIL),
    ],
)
def test_each_kind_of_failure_has_its_end_and_is_retried_where_it_is_named(
    outcome: Outcome, on: RetryOn, end: JobEvent
) -> None:
    others = tuple(kind for kind in RetryOn if kind is not on)
    result = Result(outcome=outcome)

    assert judged(result, RetryRule(max=1, on=(on,))) is JobEvent.RETRY
    assert judged(result, RetryRule(max=1, on=others)) is end


def test_the_exit_codes_of_a_rule_are_for_exits_only() -> None:
    rule = RetryRule(max=1, on=tuple(RetryOn), on_exit_codes=(1,))
    unchecked = Result(outcome=Outcome.POSTCHECK_FAILED, exit_code=0)

    assert judged(unchecked, rule) is JobEvent.RETRY


def test_what_a_policy_forbids_is_not_tried_again() -> None:
    assert judged(Result(outcome=Outcome.FORBIDDEN), RetryRule(max=5)) is JobEvent.FAIL


def test_nothing_is_retried_in_a_stopped_run() -> None:
    verdict = judge_result(
        exited(1),
        a_job(RetryRule(max=5)),
        tries=1,
        since_first_try_s=0,
        cancelled=None,
        is_stopped=True,
        rng=RNG,
    )

    assert verdict.event is JobEvent.FAIL


@pytest.mark.parametrize("outcome", list(Outcome))
def test_every_outcome_but_success_has_a_reason(outcome: Outcome) -> None:
    reason = explain(Result(outcome=outcome, exit_code=3))

    assert reason is not None
    assert reason.who in {"job", "worker", "operator"}


def test_a_loss_that_a_restarted_worker_tells_of_says_that_it_crashed() -> None:
    told = explain(Result(outcome=Outcome.LOST, message="worker crashed"))

    assert told == Reason(who="worker", what="lost", message="worker crashed")
