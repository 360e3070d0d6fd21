"""A job that becomes as many as there are items."""

import pytest
from pydantic import JsonValue

from shared.protocol import execution as e
from shared.protocol import jobs as j
from tests.support.jobstore import Hands
from tests.support.stored_tasks import a_task, leave, scope_of

MAPPED = (
    a_task("numbers"),
    a_task("square", "numbers", mapped_over="numbers"),
    a_task("total", "square"),
)


async def test_a_mapped_job_becomes_as_many_as_there_are_items(hands: Hands) -> None:
    run_id = await hands.submit(*MAPPED)

    await leave(hands, [10, 20, 30])

    assert await hands.status(run_id) == {
        "run": "running",
        "numbers": "success",
        "square": "blocked",
        "total": "blocked",
        "square[0]": "queued",
        "square[1]": "queued",
        "square[2]": "queued",
    }


async def test_an_instance_knows_which_it_is_and_what_it_needed(hands: Hands) -> None:
    await hands.submit(*MAPPED)
    await leave(hands, [10, 20])

    contexts = [await hands.run(claim) for claim in await hands.claim(slots=2)]

    assert [c.task.map_index for c in contexts if c.task] == [0, 1]
    assert [[d.job_id for d in c.dependencies] for c in contexts] == [["numbers"]] * 2


async def test_what_instances_left_is_one_list(hands: Hands) -> None:
    run_id = await hands.submit(*MAPPED)
    await leave(hands, [10, 20, 30])
    await leave(hands, 100)
    await hands.do()  # leaves nothing
    await leave(hands, {"a": 900})

    claim = await hands.start()
    scope, ask = scope_of(claim), hands.service.execution
    whole = await ask.get_xcom(scope, e.GetXCom(job="square"))
    last = await ask.get_xcom_item(scope, e.GetXComItem(job="square", index=-1))
    beyond = await ask.get_xcom_item(scope, e.GetXComItem(job="square", index=3))
    one = await ask.get_xcom(scope, e.GetXCom(job="square", map_index=0))

    assert claim.job_id == "total"
    assert whole == e.XCom(value=[100, None, {"a": 900}], is_found=True)
    assert last == e.XCom(value={"a": 900}, is_found=True)
    assert beyond == e.XCom(value=None, is_found=False)
    assert one == e.XCom(value=100, is_found=True)
    assert await ask.count_xcom(scope, e.CountXCom(job="square")) == e.XComCount(count=3)
    await hands.finish(claim)
    assert (await hands.status(run_id))["run"] == "success"


async def test_a_list_that_was_known_before_is_dealt_out(hands: Hands) -> None:
    await hands.submit(a_task("square", mapped_over=[7, 8]))

    contexts = [await hands.run(claim) for claim in await hands.claim(slots=2)]

    specs = [c.task.spec for c in contexts if c.task]
    assert [s.kwargs["x"].model_dump()["value"] for s in specs] == [7, 8]
    assert [s.mapped for s in specs] == [(), ()]


async def test_a_job_is_mapped_over_a_mapped_job(hands: Hands) -> None:
    run_id = await hands.submit(
        a_task("first", mapped_over=[1, 2]), a_task("second", "first", mapped_over="first")
    )

    order = await hands.play()

    assert order == ["first[0]", "first[1]", "second[0]", "second[1]"]
    assert (await hands.status(run_id))["run"] == "success"


async def test_a_failed_instance_fails_the_job_it_belongs_to(hands: Hands) -> None:
    run_id = await hands.submit(a_task("square", mapped_over=[1, 2]), a_task("total", "square"))

    await hands.play("square[1]")

    status = await hands.status(run_id)
    assert (status["square"], status["total"], status["run"]) == ("failed", "skipped", "failed")
    reason = (await hands.job(run_id, "square")).reason
    assert reason is not None
    assert reason.message == "1 of 2 failed"


async def test_an_empty_list_makes_no_job_and_is_a_success(hands: Hands) -> None:
    run_id = await hands.submit(*MAPPED)
    await leave(hands, [])

    claim = await hands.start()
    found = await hands.service.execution.get_xcom(scope_of(claim), e.GetXCom(job="square"))

    assert claim.job_id == "total"
    assert found == e.XCom(value=[], is_found=True)
    assert (await hands.status(run_id))["square"] == "success"


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("text", "expected a list under 'return_value', found text"),
        (None, "expected a list under 'return_value', found null"),
        ([0] * 10_001, "10001 items; a job may have 10000 instances"),
    ],
)
async def test_what_cannot_be_mapped_over_fails_the_job(
    hands: Hands, value: JsonValue, says: str
) -> None:
    run_id = await hands.submit(*MAPPED)

    await leave(hands, value)

    reason = (await hands.job(run_id, "square")).reason
    assert reason is not None
    assert says in reason.message
    assert (await hands.status(run_id))["run"] == "failed"


async def test_instances_count_for_how_many_may_run_at_once(hands: Hands) -> None:
    run_id = await hands.submit(a_task("square", mapped_over=[1, 2, 3]), max_workers=2)

    status = await hands.status(run_id)
    assert [status[f"square[{n}]"] for n in range(3)] == ["queued", "queued", "held"]
    assert await hands.play() == ["square[0]", "square[1]", "square[2]"]


async def test_a_cancelled_run_with_instances_ends(hands: Hands) -> None:
    run_id = await hands.submit(*MAPPED)
    await leave(hands, [1, 2])

    await hands.cancel(run_id)

    assert (await hands.status(run_id))["run"] == "cancelled"


async def test_a_retried_run_goes_on_with_what_instances_left(hands: Hands) -> None:
    run_id = await hands.submit(*MAPPED)
    await leave(hands, [1, 2])
    await leave(hands, "one")
    await leave(hands, "two")
    await hands.do(exit_code=1)

    again = await hands.service.retry(
        j.RetryRequest(idempotency_key="again", run_id=run_id, failed_only=True)
    )
    claim = await hands.start()
    found = await hands.service.execution.get_xcom(scope_of(claim), e.GetXCom(job="square"))
    await hands.finish(claim)

    assert claim.job_id == "total"
    assert found.value == ["one", "two"]
    assert (await hands.status(again.run_id)) == {
        "run": "success",
        "numbers": "success",
        "square": "success",
        "total": "success",
    }
