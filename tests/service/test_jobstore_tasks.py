"""Tasks at the job service: how they end, what runs after them, and the files they come in."""

import hashlib
import sqlite3
from pathlib import Path

import pytest

from shared.errors import (
    BadPipeline,
    UnknownBundle,
)
from shared.ids import RunId
from shared.protocol import execution as e
from shared.protocol import gateway as g
from shared.protocol import jobs as j
from shared.protocol.history import PruneRequest
from shared.protocol.pipeline import JobSpec, RetryRule
from tests.support.jobstore import Hands
from tests.support.stored_tasks import a_task, end, scope_of


async def test_a_worker_is_told_of_the_task_and_its_run(hands: Hands) -> None:
    task = a_task("t")
    await hands.submit(task, params={"day": "monday"})

    (claim,) = await hands.claim()
    context = await hands.run(claim)

    assert context.argv == ()
    assert context.task == g.TaskContext(
        spec=task.task, run=e.RunFacts(params={"day": "monday"}), map_index=None
    )


# -- how a task ends ---------------------------------------------------------------------------


async def test_a_skipped_task_is_skipped_and_so_is_what_needs_it(hands: Hands) -> None:
    run_id = await hands.submit(a_task("a"), a_task("b", "a"))

    await end(hands, e.Skip(reason="nothing new"))

    assert await hands.status(run_id) == {"run": "success", "a": "skipped", "b": "skipped"}
    assert (await hands.job(run_id, "a")).reason == j.Reason(who="job", what="skipped", message="")


@pytest.mark.parametrize(
    ("state", "status"),
    [
        (e.Fail(reason="no"), "retrying"),
        (e.Fail(reason="no", may_retry=False), "failed"),
        (e.Retry(reason="locked"), "retrying"),
    ],
)
async def test_a_failed_task_may_be_tried_again(
    hands: Hands, state: e.AttemptState, status: str
) -> None:
    run_id = await hands.submit(a_task("a", retry=RetryRule(max=1)))

    await end(hands, state, exit_code=1)

    assert (await hands.status(run_id))["a"] == status


async def test_a_retry_waits_as_long_as_the_task_wishes(hands: Hands) -> None:
    run_id = await hands.submit(a_task("a", retry=RetryRule(max=1, delay_s=5)))
    await end(hands, e.Retry(delay_s=100))

    await hands.runtime.advance(99)
    assert (await hands.status(run_id))["a"] == "retrying"
    await hands.runtime.advance(2)
    await hands.until(run_id, "job.queued", times=2)

    assert (await hands.status(run_id))["a"] == "queued"


async def test_a_retry_without_a_try_left_is_a_failure(hands: Hands) -> None:
    run_id = await hands.submit(a_task("a"))

    await end(hands, e.Retry(reason="locked"))

    assert (await hands.status(run_id))["a"] == "failed"


async def test_a_rescheduled_task_waits_until_its_time_and_spends_no_try(hands: Hands) -> None:
    from datetime import timedelta

    run_id = await hands.submit(a_task("a"))
    at = hands.runtime.now() + timedelta(minutes=5)

    await end(hands, e.Reschedule(at=at))
    job = await hands.job(run_id, "a")
    await hands.runtime.advance(301)
    await hands.until(run_id, "job.queued", times=2)

    assert (job.status, job.tries) == ("rescheduled", 0)
    assert await hands.claim()


async def test_what_cannot_be_waited_for_is_a_failure_that_says_so(hands: Hands) -> None:
    run_id = await hands.submit(a_task("a", retry=RetryRule(max=3)))

    await end(hands, e.Defer(trigger=e.TriggerSpec(kind="moon"), next_method="m"))

    reason = (await hands.job(run_id, "a")).reason
    assert reason is not None
    assert reason.message.startswith("there is no trigger 'moon': there are time, delta")


# -- trigger rules -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "failing", "status"),
    [
        ("all_success", [], "success"),
        ("all_success", ["a"], "skipped"),
        ("one_success", ["a"], "success"),
        ("one_success", ["a", "b"], "skipped"),
        ("none_failed", [], "success"),
        ("none_failed", ["b"], "skipped"),
        ("all_done", ["a", "b"], "success"),
        ("always", ["a", "b"], "success"),
    ],
)
async def test_a_rule_says_what_has_to_have_become_of_its_needs(
    hands: Hands, rule: str, failing: list[str], status: str
) -> None:
    run_id = await hands.submit(a_task("a"), a_task("b"), a_task("c", "a", "b", rule=rule))

    await hands.play(*failing)

    assert (await hands.status(run_id))["c"] == status


