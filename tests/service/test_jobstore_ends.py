"""How jobs and runs end: retries, timeouts, cancellation, a new run of an old one."""

from pathlib import Path

import pytest

from shared.errors import Conflict, KeyReused, UnknownJob, UnknownRun
from shared.ids import JobId, RunId
from shared.protocol import jobs as j
from shared.protocol.gateway import Outcome, Verdict
from shared.protocol.jobs import RunFilter
from shared.protocol.pipeline import PipelineSpec
from tests.support.jobstore import Hands, a_job, hands_on, retry_at_once
from tests.support.runtime import ManualRuntime


async def test_a_failed_try_waits_for_its_delay_without_a_worker(hands: Hands) -> None:
    run_id = await hands.submit(a_job("a", retry=retry_at_once(1)))

    await hands.do(exit_code=1)
    waiting = (await hands.status(run_id))["a"]
    nothing_yet = await hands.claim()
    await hands.runtime.advance(10.2)
    await hands.until(run_id, "job.queued", times=2)
    await hands.do(exit_code=0)

    job = await hands.job(run_id, "a")
    assert (waiting, nothing_yet) == ("retrying", [])
    assert (job.status.value, job.tries, job.attempts) == ("success", 2, 2)


async def test_a_job_that_waits_for_its_retry_makes_room_for_others(hands: Hands) -> None:
    await hands.submit(a_job("a", retry=retry_at_once(1)), a_job("b"), max_workers=1)

    await hands.do(exit_code=1)

    assert [claim.job_id for claim in await hands.claim()] == ["b"]


async def test_a_retry_waits_in_full_again_after_a_restart(tmp_path: Path) -> None:
    runtime = ManualRuntime()
    async with hands_on(tmp_path, runtime) as before:
        run_id = await before.submit(a_job("a", retry=retry_at_once(1)))
        await before.do(exit_code=1)

    async with hands_on(tmp_path, runtime) as after:
        assert (await after.status(run_id))["a"] == "retrying"
        await runtime.advance(10.2)
        await after.until(run_id, "job.queued", times=2)


async def test_a_timeout_is_its_own_end(hands: Hands) -> None:
    run_id = await hands.submit(a_job("a"))

    await hands.finish(await hands.start(), None, outcome=Outcome.TIMEOUT)

    assert await hands.status(run_id) == {"run": "failed", "a": "timeout"}


async def test_a_job_that_nobody_takes_times_out_of_the_queue(hands: Hands) -> None:
    run_id = await hands.submit(a_job("a", requires={"gpu": "yes"}, queue_timeout_s=60))

    await hands.runtime.advance(60.2)
    await hands.until(run_id, "run.failed")

    job = await hands.job(run_id, "a")
    assert job.status.value == "timeout"
    assert job.reason is not None
    assert job.reason.what == "queue_timeout"


async def test_cancelling_a_run_ends_what_waits_and_tells_what_runs(hands: Hands) -> None:
    run_id = await hands.submit(a_job("runs"), a_job("waits"), a_job("later", needs=["waits"]))
    claim = await hands.start()

    await hands.service.cancel(j.CancelRequest(run_id=run_id))
    await hands.service.cancel(j.CancelRequest(run_id=run_id))
    at_once = await hands.status(run_id)
    verdict = (await hands.beat(claim)).verdict
    await hands.finish(claim, None, outcome=Outcome.CANCELLED)

    assert at_once == {
        "run": "running",
        "runs": "running",
        "waits": "cancelled",
        "later": "cancelled",
    }
    assert verdict is Verdict.CANCEL
    assert (await hands.status(run_id))["run"] == "cancelled"


async def test_a_job_that_waits_for_its_next_try_can_be_cancelled(hands: Hands) -> None:
    run_id = await hands.submit(a_job("a", retry=retry_at_once(1)))
    await hands.do(exit_code=1)

    await hands.service.cancel(j.CancelRequest(run_id=run_id))
    await hands.runtime.advance(11)

    assert await hands.status(run_id) == {"run": "cancelled", "a": "cancelled"}
    assert await hands.claim() == []


