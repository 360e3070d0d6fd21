"""Jobs that wait without a worker: for what, for how long, and how they go on."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import JsonValue

from jobstore.store.defer import Fired
from jobstore.triggers.kinds import Http
from jobstore.triggers.ports import MayNot, NotYet, Outside
from shared.errors import BadRequest, Conflict, UnknownCallback
from shared.ids import JobId, RunId
from shared.protocol import execution as e
from shared.protocol import gateway as g
from shared.protocol.history import PruneRequest
from shared.protocol.pipeline import JobSpec, RetryRule
from shared.protocol.questions import AnswerRequest, PostCallback
from tests.support.jobstore import ANN, BEN, Hands, hands_on
from tests.support.runtime import T0, ManualRuntime


class OneServer:
    """Answers with what it is told to."""

    def __init__(self) -> None:
        self.answer: JsonValue | NotYet | MayNot = NotYet("it answered 503")
        self.logins: list[e.Connection | None] = []

    def lane(self, wanted: Http) -> str:
        return wanted.url

    async def look(self, wanted: Http, login: e.Connection | None) -> JsonValue:
        self.logins.append(login)
        if isinstance(self.answer, NotYet | MayNot):
            raise self.answer
        return self.answer

    async def close(self) -> None: ...


@pytest.fixture
def server() -> OneServer:
    return OneServer()


async def _doorstep() -> str:
    return "http://jobs.example:7402/"


@pytest.fixture
def outside(tmp_path: Path, server: OneServer) -> Outside:
    folder = tmp_path / "inbox"
    folder.mkdir()
    return Outside((folder.resolve(),), lambda: server, _doorstep)


@pytest.fixture
async def hands(tmp_path: Path, outside: Outside) -> AsyncIterator[Hands]:
    async with hands_on(tmp_path, outside=outside) as opened:
        yield opened


def a_task(job_id: str, *needs: str, **fields: Any) -> JobSpec:
    task = {"module": "flow", "function": job_id}
    return JobSpec.model_validate({"id": job_id, "needs": needs, "task": task, **fields})


def a_wait(
    kind: str, *, timeout_s: float | None = None, on_timeout: str | None = None, **params: Any
) -> e.Defer:
    return e.Defer(
        trigger=e.TriggerSpec(kind=kind, params=params),
        next_method="after",
        arguments={"n": 1},
        timeout_s=timeout_s,
        on_timeout=on_timeout,
    )


async def defer(hands: Hands, wait: e.Defer | e.Reschedule) -> g.Claim:
    """The next job runs and goes to sleep."""
    claim = await hands.start()
    await hands.finish(claim, outcome=g.Outcome.TASK_ENDED, task=wait)
    return claim


async def one_asleep(hands: Hands, wait: e.Defer | e.Reschedule, **fields: Any) -> RunId:
    run_id = await hands.submit(a_task("a", **fields))
    await defer(hands, wait)
    await hands.service.triggers.look_once()
    return run_id


async def look(hands: Hands, after_s: float = 0.0) -> None:
    """Time has passed, and what came about meanwhile has been told."""
    await hands.runtime.advance(after_s)
    await hands.service.triggers.look_once()


async def goes_on(hands: Hands) -> g.RunContext:
    (claim,) = await hands.claim(BEN)
    return await hands.run(claim, BEN)


def resumed(context: g.RunContext) -> e.Resumption:
    assert context.task is not None
    assert context.task.resume is not None
    return context.task.resume


# -- going to sleep ----------------------------------------------------------------------------


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


# -- ends of others ----------------------------------------------------------------------------


async def test_it_goes_on_when_a_job_has_ended(hands: Hands) -> None:
    run_id = await hands.submit(a_task("a"), a_task("b"))
    await defer(hands, a_wait("job", job_id="b"))
    await look(hands)
    before = (await hands.status(run_id))["a"]

    await hands.do(exit_code=3)
    await look(hands)

    assert before == "deferred"
    assert resumed(await goes_on(hands)).event == {
        "run_id": run_id,
        "job_id": "b",
        "status": "failed",
        "exit_code": 3,
    }


async def test_it_goes_on_when_a_run_has_ended_also_one_that_had_before(hands: Hands) -> None:
    other = await hands.submit(a_task("x"))
    await hands.do()

    await one_asleep(hands, a_wait("run", run_id=other))

    event = resumed(await goes_on(hands)).event
    assert event == {"run_id": other, "name": "test", "status": "success"}


@pytest.mark.parametrize(
    ("wait", "says"),
    [
        (a_wait("run", run_id=1), "a task cannot wait for the end of its own run"),
        (a_wait("job", job_id="a"), "a task cannot wait for the end of itself"),
        (a_wait("run", run_id=99), "there is no run 99 to wait for"),
        (a_wait("job", job_id="z"), "there is no job 'z' in run 1 to wait for"),
        (a_wait("callback", callback_id="x"), "it waits for a callback that it did not ask for"),
    ],
)
async def test_what_never_can_be_is_not_waited_for(hands: Hands, wait: e.Defer, says: str) -> None:
    run_id = await one_asleep(hands, wait)

    job = await hands.job(run_id, "a")
    assert (job.status, job.reason and job.reason.message) == ("failed", says)


# -- files and servers -------------------------------------------------------------------------


async def until_status(hands: Hands, run_id: RunId, job_id: str, status: str) -> None:
    """Looks are taken on a thread: it takes a few turns until they are told."""
    async with asyncio.timeout(5):
        while (await hands.status(run_id))[job_id] != status:
            await hands.runtime.advance(6)
            await asyncio.sleep(0.005)


async def test_it_goes_on_when_a_file_is_there(hands: Hands, tmp_path: Path) -> None:
    file = tmp_path / "inbox" / "orders.csv"
    run_id = await one_asleep(hands, a_wait("file", path=str(file)))
    await look(hands, 6)
    before = (await hands.status(run_id))["a"]

    file.write_text("1,2\n")
    await until_status(hands, run_id, "a", "queued")

    event = resumed(await goes_on(hands)).event
    assert before == "deferred"
    assert isinstance(event, dict)
    assert (event["path"], event["size_bytes"]) == (str(file), 4)


async def test_a_file_outside_of_the_folders_is_not_looked_at(hands: Hands, tmp_path: Path) -> None:
    (tmp_path / "inbox" / "way").symlink_to("/etc")
    run_id = await one_asleep(
        hands, a_wait("file", path=str(tmp_path / "inbox" / "way" / "passwd"))
    )

    await until_status(hands, run_id, "a", "failed")

    reason = (await hands.job(run_id, "a")).reason
    assert reason is not None
    assert "it is not below one of its --trigger-folder" in reason.message


async def test_it_goes_on_when_a_server_answers_as_wanted(hands: Hands, server: OneServer) -> None:
    wait = a_wait("http", url="http://build.example/7", select="state", equals="done")
    run_id = await one_asleep(hands, wait)
    await look(hands, 1)
    deferral = (await hands.job(run_id, "a")).deferral

    server.answer = {"status": 200, "selected": "done"}
    await until_status(hands, run_id, "a", "queued")

    assert deferral is not None
    assert deferral.last_look == "it answered 503"

    assert resumed(await goes_on(hands)).event == {"status": 200, "selected": "done"}


async def test_many_that_wait_for_the_same_share_one_look(hands: Hands, server: OneServer) -> None:
    run_id = await hands.submit(*(a_task(f"t{n}") for n in range(20)))
    for _ in range(20):
        await defer(hands, a_wait("http", url="http://build.example/7"))
    await look(hands, 1)
    server.answer = {"status": 200}
    await until_status(hands, run_id, "t0", "queued")

    view = await hands.service.show_run(run_id)
    assert {job.status for job in view.jobs} == {"queued"}
    assert len(server.logins) <= 2


# -- callbacks ---------------------------------------------------------------------------------


async def _callback(hands: Hands) -> tuple[g.Claim, str, str]:
    """A running attempt, and the id and the secret of a callback that it asked for."""
    claim = await hands.start()
    scope = e.Scope(attempt_id=claim.attempt_id, worker_id=ANN, fence=claim.fence)
    made = await hands.service.execution.new_callback(scope, e.NewCallback())
    start, _, secret = made.url.rpartition("/")
    assert start == f"http://jobs.example:7402/v1/callbacks/{made.callback_id}"
    return claim, made.callback_id, secret


async def test_what_is_posted_to_a_callback_is_the_event(hands: Hands) -> None:
    await hands.submit(a_task("a"))
    claim, callback_id, secret = await _callback(hands)
    wait = a_wait("callback", callback_id=callback_id)
    await hands.finish(claim, outcome=g.Outcome.TASK_ENDED, task=wait)
    await look(hands)
    post = PostCallback(callback_id=callback_id, secret=secret, event={"ok": True})

    await hands.service.post_callback(post)
    await hands.service.post_callback(post)  # its answer got lost

    assert resumed(await goes_on(hands)).event == {"ok": True}
    with pytest.raises(Conflict, match="something else was posted"):
        await hands.service.post_callback(post.model_copy(update={"event": 2}))


async def test_a_callback_may_come_before_it_is_waited_for(hands: Hands) -> None:
    await hands.submit(a_task("a"))
    claim, callback_id, secret = await _callback(hands)
    await hands.service.post_callback(
        PostCallback(callback_id=callback_id, secret=secret, event="quick")
    )

    wait = a_wait("callback", callback_id=callback_id)
    await hands.finish(claim, outcome=g.Outcome.TASK_ENDED, task=wait)
    await look(hands)

    assert resumed(await goes_on(hands)).event == "quick"


async def test_nobody_can_guess_a_callback(hands: Hands) -> None:
    await hands.submit(a_task("a"))
    _, callback_id, secret = await _callback(hands)

    for known, guess in ((callback_id, secret[:-1] + "-"), ("0" * 36, secret)):
        with pytest.raises(UnknownCallback):
            await hands.service.post_callback(
                PostCallback(callback_id=known, secret=guess, event=1)
            )


# -- questions ---------------------------------------------------------------------------------

QUESTION = a_wait(
    "question",
    question="Deploy 1.2?",
    choices=["yes", "no"],
    fields=[
        {"name": "reason", "default": ""},
        {"name": "hosts", "kind": "number"},
        {"name": "loud", "kind": "boolean", "default": False},
    ],
)


def an_answer(run_id: RunId, choice: str | None = "yes", **values: JsonValue) -> AnswerRequest:
    return AnswerRequest(run_id=run_id, job_id=JobId("a"), by="eve", choice=choice, values=values)


async def test_a_question_is_listed_until_it_is_answered(hands: Hands) -> None:
    run_id = await one_asleep(hands, QUESTION)
    (asked,) = (await hands.service.list_questions(None)).questions

    await hands.service.answer(an_answer(run_id, hosts="3"))
    await hands.service.answer(an_answer(run_id, hosts="3"))  # its answer got lost

    assert (asked.question, asked.choices, asked.job_id) == ("Deploy 1.2?", ("yes", "no"), "a")
    assert (await hands.service.list_questions(run_id)).questions == ()
    assert resumed(await goes_on(hands)).event == {
        "choice": "yes",
        "values": {"reason": "", "hosts": 3, "loud": False},
        "by": "eve",
        "at": T0.isoformat(),
    }


async def test_an_answer_that_does_not_fit_changes_nothing_and_says_all_that_is_wrong(
    hands: Hands,
) -> None:
    run_id = await one_asleep(hands, QUESTION)

    with pytest.raises(BadRequest) as raised:
        await hands.service.answer(an_answer(run_id, "perhaps", loud="very", color="red"))

    assert raised.value.message == (
        "'perhaps' is no choice: there are 'yes', 'no'; there is no field 'color': there are"
        " 'reason', 'hosts', 'loud'; hosts: has to be given (number); loud: takes yes or no"
    )
    assert (await hands.status(run_id))["a"] == "deferred"


async def test_only_what_asks_can_be_answered(hands: Hands) -> None:
    run_id = await hands.submit(a_task("a"))

    with pytest.raises(Conflict, match="does not wait for an answer: it is queued"):
        await hands.service.answer(an_answer(run_id))


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
    claim, *_ = await _callback(hands)
    await hands.finish(claim, task=e.Succeed())
    await look(hands, 1)
    await hands.service.prune(PruneRequest(keep_s=0))

    left = await hands.service._store.database.read(
        lambda conn: conn.execute("SELECT count(*) FROM callback").fetchone()
    )
    assert left == (0,)