async def test_one_success_is_enough_before_the_rest_has_ended(hands: Hands) -> None:
    run_id = await hands.submit(a_task("a"), a_task("b"), a_task("c", "a", "b", rule="one_success"))

    await hands.do()

    assert await hands.status(run_id) == {
        "run": "running",
        "a": "success",
        "b": "queued",
        "c": "queued",
    }


async def test_always_waits_for_nothing(hands: Hands) -> None:
    run_id = await hands.submit(a_task("a"), a_task("b", "a", rule="always"))

    assert (await hands.status(run_id))["b"] == "queued"


# -- branches ----------------------------------------------------------------------------------

DIAMOND = (
    a_task("choose"),
    a_task("left", "choose"),
    a_task("right", "choose"),
    a_task("deep", "right"),
    a_task("join", "left", "deep", "choose", rule="none_failed"),
)


async def test_a_branch_goes_one_way_and_meets_the_other_again(hands: Hands) -> None:
    run_id = await hands.submit(*DIAMOND)

    await end(hands, e.Succeed(follow=("left",)))
    order = await hands.play()

    assert order == ["left", "join"]
    assert await hands.status(run_id) == {
        "run": "success",
        "choose": "success",
        "left": "success",
        "right": "skipped",
        "deep": "skipped",
        "join": "success",
    }
    assert await hands.reason(run_id, "right") == "branch"


async def test_a_short_circuit_skips_all_that_follows(hands: Hands) -> None:
    run_id = await hands.submit(*DIAMOND)

    await end(hands, e.Succeed(follow=()))

    status = await hands.status(run_id)
    assert status.pop("run") == "success"
    assert status.pop("choose") == "success"
    assert set(status.values()) == {"skipped"}


async def test_a_branch_to_where_there_is_nothing_is_a_failure(hands: Hands) -> None:
    run_id = await hands.submit(*DIAMOND)

    await end(hands, e.Succeed(follow=("lfet",)))

    reason = (await hands.job(run_id, "choose")).reason
    assert reason is not None
    assert reason.message == "it chose 'lfet', which does not wait for it"


# -- bundles -----------------------------------------------------------------------------------

FILES = b"pretend that this is an archive"
SHA = hashlib.sha256(FILES).hexdigest()
BUNDLE = {"sha256": SHA, "content": FILES}


def of_bundle(job_id: str) -> JobSpec:
    task = {"module": "flow", "function": job_id, "file": "flow.py", "bundle": SHA}
    return JobSpec.model_validate({"id": job_id, "task": task})


async def read_bundle(hands: Hands, claim: g.Claim) -> bytes:
    body = hands.service.execution.read_bundle(scope_of(claim), SHA)
    return b"".join([piece async for piece in body])


async def test_files_travel_with_their_run_and_its_retries(hands: Hands) -> None:
    run_id = await hands.submit(of_bundle("a"), bundle=BUNDLE)
    claim = await hands.start()

    assert await read_bundle(hands, claim) == FILES
    await hands.finish(claim, 1)
    await hands.service.retry(
        j.RetryRequest(idempotency_key="again", run_id=run_id, failed_only=True)
    )
    assert await read_bundle(hands, await hands.start()) == FILES


async def test_files_of_another_run_are_not_shown(hands: Hands) -> None:
    await hands.submit(of_bundle("a"), bundle=BUNDLE)
    await hands.do()
    await hands.submit(a_task("b"))

    with pytest.raises(UnknownBundle):
        await read_bundle(hands, await hands.start())


async def test_files_that_did_not_come_are_missed_at_once(hands: Hands) -> None:
    with pytest.raises(BadPipeline, match="did not come with it"):
        await hands.submit(of_bundle("a"))


async def test_a_pruned_run_leaves_nothing_of_its_tasks(hands: Hands, tmp_path: Path) -> None:
    run_id: RunId = await hands.submit(of_bundle("a"), bundle=BUNDLE)
    claim = await hands.start()
    await hands.service.execution.set_xcom(scope_of(claim), e.SetXCom(value=1))
    await hands.finish(claim)
    await hands.runtime.advance(1_000)

    await hands.service.prune(PruneRequest(keep_s=10))
    await hands.runtime.advance(200)

    database = sqlite3.connect(next(tmp_path.rglob("jobs.db")))  # noqa: ASYNC240 - as above
    left = [database.execute(f"SELECT count(*) FROM {t}").fetchone() for t in ("xcom", "bundle")]
    database.close()
    assert left == [(0,), (0,)]
    assert run_id == 1