@pytest.mark.parametrize("end", ["cancel", "mark", "stop"])
async def test_nothing_is_remembered_of_a_job_that_ends_between_its_tries(
    hands: Hands, end: str
) -> None:
    run_id = await hands.submit(
        a_job("a", retry=retry_at_once(3)), a_job("bad", priority=-1), on_error="stop"
    )
    await hands.do(exit_code=1)
    watch = hands.service._store._stopwatch
    while_it_waits = len(watch)

    if end == "cancel":
        await hands.cancel(run_id, "a")
    elif end == "mark":
        await hands.mark(run_id, "a")
    await hands.do(exit_code=1)

    assert (while_it_waits, len(watch)) == (1, 0)


async def test_a_claimed_job_of_a_cancelled_run_cannot_start(hands: Hands) -> None:
    run_id = await hands.submit(a_job("a"))
    (claim,) = await hands.claim()

    await hands.service.cancel(j.CancelRequest(run_id=run_id))

    with pytest.raises(Conflict):
        await hands.run(claim)
    assert await hands.status(run_id) == {"run": "cancelled", "a": "cancelled"}


async def test_a_lost_worker_does_not_keep_a_cancelled_run_open(hands: Hands) -> None:
    run_id = await hands.submit(a_job("a"))
    await hands.start()
    await hands.service.cancel(j.CancelRequest(run_id=run_id))

    await hands.runtime.advance(31)
    await hands.until(run_id, "run.cancelled")

    assert (await hands.status(run_id))["a"] == "cancelled"


async def test_cancelling_one_job_skips_what_needs_it(hands: Hands) -> None:
    run_id = await hands.submit(a_job("a"), a_job("b", needs=["a"]), a_job("c"))

    await hands.service.cancel(j.CancelRequest(run_id=run_id, job_id=JobId("a")))
    await hands.do()

    assert await hands.status(run_id) == {
        "run": "cancelled",
        "a": "cancelled",
        "b": "skipped",
        "c": "success",
    }


async def test_a_stage_with_a_cancelled_job_has_not_succeeded(hands: Hands) -> None:
    run_id = await hands.submit(
        a_job("one", stage="build"),
        a_job("two", stage="build"),
        a_job("three", stage="build", needs=["two"]),
        a_job("ship", stage="ship"),
        stages=["build", "ship"],
    )
    one = await hands.start()

    await hands.service.cancel(j.CancelRequest(run_id=run_id, job_id=JobId("two"), reason="no"))
    await hands.finish(one)  # the last to end was not the one that was cancelled

    view = await hands.service.show_run(run_id)
    assert [stage.status.value for stage in view.stages] == ["cancelled", "skipped"]
    assert (await hands.status(run_id))["ship"] == "skipped"
    assert view.status.value == "cancelled"


async def test_a_stage_cancelled_before_its_turn_lets_none_start_after_it(hands: Hands) -> None:
    run_id = await hands.submit(
        a_job("build", stage="build"),
        a_job("test", stage="test"),
        a_job("ship", stage="ship"),
        stages=["build", "test", "ship"],
    )

    await hands.service.cancel(j.CancelRequest(run_id=run_id, job_id=JobId("test"), reason="no"))
    await hands.do()

    view = await hands.service.show_run(run_id)
    assert [stage.status.value for stage in view.stages] == ["success", "cancelled", "skipped"]
    assert view.status.value == "cancelled"


async def test_what_is_not_there_cannot_be_cancelled(hands: Hands) -> None:
    run_id = await hands.submit(a_job("a"))

    with pytest.raises(UnknownRun):
        await hands.service.cancel(j.CancelRequest(run_id=RunId(99)))
    with pytest.raises(UnknownJob):
        await hands.service.cancel(j.CancelRequest(run_id=run_id, job_id=JobId("nope")))


async def test_retrying_makes_a_new_run_that_knows_the_old_one(hands: Hands) -> None:
    run_id = await hands.submit(a_job("a"), a_job("b"))
    await hands.do(exit_code=1)
    await hands.do(exit_code=0)

    ask = j.RetryRequest(idempotency_key="again", run_id=run_id, failed_only=False)
    new = (await hands.service.retry(ask)).run_id
    same = (await hands.service.retry(ask)).run_id

    assert new != run_id
    assert same == new
    assert (await hands.service.show_run(new)).retry_of == run_id
    assert await hands.status(new) == {"run": "pending", "a": "queued", "b": "queued"}


