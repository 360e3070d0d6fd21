"""Jobs that wait without a worker: how they go to sleep, for how long, and how they end."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from jobstore.store.defer import Fired
from jobstore.triggers.ports import Outside
from shared.protocol import execution as e
from shared.protocol import gateway as g
from shared.protocol.history import PruneRequest
from shared.protocol.pipeline import RetryRule
from tests.support.deferred import (
    QUESTION,
    OneServer,
    a_callback,
    a_task,
    a_wait,
    defer,
    goes_on,
    look,
    one_asleep,
    resumed,
    until_status,
)
from tests.support.jobstore import ANN, BEN, Hands, hands_on
from tests.support.runtime import T0, ManualRuntime


async def test_a_deferred_task_holds_neither_slot_nor_room_nor_lock_and_spends_no_try(
    hands: Hands,
) -> None:
    run_id = await hands.submit(a_task("a", lock="db"), a_task("b", lock="db"), max_workers=1)

    await defer(hands, a_wait("delta", seconds=60))

    job = await hands.job(run_id, "a")
    assert (job.status, job.tries, job.ended_at) == ("deferred", 0, None)
    assert [claim.job_id for claim in await hands.claim()] == ["b"]


async def test_it_is_shown_what_is_waited_for_and_until_when(hands: Hands) -> None:
    run_id = await one_asleep(hands, a_wait("delta", seconds=90, timeout_s=600))

    deferral = (await hands.job(run_id, "a")).deferral

    assert deferral is not None
    assert (deferral.trigger, deferral.says) == ("delta", "until 2026-01-01 12:01:30 UTC")
    assert (deferral.since, deferral.until) == (T0, T0 + timedelta(minutes=10))


@pytest.mark.parametrize(
    ("kind", "params", "says"),
    [
        ("moon", {}, "there is no trigger 'moon'"),
        ("delta", {"seconds": -1}, "seconds: Input should be greater than or equal to 0"),
        ("delta", {"second": 1}, "seconds: Field required"),
        ("time", {"at": "2026-01-01T00:00:00"}, "at: Input should have timezone info"),
        ("file", {"path": "in.csv"}, "path: must begin with '/'"),
        ("file", {"path": "/in/*/a.csv"}, "path: may have * ? [ in the file's name only"),
        ("http", {"url": "ftp://x"}, "url: must be a URL that begins with http"),
        ("http", {"url": "http://u:p@x"}, "url: holds a user"),
        (
            "http",
            {"url": "http://x", "headers": {"X-Api-Key": "k"}},
            "headers: X-Api-Key is a secret",
        ),
        ("http", {"url": "http://x", "matches": "("}, "matches: is no pattern that RE2 knows"),
        ("http", {"url": "http://x", "select": "a b"}, "select: cannot be read from character 2"),
        ("http", {"url": "http://x", "equals": 1}, "equals needs select"),
        ("question", {"question": ""}, "question: String should have at least 1"),
    ],
)
async def test_a_trigger_that_means_nothing_fails_the_task_and_says_why(
    hands: Hands, kind: str, params: dict[str, Any], says: str
) -> None:
    run_id = await hands.submit(a_task("a", retry=RetryRule(max=3)))

    await defer(hands, a_wait(kind, **params))

    reason = (await hands.job(run_id, "a")).reason
    assert reason is not None
    assert says in reason.message
    assert (await hands.status(run_id))["a"] == "failed"


# -- time --------------------------------------------------------------------------------------


async def test_after_a_while_it_goes_on_in_its_method(hands: Hands) -> None:
    run_id = await one_asleep(hands, a_wait("delta", seconds=60))

    await look(hands, 59)
    before = (await hands.status(run_id))["a"]
    await look(hands, 1.5)
    context = await goes_on(hands)

    assert before == "deferred"
    found = resumed(context)
    assert (found.next_method, found.arguments, context.tries) == ("after", {"n": 1}, 1)
    assert isinstance(found.event, dict)
    assert str(found.event["at"]).startswith("2026-01-01T12:01:0")


async def test_a_time_is_that_of_the_wall_clock(hands: Hands) -> None:
    run_id = await one_asleep(hands, a_wait("time", at="2026-01-01T20:00:00+00:00"))

    await look(hands, 60)
    before = (await hands.status(run_id))["a"]
    hands.runtime.step_wall_clock(8 * 3_600)
    await look(hands, 1)

    assert (before, (await hands.status(run_id))["a"]) == ("deferred", "queued")


async def test_a_while_is_not_that_of_the_wall_clock(hands: Hands) -> None:
    run_id = await one_asleep(hands, a_wait("delta", seconds=600))

    hands.runtime.step_wall_clock(8 * 3_600)
    await look(hands, 1)

    assert (await hands.status(run_id))["a"] == "deferred"


async def test_a_time_that_has_passed_is_now(hands: Hands) -> None:
    run_id = await one_asleep(hands, a_wait("time", at="2020-01-01T00:00:00+00:00"))

    assert (await hands.status(run_id))["a"] == "queued"


async def test_a_rescheduled_task_begins_again(hands: Hands) -> None:
    at = hands.runtime.now() + timedelta(minutes=1)
    run_id = await one_asleep(hands, e.Reschedule(at=at, reason="not there yet"))
    asleep = (await hands.status(run_id))["a"]

    await look(hands, 61)
    context = await goes_on(hands)

    assert asleep == "rescheduled"
    assert context.task is not None
    assert (context.task.resume, context.tries) == (None, 1)


# -- timeouts, and what follows ----------------------------------------------------------------


async def test_when_nothing_comes_in_time_the_try_has_timed_out(hands: Hands) -> None:
    run_id = await one_asleep(hands, a_wait("delta", seconds=99, timeout_s=10))

    await look(hands, 11)

    job = await hands.job(run_id, "a")
    assert (job.status, job.tries) == ("timeout", 1)
    assert (await hands.status(run_id))["run"] == "failed"


async def test_a_try_that_waited_in_vain_may_be_followed_by_another_from_the_beginning(
    hands: Hands,
) -> None:
    rule = RetryRule(max=1, delay_s=5, jitter=0)
    run_id = await one_asleep(hands, a_wait("delta", seconds=99, timeout_s=10), retry=rule)

    await look(hands, 11)
    waits = (await hands.status(run_id))["a"]
    await look(hands, 6)
    await hands.until(run_id, "job.queued", times=2)
    context = await goes_on(hands)

    assert waits == "retrying"
    assert context.task is not None
    assert (context.tries, context.task.resume) == (2, None)


async def test_a_task_can_go_on_elsewhere_when_nothing_comes_in_time(hands: Hands) -> None:
    await one_asleep(hands, a_wait("delta", seconds=99, timeout_s=10, on_timeout="too_late"))

    await look(hands, 11)

    found = resumed(await goes_on(hands))
    assert (found.next_method, found.event) == ("too_late", {"timed_out_after_s": 10.0})


async def test_a_lost_worker_does_not_lose_the_event(hands: Hands) -> None:
    await one_asleep(hands, a_wait("delta", seconds=1))
    await look(hands, 2)
    first = await goes_on(hands)

    await hands.runtime.advance(40)
    await hands.until(first.run_id, "job.requeued")
    second = await goes_on(hands)

    assert resumed(second) == resumed(first)


async def test_what_it_left_before_is_still_its_own(hands: Hands) -> None:
    await hands.submit(a_task("a"))
    claim = await hands.start()
    scope = e.Scope(attempt_id=claim.attempt_id, worker_id=ANN, fence=claim.fence)
    await hands.service.execution.set_xcom(scope, e.SetXCom(key="page", value=7))
    await hands.finish(claim, outcome=g.Outcome.TASK_ENDED, task=a_wait("delta", seconds=1))
    await look(hands, 2)

    (again,) = await hands.claim(BEN)
    await hands.run(again, BEN)

    scope = e.Scope(attempt_id=again.attempt_id, worker_id=BEN, fence=again.fence)
    found = await hands.service.execution.get_xcom(scope, e.GetXCom(key="page"))
    assert found.value == 7


async def test_what_a_lost_try_left_is_not_that_of_the_next_one(hands: Hands) -> None:
    ask = hands.service.execution
    await hands.submit(a_task("a"))
    claim = await hands.start()
    scope = e.Scope(attempt_id=claim.attempt_id, worker_id=ANN, fence=claim.fence)
    await ask.set_xcom(scope, e.SetXCom(key="before", value=1))
    await hands.finish(claim, outcome=g.Outcome.TASK_ENDED, task=a_wait("delta", seconds=1))
    await look(hands, 2)
    lost = await goes_on(hands)
    scope = e.Scope(attempt_id=lost.attempt_id, worker_id=BEN, fence=lost.fence)
    await ask.set_xcom(scope, e.SetXCom(key="before", value=2))
    await ask.set_xcom(scope, e.SetXCom(key="after", value=2))

    await hands.runtime.advance(40)
    await hands.until(lost.run_id, "job.requeued")
    again = await goes_on(hands)

    scope = e.Scope(attempt_id=again.attempt_id, worker_id=BEN, fence=again.fence)
    assert (await ask.list_xcoms(scope, e.ListXComs())).keys == ("before",)
    assert (await ask.get_xcom(scope, e.GetXCom(key="before"))).value == 1


# -- ends of those that wait -------------------------------------------------------------------


async def test_a_deferred_job_can_be_cancelled_and_nothing_wakes_it(hands: Hands) -> None:
    run_id = await one_asleep(hands, a_wait("delta", seconds=10))

    await hands.cancel(run_id)
    await look(hands, 20)

    assert await hands.status(run_id) == {"run": "cancelled", "a": "cancelled"}
    assert len(hands.service.triggers) == 0


async def test_a_deferred_job_can_be_marked(hands: Hands) -> None:
    run_id = await one_asleep(hands, a_wait("delta", seconds=10))

    await hands.mark(run_id, "a")
    await look(hands, 20)

    assert await hands.status(run_id) == {"run": "success", "a": "success"}


async def test_a_stop_skips_what_is_deferred_and_what_would_be(hands: Hands) -> None:
    run_id = await hands.submit(a_task("a"), a_task("b"), a_task("c"), on_error="stop")
    await defer(hands, a_wait("delta", seconds=10))
    late = await hands.start()
    await hands.do(exit_code=1)

    await hands.finish(late, outcome=g.Outcome.TASK_ENDED, task=a_wait("delta", seconds=10))

    assert await hands.status(run_id) == {
        "run": "failed",
        "a": "skipped",
        "b": "skipped",
        "c": "failed",
    }


# -- restarts ----------------------------------------------------------------------------------


async def test_whatever_is_waited_for_is_waited_for_after_a_restart(
    tmp_path: Path, outside: Outside, server: OneServer
) -> None:
    runtime = ManualRuntime()
    async with hands_on(tmp_path, runtime, outside=outside) as hands:
        run_id = await hands.submit(*(a_task(n) for n in "abcdef"))
        for wait in (
            a_wait("delta", seconds=60),
            a_wait("time", at=(T0 + timedelta(minutes=2)).isoformat()),
            a_wait("delta", seconds=9_999, timeout_s=180),
            a_wait("http", url="http://x"),
            QUESTION,
        ):
            await defer(hands, wait)
        await look(hands)
    await runtime.advance(30)

    async with hands_on(tmp_path, runtime, outside=outside) as hands:
        await look(hands, 31)
        first = await hands.status(run_id)
        server.answer = {"status": 200}
        await until_status(hands, run_id, "d", "queued")
        await look(hands, 60)
        second = await hands.status(run_id)
        await look(hands, 100)
        third = await hands.status(run_id)

        assert [first[job] for job in "abcde"] == ["queued", *["deferred"] * 4]
        assert [second[job] for job in "abcde"] == [
            "queued",
            "queued",
            "deferred",
            "queued",
            "deferred",
        ]
        assert third["c"] == "timeout"
        assert len((await hands.service.list_questions(run_id)).questions) == 1


async def test_an_old_trigger_does_not_wake_a_newer_wait(hands: Hands) -> None:
    run_id = await one_asleep(hands, a_wait("delta", seconds=1))
    await look(hands, 2)
    await defer(hands, a_wait("delta", seconds=500))

    await hands.service._store.wake_up([Fired(1, 1, "old")])

    assert (await hands.status(run_id))["a"] == "deferred"


async def test_pruning_a_run_forgets_its_callbacks(hands: Hands) -> None:
    await hands.submit(a_task("a"))
    claim, *_ = await a_callback(hands)
    await hands.finish(claim, task=e.Succeed())
    await look(hands, 1)
    await hands.service.prune(PruneRequest(keep_s=0))

    left = await hands.service._store.database.read(
        lambda conn: conn.execute("SELECT count(*) FROM callback").fetchone()
    )
    assert left == (0,)
