"""Logs, artifacts and events: what a job leaves behind, and who may follow it."""

import asyncio
import hashlib
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from shared.errors import (
    BadPipeline,
    BadRequest,
    LogOffsetMismatch,
    StaleFence,
    StoreUnusable,
    UnknownArtifact,
    UnknownJob,
    UnknownRun,
)
from shared.ids import JobId, RunId
from shared.protocol import gateway as g
from shared.protocol.jobs import RunFilter
from tests.support.jobstore import ANN, BEN, Hands, a_job, hands_on

BIG = bytes(range(256)) * 1_000


async def body(data: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(data), 65_536):
        yield data[start : start + 65_536]


async def collect(pieces: AsyncIterator[bytes]) -> bytes:
    return b"".join([piece async for piece in pieces])


def log_of(
    hands: Hands, run_id: RunId, job_id: str, *, follow: bool = False
) -> AsyncIterator[bytes]:
    return hands.service.read_log(run_id, JobId(job_id), attempt=None, offset=0, follow=follow)


async def send(hands: Hands, claim: g.Claim, data: bytes, offset: int = 0) -> g.LogReply:
    chunk = g.LogChunk(
        attempt_id=claim.attempt_id,
        worker_id=ANN,
        fence=claim.fence,
        offset=offset,
        size_bytes=len(data),
    )
    return await hands.service.append_log(chunk, body(data))


def an_entry(path: str, data: bytes) -> g.ArtifactEntry:
    return g.ArtifactEntry(path=path, size_bytes=len(data), sha256=hashlib.sha256(data).hexdigest())


async def put(hands: Hands, claim: g.Claim, entry: g.ArtifactEntry, data: bytes) -> None:
    upload = g.ArtifactUpload(
        attempt_id=claim.attempt_id, worker_id=ANN, fence=claim.fence, entry=entry
    )
    await hands.service.put_artifact(upload, body(data))


# -- logs -------------------------------------------------------------------------------------


async def test_a_small_log_travels_inside_the_finish(hands: Hands) -> None:
    run_id = await hands.submit(a_job("a"))

    await hands.finish(await hands.start(), log=b"hello\n")

    assert await collect(log_of(hands, run_id, "a")) == b"hello\n"


async def test_a_streamed_log_is_whole_after_the_finish(hands: Hands) -> None:
    run_id = await hands.submit(a_job("a"))
    claim = await hands.start()

    await send(hands, claim, BIG)
    reply = await hands.finish(claim, log=BIG + b"end", tail_offset=len(BIG))

    assert isinstance(reply, g.Receipt)
    assert await collect(log_of(hands, run_id, "a")) == BIG + b"end"


async def test_a_log_goes_on_only_where_the_server_is(hands: Hands) -> None:
    await hands.submit(a_job("a"))
    claim = await hands.start()
    await send(hands, claim, b"12345")

    for offset in (0, 3, 9):
        with pytest.raises(LogOffsetMismatch) as caught:
            await send(hands, claim, b"x", offset)
        assert caught.value.facts == {"resume_at": 5}


async def test_a_finish_without_its_log_asks_for_the_rest(hands: Hands) -> None:
    await hands.submit(a_job("a"))
    claim = await hands.start()
    await send(hands, claim, BIG[:1_000])

    reply = await hands.finish(claim, log=BIG, tail_offset=len(BIG))

    assert reply == g.Incomplete(resend_log_from=1_000, missing_artifacts=())


async def test_a_log_that_differs_from_its_hash_is_sent_again_from_the_start(hands: Hands) -> None:
    run_id = await hands.submit(a_job("a"))
    claim = await hands.start()
    await send(hands, claim, b"y" * len(BIG))

    first = await hands.finish(claim, log=BIG, tail_offset=len(BIG))
    await send(hands, claim, BIG)
    second = await hands.finish(claim, log=BIG, tail_offset=len(BIG))

    assert first == g.Incomplete(resend_log_from=0, missing_artifacts=())
    assert isinstance(second, g.Receipt)
    assert await collect(log_of(hands, run_id, "a")) == BIG


