"""What tasks leave for each other, and what all pipelines share."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import JsonValue

from jobstore.execution_data.vault import Vault, parse_keys
from shared.errors import (
    BadRequest,
    Conflict,
    Misconfigured,
    StaleFence,
    TooLarge,
    UnknownAttempt,
    UnknownConnection,
    UnknownJob,
    UnknownVariable,
)
from shared.ids import AttemptId
from shared.protocol import execution as e
from shared.protocol.pipeline import RetryRule
from tests.support.jobstore import BEN, Hands
from tests.support.stored_tasks import a_task, leave, scope_of


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
