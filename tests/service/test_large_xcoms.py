"""Values over the inline limit are blobs by their hash, and nobody who reads them can tell."""

import sqlite3
from pathlib import Path

import pytest
from pydantic import JsonValue

from jobstore.execution_data.xcoms import INLINE_BYTES
from shared.errors import Conflict
from shared.protocol import execution as e
from shared.protocol.history import PruneRequest
from tests.support.jobstore import Hands
from tests.support.stored_tasks import a_task, leave, scope_of

LIST: JsonValue = [{"n": n, "text": "ü" * 100} for n in range(1_000)]  # 200 KB
TEXT: JsonValue = "x" * (INLINE_BYTES + 1)


def blobs(folder: Path) -> int:
    return len([path for path in (folder / "files" / "blobs").rglob("*") if path.is_file()])


async def test_a_large_value_is_a_blob_and_arrives_as_it_was(hands: Hands, tmp_path: Path) -> None:
    await hands.submit(a_task("a"), a_task("b", "a"))

    await leave(hands, LIST)

    scope, ask = scope_of(await hands.start()), hands.service.execution
    assert (await ask.get_xcom(scope, e.GetXCom(job="a"))).value == LIST
    assert blobs(tmp_path) == 1
    database = sqlite3.connect(tmp_path / "jobs.db")
    assert database.execute("SELECT value, kind, length FROM xcom").fetchall() == [
        ("null", "array", 1_000)
    ]
    database.close()


async def test_a_value_at_the_limit_stays_in_the_database(hands: Hands, tmp_path: Path) -> None:
    await hands.submit(a_task("a"))

    await leave(hands, "x" * (INLINE_BYTES - 2))

    assert blobs(tmp_path) == 0


async def test_items_and_slices_of_a_large_list_are_read_alone(hands: Hands) -> None:
    await hands.submit(a_task("a"), a_task("b", "a"))
    await leave(hands, LIST)
    scope, ask = scope_of(await hands.start()), hands.service.execution

    assert (await ask.count_xcom(scope, e.CountXCom(job="a"))).count == 1_000
    last = await ask.get_xcom_item(scope, e.GetXComItem(job="a", index=-1))
    assert last.value == {"n": 999, "text": "ü" * 100}
    beyond = await ask.get_xcom_item(scope, e.GetXComItem(job="a", index=1_000))
    assert not beyond.is_found
    some = await ask.get_xcom_slice(scope, e.GetXComSlice(job="a", start=998, step=-499))
    assert [item["n"] for item in some.values if isinstance(item, dict)] == [998, 499, 0]


async def test_a_job_is_mapped_over_a_large_list(hands: Hands) -> None:
    run_id = await hands.submit(a_task("a"), a_task("b", "a", mapped_over="a"), max_workers=1)

    await leave(hands, LIST)

    assert (await hands.status(run_id))["b[999]"] in ("held", "queued")


async def test_what_is_large_and_no_list_cannot_be_counted(hands: Hands) -> None:
    await hands.submit(a_task("a"), a_task("b", "a"))
    await leave(hands, TEXT)
    scope = scope_of(await hands.start())

    with pytest.raises(Conflict, match="found text"):
        await hands.service.execution.count_xcom(scope, e.CountXCom(job="a"))


async def test_large_values_of_instances_are_one_list(hands: Hands) -> None:
    await hands.submit(a_task("a", mapped_over=[1, 2, 3]), a_task("b", "a"))
    for value in (TEXT, 2, LIST):
        await leave(hands, value)
    scope, ask = scope_of(await hands.start()), hands.service.execution

    assert (await ask.get_xcom(scope, e.GetXCom(job="a"))).value == [TEXT, 2, LIST]
    assert (await ask.get_xcom(scope, e.GetXCom(job="a", map_index=2))).value == LIST
    assert (await ask.get_xcom_slice(scope, e.GetXComSlice(job="a"))).values == (TEXT, 2, LIST)


async def test_the_blob_of_a_replaced_value_goes_and_one_in_use_stays(
    hands: Hands, tmp_path: Path
) -> None:
    await hands.submit(a_task("a"))
    scope, ask = scope_of(await hands.start()), hands.service.execution
    for key in ("kept", "replaced"):
        await ask.set_xcom(scope, e.SetXCom(key=key, value=TEXT))
    await ask.set_xcom(scope, e.SetXCom(key="dropped", value=LIST))

    await ask.set_xcom(scope, e.SetXCom(key="replaced", value=1))
    await ask.delete_xcom(scope, e.DeleteXCom(key="dropped"))
    await hands.service._history.keep_once()

    assert blobs(tmp_path) == 1
    assert (await ask.get_xcom(scope, e.GetXCom(key="kept"))).value == TEXT


async def test_a_pruned_run_leaves_no_blob(hands: Hands, tmp_path: Path) -> None:
    await hands.submit(a_task("a"))
    await leave(hands, LIST)
    await hands.runtime.advance(1_000)

    await hands.service.prune(PruneRequest(keep_s=10))

    assert blobs(tmp_path) == 0
