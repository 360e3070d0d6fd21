"""Tasks as the job service sees them: results, rules, branches, instances, secrets."""

import hashlib
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from pydantic import JsonValue

from jobstore.execution_data.vault import Vault, parse_keys
from shared.errors import (
    BadPipeline,
    BadRequest,
    Conflict,
    Misconfigured,
    StaleFence,
    TooLarge,
    UnknownAttempt,
    UnknownBundle,
    UnknownConnection,
    UnknownJob,
    UnknownVariable,
)
from shared.ids import AttemptId, RunId
from shared.protocol import execution as e
from shared.protocol import gateway as g
from shared.protocol import jobs as j
from shared.protocol.history import PruneRequest
from shared.protocol.pipeline import JobSpec, RetryRule
from tests.support.jobstore import ANN, BEN, Hands


def a_task(job_id: str, *needs: str, rule: str = "all_success", **fields: Any) -> JobSpec:
    """A function `job_id` that needs those jobs; `mapped_over`: what its parameter x is of."""
    mapped_over = fields.pop("mapped_over", None)
    task: dict[str, Any] = {"module": "flow", "function": job_id, "trigger_rule": rule}
    if mapped_over is not None:
        kind = {"kind": "result", "job": mapped_over}
        if isinstance(mapped_over, list):
            kind = {"kind": "literal", "value": mapped_over}
        task |= {"kwargs": {"x": kind}, "mapped": ["x"]}
    return JobSpec.model_validate({"id": job_id, "needs": needs, "task": task, **fields})


def scope_of(claim: g.Claim) -> e.Scope:
    return e.Scope(attempt_id=claim.attempt_id, worker_id=ANN, fence=claim.fence)


async def leave(hands: Hands, value: JsonValue, key: str = "return_value") -> g.Claim:
    """The next job leaves that and succeeds."""
    claim = await hands.start()
    await hands.service.execution.set_xcom(scope_of(claim), e.SetXCom(key=key, value=value))
    await hands.finish(claim, task=e.Succeed())
    return claim


async def end(hands: Hands, task: e.AttemptState, *, exit_code: int = 0) -> g.Claim:
    claim = await hands.start()
    outcome = g.Outcome.EXITED if isinstance(task, e.Succeed) else g.Outcome.TASK_ENDED
    await hands.finish(claim, exit_code, outcome=outcome, task=task)
    return claim


# -- what a worker is told ---------------------------------------------------------------------


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


# -- instances ---------------------------------------------------------------------------------

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


# -- XComs -------------------------------------------------------------------------------------


async def test_a_long_list_is_read_in_slices(hands: Hands) -> None:
    await hands.submit(a_task("a"), a_task("b", "a"))
    await leave(hands, ["x" * 1_500_000] * 2 + [3, 4])
    scope, ask = scope_of(await hands.start()), hands.service.execution

    first = await ask.get_xcom_slice(scope, e.GetXComSlice(job="a"))
    rest = await ask.get_xcom_slice(scope, e.GetXComSlice(job="a", start=2, stop=None))
    backwards = await ask.get_xcom_slice(scope, e.GetXComSlice(job="a", start=-1, stop=1, step=-1))

    assert len(first.values) == 4
    assert rest == e.XComSlice(values=(3, 4))
    assert backwards.values == (4, 3)
    with pytest.raises(BadRequest, match="step"):
        await ask.get_xcom_slice(scope, e.GetXComSlice(job="a", step=0))


async def test_a_slice_tells_where_to_go_on(hands: Hands) -> None:
    await hands.submit(a_task("a"), a_task("b", "a"))
    await leave(hands, list(range(2_500)))
    scope, ask = scope_of(await hands.start()), hands.service.execution

    values: list[JsonValue] = []
    start: int | None = 0
    while start is not None:
        piece = await ask.get_xcom_slice(scope, e.GetXComSlice(job="a", start=start))
        values += piece.values
        start = piece.next_start

    assert values == list(range(2_500))


async def test_what_a_try_left_is_gone_with_the_next(hands: Hands) -> None:
    await hands.submit(a_task("a", retry=RetryRule(max=1, delay_s=0)))
    claim = await hands.start()
    ask = hands.service.execution
    await ask.set_xcom(scope_of(claim), e.SetXCom(key="k", value=1))
    await hands.finish(claim, 1)
    await hands.runtime.advance(1)

    (again,) = await hands.claim(wait_s=5)
    await hands.run(again)

    assert await ask.get_xcom(scope_of(again), e.GetXCom(key="k")) == e.XCom(
        value=None, is_found=False
    )


async def test_xcoms_can_be_listed_replaced_and_deleted(hands: Hands) -> None:
    await hands.submit(a_task("a"))
    scope, ask = scope_of(await hands.start()), hands.service.execution

    for value in (1, 2):
        await ask.set_xcom(scope, e.SetXCom(key="k", value=value))
    await ask.set_xcom(scope, e.SetXCom(key="gone", value=1))
    await ask.delete_xcom(scope, e.DeleteXCom(key="gone"))

    assert await ask.list_xcoms(scope, e.ListXComs()) == e.Keys(keys=("k",))
    assert await ask.list_xcoms(scope, e.ListXComs(job="a")) == e.Keys(keys=("k",))
    assert (await ask.get_xcom(scope, e.GetXCom(key="k"))).value == 2