async def test_a_streamed_log_is_continued_after_a_restart(tmp_path: Path) -> None:
    async with hands_on(tmp_path) as before:
        run_id = await before.submit(a_job("a"))
        claim = await before.start()
        await send(before, claim, BIG)

    async with hands_on(tmp_path) as after:
        await send(after, claim, b"more", len(BIG))
        reply = await after.finish(claim, log=BIG + b"more", tail_offset=len(BIG) + 4)
        assert isinstance(reply, g.Receipt)
        assert await collect(log_of(after, run_id, "a")) == BIG + b"more"


async def test_the_log_of_a_lost_attempt_grows_no_more(hands: Hands) -> None:
    run_id = await hands.submit(a_job("a", on_lost="fail"))
    claim = await hands.start()
    await send(hands, claim, b"one\n")
    while_it_runs = len(hands.service._logs)

    await hands.runtime.advance(31)
    await hands.until(run_id, "attempt.lost")

    assert (while_it_runs, len(hands.service._logs)) == (1, 0)


async def test_nobody_else_can_write_the_log(hands: Hands) -> None:
    await hands.submit(a_job("a"))
    claim = await hands.start(BEN)

    with pytest.raises(StaleFence):
        await send(hands, claim, b"x")


async def test_a_finish_of_somebody_else_leaves_the_log_alone(hands: Hands) -> None:
    run_id = await hands.submit(a_job("a"))
    claim = await hands.start()
    await send(hands, claim, BIG)

    with pytest.raises(StaleFence):
        await hands.finish(claim, worker=BEN, log=b"x", tail_offset=1)

    assert await collect(log_of(hands, run_id, "a")) == BIG


async def test_a_small_log_that_differs_from_its_hash_is_asked_for_again(hands: Hands) -> None:
    await hands.submit(a_job("a"))
    claim = await hands.start()
    read_before = hashlib.sha256(b"the job has written over this").hexdigest()

    reply = await hands.service.finish(
        g.FinishRequest(
            attempt_id=claim.attempt_id,
            worker_id=ANN,
            fence=claim.fence,
            result=g.Result(outcome=g.Outcome.EXITED, exit_code=0),
            log=g.LogSummary(
                size_bytes=3, sha256=read_before, tail_offset=0, tail=b"now", lost_bytes=0
            ),
            artifacts=(),
            usage=g.Usage(wall_s=1, cpu_s=None, max_rss_bytes=None),
        )
    )

    assert reply == g.Incomplete(resend_log_from=0, missing_artifacts=())


async def test_a_follower_sees_the_log_grow_and_end(hands: Hands) -> None:
    run_id = await hands.submit(a_job("a"))
    seen: list[bytes] = []
    grew = asyncio.Event()

    async def follow() -> None:
        async for piece in log_of(hands, run_id, "a", follow=True):
            seen.append(piece)
            grew.set()

    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        group.create_task(follow())
        claim = await hands.start()
        await send(hands, claim, b"one ")
        await grew.wait()
        assert b"".join(seen) == b"one "
        await hands.finish(claim, log=b"one two", tail_offset=4)

    assert b"".join(seen) == b"one two"


async def test_a_follower_of_a_retried_job_reads_every_try(hands: Hands) -> None:
    run_id = await hands.submit(a_job("a", retry={"max": 1, "delay_s": 1, "jitter": 0}))

    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        reading = group.create_task(collect(log_of(hands, run_id, "a", follow=True)))
        await hands.finish(await hands.start(), 1, log=b"first ")
        await hands.runtime.advance(1.2)
        await hands.until(run_id, "job.queued", times=2)
        await hands.finish(await hands.start(), 0, log=b"second")

    assert reading.result() in (b"first second", b"second")  # it may have come late


async def test_a_log_of_nothing_is_empty_and_of_nobody_is_an_error(hands: Hands) -> None:
    run_id = await hands.submit(a_job("a"))

    assert await collect(log_of(hands, run_id, "a")) == b""
    with pytest.raises(UnknownJob):
        await collect(log_of(hands, run_id, "nope"))
    with pytest.raises(UnknownRun):
        await collect(log_of(hands, RunId(99), "a"))


# -- artifacts --------------------------------------------------------------------------------