async def test_retrying_the_failed_only_carries_the_successes_over(hands: Hands) -> None:
    run_id = await hands.submit(
        a_job("ok", stage="one"),
        a_job("bad", stage="two", needs=["ok"]),
        a_job("after", stage="three", needs=["bad"]),
        stages=["one", "two", "three"],
    )
    await hands.finish(await hands.start(), log=b"made it\n")
    await hands.do(exit_code=1)

    ask = j.RetryRequest(idempotency_key="again", run_id=run_id, failed_only=True)
    new = (await hands.service.retry(ask)).run_id
    started = await hands.status(new)
    await hands.do()
    await hands.do()
    log = hands.service.read_log(new, JobId("ok"), attempt=None, offset=0, follow=False)

    assert started == {"run": "pending", "ok": "success", "bad": "queued", "after": "blocked"}
    assert (await hands.status(new))["run"] == "success"
    assert b"".join([piece async for piece in log]) == b"made it\n"


async def test_a_carried_success_behind_an_allowed_failure_does_not_lose_its_stage(
    hands: Hands,
) -> None:
    run_id = await hands.submit(
        a_job("soft", stage="one", allow_failure=True),
        a_job("hard", stage="two"),
        a_job("bad", stage="three"),
        stages=["one", "two", "three"],
    )
    await hands.do(exit_code=1)
    await hands.do()
    await hands.do(exit_code=1)

    ask = j.RetryRequest(idempotency_key="again", run_id=run_id, failed_only=True)
    new = (await hands.service.retry(ask)).run_id
    await hands.do()
    await hands.do()

    view = await hands.service.show_run(new)
    assert [stage.status.value for stage in view.stages] == ["success"] * 3
    assert view.status.value == "success"


async def test_a_run_that_goes_on_is_not_retried(hands: Hands) -> None:
    run_id = await hands.submit(a_job("a"))

    with pytest.raises(Conflict):
        await hands.service.retry(
            j.RetryRequest(idempotency_key="k", run_id=run_id, failed_only=False)
        )


async def test_a_key_names_one_submission_for_ever(hands: Hands) -> None:
    def ask(name: str) -> j.SubmitRequest:
        pipeline = PipelineSpec(name=name, jobs=(a_job("a"),))
        return j.SubmitRequest(idempotency_key="key", pipeline=pipeline)

    first = await hands.service.submit(ask("one"))

    assert await hands.service.submit(ask("one")) == first
    with pytest.raises(KeyReused):
        await hands.service.submit(ask("two"))
    assert len((await hands.service.list_runs(RunFilter(limit=9))).runs) == 1


async def test_a_key_names_one_retry_and_not_the_other_kind(hands: Hands) -> None:
    run_id = await hands.submit(a_job("a"), a_job("b"))
    await hands.do(exit_code=0)
    await hands.do(exit_code=1)

    def ask(*, failed_only: bool) -> j.RetryRequest:
        return j.RetryRequest(idempotency_key="key", run_id=run_id, failed_only=failed_only)

    first = await hands.service.retry(ask(failed_only=True))

    assert await hands.service.retry(ask(failed_only=True)) == first
    with pytest.raises(KeyReused):
        await hands.service.retry(ask(failed_only=False))


async def test_why_a_running_job_was_cancelled_is_told(hands: Hands) -> None:
    run_id = await hands.submit(a_job("a"))
    claim = await hands.start()

    await hands.service.cancel(j.CancelRequest(run_id=run_id, reason="wrong branch"))
    await hands.finish(claim, None, outcome=Outcome.CANCELLED)

    reason = (await hands.job(run_id, "a")).reason
    assert reason is not None
    assert reason.message == "wrong branch"


async def test_a_queue_timeout_is_for_the_first_start_only(tmp_path: Path) -> None:
    runtime = ManualRuntime()
    async with hands_on(tmp_path, runtime) as before:
        job = a_job("a", queue_timeout_s=5, retry=retry_at_once(1))
        run_id = await before.submit(job)
        await before.do(exit_code=1)
        await runtime.advance(10.2)
        await before.until(run_id, "job.queued", times=2)

    async with hands_on(tmp_path, runtime) as after:
        await runtime.advance(60)
        await after.do()
        assert (await after.status(run_id))["a"] == "success"
