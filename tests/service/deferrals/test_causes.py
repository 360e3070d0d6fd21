"""What deferred jobs wait for: ends of others, files, servers, callbacks, people."""

from pathlib import Path

import pytest

from shared.errors import BadRequest, Conflict, UnknownCallback
from shared.protocol import execution as e
from shared.protocol import gateway as g
from shared.protocol.questions import PostCallback
from tests.support.deferred import (
    QUESTION,
    OneServer,
    a_callback,
    a_task,
    a_wait,
    an_answer,
    defer,
    goes_on,
    look,
    one_asleep,
    resumed,
    until_status,
)
from tests.support.jobstore import Hands
from tests.support.runtime import T0


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


async def test_what_is_posted_to_a_callback_is_the_event(hands: Hands) -> None:
    await hands.submit(a_task("a"))
    claim, callback_id, secret = await a_callback(hands)
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
    claim, callback_id, secret = await a_callback(hands)
    await hands.service.post_callback(
        PostCallback(callback_id=callback_id, secret=secret, event="quick")
    )

    wait = a_wait("callback", callback_id=callback_id)
    await hands.finish(claim, outcome=g.Outcome.TASK_ENDED, task=wait)
    await look(hands)

    assert resumed(await goes_on(hands)).event == "quick"


async def test_nobody_can_guess_a_callback(hands: Hands) -> None:
    await hands.submit(a_task("a"))
    _, callback_id, secret = await a_callback(hands)

    for known, guess in ((callback_id, secret[:-1] + "-"), ("0" * 36, secret)):
        with pytest.raises(UnknownCallback):
            await hands.service.post_callback(
                PostCallback(callback_id=known, secret=guess, event=1)
            )


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