async def test_a_finish_asks_for_artifacts_whose_bytes_are_not_known(hands: Hands) -> None:
    run_id = await hands.submit(a_job("a"))
    claim = await hands.start()
    entry = an_entry("dist/app.bin", BIG)

    first = await hands.finish(claim, artifacts=(entry,))
    await put(hands, claim, entry, BIG)
    second = await hands.finish(claim, artifacts=(entry,))

    assert first == g.Incomplete(resend_log_from=None, missing_artifacts=("dist/app.bin",))
    assert isinstance(second, g.Receipt)
    read = hands.service.read_artifact(run_id, JobId("a"), "dist/app.bin")
    assert await collect(read) == BIG


async def test_bytes_that_are_known_are_not_sent_again(hands: Hands) -> None:
    await hands.submit(a_job("a"), a_job("b"))
    first, second = await hands.start(), await hands.start()
    await put(hands, first, an_entry("x", BIG), BIG)

    reply = await hands.finish(second, artifacts=(an_entry("other/name", BIG),))

    assert isinstance(reply, g.Receipt)


async def test_an_upload_that_is_not_what_it_says_leaves_nothing(hands: Hands) -> None:
    await hands.submit(a_job("a"))
    claim = await hands.start()
    entry = an_entry("x", BIG)

    for wrong in (BIG[:-1], BIG + b"!", BIG[::-1]):
        with pytest.raises(BadRequest):
            await put(hands, claim, entry, wrong)

    reply = await hands.finish(claim, artifacts=(entry,))
    assert isinstance(reply, g.Incomplete)


async def test_inputs_are_the_artifacts_of_dependencies_and_of_nobody_else(hands: Hands) -> None:
    await hands.submit(a_job("a"), a_job("other"), a_job("b", needs=["a"]))
    first = await hands.start()
    entry = an_entry("x", BIG)
    await put(hands, first, entry, BIG)
    await hands.finish(first, artifacts=(entry,))
    await hands.do()
    claim = await hands.start()
    who = {"attempt_id": claim.attempt_id, "worker_id": ANN, "fence": claim.fence}

    listed = await hands.service.list_inputs(g.InputListRequest(**who, job_id="a"))
    read = hands.service.read_input(g.InputRequest(**who, job_id="a", path="x"))

    assert listed.artifacts == (entry,)
    assert await collect(read) == BIG
    with pytest.raises(UnknownJob):
        await hands.service.list_inputs(g.InputListRequest(**who, job_id="other"))
    with pytest.raises(UnknownArtifact):
        await collect(hands.service.read_input(g.InputRequest(**who, job_id="a", path="y")))


# -- events, and a store that cannot be used --------------------------------------------------


async def test_events_tell_a_jobs_whole_way_in_order(hands: Hands) -> None:
    run_id = await hands.submit(a_job("a"))
    await hands.do()

    events = (await hands.service.list_events(run_id, after=0, limit=100)).events

    assert [event.kind for event in events] == [
        "run.submitted",
        "job.queued",
        "job.claimed",
        "job.running",
        "run.running",
        "job.success",
        "run.success",
    ]
    assert [event.seq for event in events] == sorted(event.seq for event in events)


async def test_a_bad_pipeline_is_refused_whole(hands: Hands) -> None:
    with pytest.raises(BadPipeline) as caught:
        await hands.submit(
            a_job("a", needs=["b"]), a_job("b", needs=["a"]), a_job("c", needs=["x"])
        )

    assert len(caught.value.facts["mistakes"]) == 2
    assert (await hands.service.list_runs(RunFilter(limit=9))).runs == ()


async def test_a_newer_database_is_left_alone(tmp_path: Path) -> None:
    async with hands_on(tmp_path):
        pass
    with sqlite3.connect(tmp_path / "jobs.db") as conn:
        conn.execute("PRAGMA user_version = 99")
    conn.close()

    with pytest.raises(StoreUnusable, match="schema version 99"):
        async with hands_on(tmp_path):
            pass


async def test_a_damaged_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "jobs.db").write_bytes(b"not a database, but long enough to be looked at" * 100)

    with pytest.raises(StoreUnusable, match="not a database"):
        async with hands_on(tmp_path):
            pass


async def test_a_log_is_whole_also_when_no_more_of_it_may_be_held(
    hands: Hands, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobstore.logs.HELD_BYTES", 0)
    run_id = await hands.submit(a_job("a"))
    claim = await hands.start()

    await send(hands, claim, BIG)

    assert await collect(log_of(hands, run_id, "a")) == BIG