async def test_a_value_that_is_too_large_is_refused(hands: Hands) -> None:
    await hands.submit(a_task("a"))
    scope = scope_of(await hands.start())

    with pytest.raises(TooLarge, match=f"may have {e.MAX_VALUE_BYTES} bytes, and this one has"):
        await hands.service.execution.set_xcom(scope, e.SetXCom(value="x" * e.MAX_VALUE_BYTES))


async def test_a_job_that_is_not_of_the_run_is_unknown(hands: Hands) -> None:
    await hands.submit(a_task("other"))
    await hands.do()
    await hands.submit(a_task("a"))
    scope = scope_of(await hands.start())

    with pytest.raises(UnknownJob):
        await hands.service.execution.get_xcom(scope, e.GetXCom(job="other"))
    with pytest.raises(Conflict):
        await hands.service.execution.count_xcom(scope, e.CountXCom(job="a"))


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"worker_id": BEN}, StaleFence),
        ({"fence": 99}, StaleFence),
        ({"attempt_id": AttemptId("no-such")}, UnknownAttempt),
    ],
)
async def test_only_who_holds_the_attempt_is_answered(
    hands: Hands, change: dict[str, Any], error: type[Exception]
) -> None:
    await hands.submit(a_task("a"))
    scope = scope_of(await hands.start()).model_copy(update=change)

    with pytest.raises(error):
        await hands.service.execution.set_xcom(scope, e.SetXCom(value=1))


async def test_an_attempt_that_has_ended_is_answered_no_more(hands: Hands) -> None:
    await hands.submit(a_task("a"))
    claim = await hands.start()
    await hands.finish(claim)

    with pytest.raises(StaleFence):
        await hands.service.execution.list_xcoms(scope_of(claim), e.ListXComs())


async def test_a_value_that_comes_while_its_attempt_ends_is_refused(hands: Hands) -> None:
    await hands.submit(a_task("a"))
    claim = await hands.start()
    await hands.finish(claim)
    after_the_lease_was_looked_at = hands.service.execution._xcoms

    with pytest.raises(StaleFence):
        await after_the_lease_was_looked_at.set_xcom(claim.attempt_id, e.SetXCom(value=1))


async def test_a_claim_that_was_not_started_opens_nothing(hands: Hands) -> None:
    await hands.submit(a_task("a"))
    (claim,) = await hands.claim()

    with pytest.raises(StaleFence):
        await hands.service.execution.list_variables(scope_of(claim), e.ListVariables())


# -- variables and connections -----------------------------------------------------------------


async def test_variables_and_connections_are_kept(hands: Hands) -> None:
    await hands.submit(a_task("a"))
    scope, ask = scope_of(await hands.start()), hands.service.execution
    db = e.Connection(name="db", kind="postgres", password="hunter22", extra={"a": [1]})

    await ask.set_variable(scope, e.SetVariable(key="region", value="eu", is_secret=True))
    await ask.set_connection(scope, e.SetConnection(connection=db))

    assert await ask.get_variable(scope, e.GetVariable(key="region")) == e.Variable(
        key="region", value="eu", is_secret=True
    )
    assert await ask.get_connection(scope, e.GetConnection(name="db")) == db
    assert await ask.list_variables(scope, e.ListVariables(prefix="re")) == e.Keys(keys=("region",))
    assert await ask.list_connections(scope, e.ListConnections(after="db")) == e.Keys(keys=())
    await ask.delete_variable(scope, e.DeleteVariable(key="region"))
    await ask.delete_connection(scope, e.DeleteConnection(name="db"))
    with pytest.raises(UnknownVariable):
        await ask.get_variable(scope, e.GetVariable(key="region"))
    with pytest.raises(UnknownConnection):
        await ask.get_connection(scope, e.GetConnection(name="db"))


async def test_the_database_holds_no_secret(hands: Hands, tmp_path: Path) -> None:
    await hands.submit(a_task("a"))
    scope, ask = scope_of(await hands.start()), hands.service.execution

    await ask.set_variable(scope, e.SetVariable(key="region", value="hunter22"))
    await ask.set_connection(
        scope, e.SetConnection(connection=e.Connection(name="d", kind="x", password="hunter22"))
    )

    files = sorted(tmp_path.rglob("jobs.db*"))  # noqa: ASYNC240 - a test's own folder
    assert files
    assert [file for file in files if b"hunter22" in file.read_bytes()] == []


def test_what_one_key_sealed_another_cannot_open() -> None:
    old, new = [bytes([n]) * 32 for n in (1, 2)]
    sealed = Vault(lambda: [old]).seal("secret")

    assert Vault(lambda: [new, old]).open(sealed) == "secret"
    again = Vault(lambda: [new, old]).seal_again(sealed)
    assert Vault(lambda: [new]).open(again) == "secret"
    with pytest.raises(Misconfigured, match="a key that is not given any more"):
        Vault(lambda: [new]).open(sealed)


@pytest.mark.parametrize("text", ["", "short", "ä" * 44, "!" * 44])
def test_what_is_no_key_is_refused(text: str) -> None:
    with pytest.raises(Misconfigured):
        parse_keys(text)


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
