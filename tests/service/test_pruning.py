"""Runs that are forgotten: what was theirs goes, and nothing else."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from jobstore.settings import JobStoreSettings
from shared.errors import UnknownRun
from shared.ids import JobId, RunId
from shared.protocol.history import PruneReply
from shared.protocol.jobs import Resume, RetryRequest, SubmitRequest
from shared.protocol.pipeline import PipelineSpec
from tests.support.jobstore import Hands, a_job, hands_on
from tests.support.pruning import (
    DAY_S,
    LONG,
    an_old_run,
    do,
    log_of,
    output_of,
    prune,
    rows,
    stored,
    stream_log,
    upload,
)
from tests.support.runtime import ManualRuntime


async def test_an_old_run_goes_with_all_that_was_its_own(hands: Hands, tmp_path: Path) -> None:
    run_id = await an_old_run(hands)
    assert len(stored(tmp_path)) == 2

    gone = await prune(hands)

    assert gone == PruneReply(runs=1, jobs=1, log_bytes=len(LONG), artifact_bytes=3)
    assert (rows(tmp_path), stored(tmp_path)) == ({}, [])
    for verb in (
        hands.service.show_run(run_id),
        hands.service.list_artifacts(run_id, None),
        hands.service.list_events(run_id, after=0, limit=9),
        hands.service.list_attempts(run_id, JobId("a")),
        log_of(hands, run_id),
    ):
        with pytest.raises(UnknownRun):
            await verb


async def test_a_newer_run_stays_as_it_is(hands: Hands, tmp_path: Path) -> None:
    await an_old_run(hands)
    kept = await hands.submit(a_job("a"))
    await do(hands, b"new")
    before = (
        await hands.service.show_run(kept),
        await hands.service.list_events(kept, after=0, limit=99),
    )

    await prune(hands)

    assert before == (
        await hands.service.show_run(kept),
        await hands.service.list_events(kept, after=0, limit=99),
    )
    assert (await log_of(hands, kept), await output_of(hands, kept)) == (LONG, b"new")


async def test_a_run_that_has_not_ended_is_never_pruned(hands: Hands) -> None:
    waiting = await hands.submit(a_job("a"), a_job("b"))
    claim = await hands.start()
    await hands.runtime.advance(20)
    await hands.beat(claim)

    gone = await prune(hands, keep_s=0)

    assert gone.runs == 0
    assert (await hands.status(waiting))["run"] == "running"


async def test_the_age_counts_from_the_end_of_a_run(hands: Hands) -> None:
    run_id = await hands.submit(a_job("a"))
    hands.runtime.step_wall_clock(100 * DAY_S)
    await hands.do()
    hands.runtime.step_wall_clock(80 * DAY_S)

    assert (await prune(hands)).runs == 0
    assert (await hands.status(run_id))["run"] == "success"


async def test_a_name_narrows_it_to_one_pipeline(hands: Hands) -> None:
    one, other = await an_old_run(hands, name="one"), await an_old_run(hands, name="other")

    gone = await prune(hands, name="one")

    assert gone.runs == 1
    assert (await hands.status(other))["run"] == "success"
    with pytest.raises(UnknownRun):
        await hands.status(one)


async def test_a_dry_run_says_what_would_go_and_changes_nothing(
    hands: Hands, tmp_path: Path
) -> None:
    await an_old_run(hands, b"shared")
    await an_old_run(hands, b"shared")
    await an_old_run(hands, b"shared")
    before = rows(tmp_path), stored(tmp_path)

    would_go = await prune(hands, keep_s=250 * DAY_S, is_dry=True)

    assert (rows(tmp_path), stored(tmp_path)) == before
    assert would_go == await prune(hands, keep_s=250 * DAY_S)
    assert would_go.artifact_bytes == 0  # a younger run has the same bytes
    assert (await prune(hands, keep_s=0)).artifact_bytes == len(b"shared")


async def test_bytes_that_another_run_has_as_well_stay(hands: Hands, tmp_path: Path) -> None:
    await an_old_run(hands, b"same")
    kept = await hands.submit(a_job("a"))
    await do(hands, b"same")

    await prune(hands)

    assert await output_of(hands, kept) == b"same"
    await prune(hands, keep_s=-0.0)
    assert (await prune(hands, keep_s=0)).runs == 0 or stored(tmp_path) == []


@pytest.mark.parametrize("way", ["retry", "resume"])
async def test_what_a_later_run_carried_over_stays_readable_with_it(
    hands: Hands, tmp_path: Path, way: str
) -> None:
    spec = PipelineSpec(name="test", jobs=(a_job("a"), a_job("b", needs=["a"])))
    old = await hands.submit(*spec.jobs)
    await do(hands, b"carried")
    await do(hands, b"broken", exit_code=1)
    hands.runtime.step_wall_clock(100 * DAY_S)
    if way == "retry":
        again = RetryRequest(idempotency_key="again", run_id=old, failed_only=True)
        later = (await hands.service.retry(again)).run_id
    else:
        ask = SubmitRequest(idempotency_key="again", pipeline=spec, resume=Resume(run_id=old))
        later = (await hands.service.submit(ask)).run_id
    would_go = await prune(hands, is_dry=True)
    gone = await prune(hands)
    await do(hands, b"mended")

    assert would_go == gone
    assert (gone.runs, gone.log_bytes, gone.artifact_bytes) == (1, len(LONG), len(b"broken"))
    assert (await output_of(hands, later), await log_of(hands, later)) == (b"carried", LONG)
    assert (await hands.status(later)) == {"run": "success", "a": "success", "b": "success"}

    hands.runtime.step_wall_clock(100 * DAY_S)
    would_go = await prune(hands, is_dry=True)
    gone = await prune(hands)

    assert would_go == gone
    assert (gone.log_bytes, gone.artifact_bytes) == (2 * len(LONG), len(b"carriedmended"))
    assert (rows(tmp_path), stored(tmp_path)) == ({}, [])


async def test_a_run_about_which_somebody_is_yet_to_be_told_stays(
    hands: Hands, tmp_path: Path
) -> None:
    run_id = await an_old_run(hands)
    with closing(sqlite3.connect(tmp_path / "jobs.db")) as conn, conn:
        conn.execute(
            "INSERT INTO notification (run_id, run_status, kind, target, status, created_at)"
            " VALUES (?, 'success', 'email', 'ann@example.org', 'waiting', 0)",
            (run_id,),
        )

    assert (await prune(hands)).runs == 0

    with closing(sqlite3.connect(tmp_path / "jobs.db")) as conn, conn:
        conn.execute("UPDATE notification SET status = 'sent'")
    assert (await prune(hands)).runs == 1


async def test_a_big_run_goes_in_pieces_and_whole(hands: Hands, tmp_path: Path) -> None:
    names = [f"j{n}" for n in range(130)]
    chain = [a_job(name, needs=names[max(n - 2, 0) : n]) for n, name in enumerate(names)]
    await hands.submit(*chain, a_job("wide"))
    for _ in names:
        await hands.do()
    claim = await hands.start()
    entry = await upload(hands, claim, b"same")
    entries = tuple(entry.model_copy(update={"path": f"out/{n}"}) for n in range(2_500))
    await hands.finish(claim, artifacts=entries)
    hands.runtime.step_wall_clock(100 * DAY_S)

    gone = await prune(hands)

    assert (gone.jobs, gone.artifact_bytes) == (131, 4)
    assert (rows(tmp_path), stored(tmp_path)) == ({}, [])


async def test_a_log_that_was_streamed_and_then_sent_whole_leaves_no_file(
    hands: Hands, tmp_path: Path
) -> None:
    await hands.submit(a_job("a"))
    claim = await hands.start()
    await stream_log(hands, claim, b"hello")
    await hands.finish(claim, log=b"hello")
    hands.runtime.step_wall_clock(100 * DAY_S)

    await prune(hands)

    assert stored(tmp_path) == []


async def test_runs_go_on_being_numbered_and_run_after_all_were_pruned(hands: Hands) -> None:
    old = await an_old_run(hands)
    await prune(hands, keep_s=0)

    new = await hands.submit(a_job("a"), a_job("b", needs=["a"]))
    await do(hands, b"1")
    await do(hands, b"2")

    assert new > old
    assert await hands.status(new) == {"run": "success", "a": "success", "b": "success"}


# -- by itself --------------------------------------------------------------------------------


async def test_old_runs_go_by_themselves_where_it_is_said_how_long_they_are_kept(
    tmp_path: Path,
) -> None:
    runtime = ManualRuntime()
    async with hands_on(tmp_path, runtime) as hands:
        old = await an_old_run(hands)
        young = await hands.submit(a_job("a"))
        await hands.do()

    async with hands_on(tmp_path, runtime, JobStoreSettings(keep_s=90 * DAY_S)) as hands:
        await until_pruned(hands, old)

        assert (await hands.status(young))["run"] == "success"


async def until_pruned(hands: Hands, run_id: RunId) -> None:
    """A job service looks within a minute of its start, and once an hour from then on."""
    await hands.runtime.advance(60)
    async with asyncio.timeout(10):
        while True:
            try:
                await hands.service.show_run(run_id)
            except UnknownRun:
                return


async def test_nothing_goes_by_itself_where_nothing_is_said(hands: Hands) -> None:
    run_id = await an_old_run(hands)

    hands.runtime.step_wall_clock(400 * DAY_S)

    assert (await hands.status(run_id))["run"] == "success"
