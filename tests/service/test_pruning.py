"""Runs that are forgotten: what was theirs goes and nothing else, whatever happens meanwhile."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import closing, contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from jobstore.artifacts import Artifacts
from jobstore.settings import JobStoreSettings
from jobstore.store.decided import Origin
from shared.errors import ServiceError, UnknownAttempt, UnknownRun
from shared.faultpoints import Facts, injector
from shared.files import DiskFiles
from shared.ids import JobId, RunId
from shared.protocol import gateway as g
from shared.protocol.history import PruneReply, PruneRequest
from shared.protocol.jobs import Resume, RetryRequest, SubmitRequest
from shared.protocol.pipeline import PipelineSpec
from tests.support.jobstore import ANN, Hands, a_job, hands_on
from tests.support.runtime import ManualRuntime

DAY_S = 86_400.0
LONG = b"a line of a log\n" * 10_000  # too long to travel inside the finish
TABLES = (
    *("run", "stage", "job", "edge", "attempt", "artifact", "event"),
    *("pruned_run", "pruned_log", "pruned_blob"),
)


async def body(data: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(data), 65_536):
        yield data[start : start + 65_536]


def an_entry(path: str, data: bytes) -> g.ArtifactEntry:
    return g.ArtifactEntry(path=path, size_bytes=len(data), sha256=sha256(data).hexdigest())


async def upload(hands: Hands, claim: g.Claim, data: bytes, path: str = "out") -> g.ArtifactEntry:
    entry = an_entry(path, data)
    ask = g.ArtifactUpload(
        attempt_id=claim.attempt_id, worker_id=ANN, fence=claim.fence, entry=entry
    )
    await hands.service.put_artifact(ask, body(data))
    return entry


async def stream_log(hands: Hands, claim: g.Claim, data: bytes) -> None:
    ask = g.LogChunk(
        attempt_id=claim.attempt_id,
        worker_id=ANN,
        fence=claim.fence,
        offset=0,
        size_bytes=len(data),
    )
    await hands.service.append_log(ask, body(data))


async def do(hands: Hands, output: bytes, *, exit_code: int = 0, log: bytes = LONG) -> None:
    """The next job runs, writes a long log and leaves `output`."""
    claim = await hands.start()
    await stream_log(hands, claim, log)
    entry = await upload(hands, claim, output)
    reply = await hands.finish(claim, exit_code, log=log, tail_offset=len(log), artifacts=(entry,))
    assert isinstance(reply, g.Receipt)


async def an_old_run(hands: Hands, output: bytes = b"old", **pipeline: Any) -> RunId:
    """It ended a hundred days ago."""
    run_id = await hands.submit(a_job("a"), **pipeline)
    await do(hands, output)
    hands.runtime.step_wall_clock(100 * DAY_S)
    return run_id


async def prune(
    hands: Hands, keep_s: float = 90 * DAY_S, *, name: str | None = None, is_dry: bool = False
) -> PruneReply:
    return await hands.service.prune(PruneRequest(keep_s=keep_s, name=name, is_dry=is_dry))


async def log_of(hands: Hands, run_id: RunId, job_id: str = "a") -> bytes:
    pieces = hands.service.read_log(run_id, JobId(job_id), attempt=None, offset=0, follow=False)
    return b"".join([piece async for piece in pieces])


async def output_of(hands: Hands, run_id: RunId, job_id: str = "a") -> bytes:
    pieces = hands.service.read_artifact(run_id, JobId(job_id), "out")
    return b"".join([piece async for piece in pieces])


def rows(folder: Path) -> dict[str, int]:
    """How many each table has, of those that have any."""
    with closing(sqlite3.connect(folder / "jobs.db")) as conn:
        counts = {t: conn.execute(f"SELECT count(*) FROM {t}").fetchone()[0] for t in TABLES}
    return {table: count for table, count in counts.items() if count}


def stored(folder: Path) -> list[str]:
    """Every file of a log or an artifact; a log with its times beside it is one."""
    root = folder / "files"
    found = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
    return sorted(p for p in found if p.removesuffix(".times") not in found - {p})


# -- what goes, and what stays ----------------------------------------------------------------


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


# -- meanwhile --------------------------------------------------------------------------------


async def test_a_report_for_a_pruned_attempt_is_told_that_there_is_none(hands: Hands) -> None:
    await hands.submit(a_job("a"))
    claim = await hands.start()
    await hands.finish(claim)
    hands.runtime.step_wall_clock(100 * DAY_S)
    await prune(hands)

    with pytest.raises(UnknownAttempt):
        await hands.finish(claim, 1)


async def test_bytes_that_were_uploaded_and_not_yet_reported_are_asked_for_again(
    hands: Hands,
) -> None:
    await an_old_run(hands, b"same")
    run_id = await hands.submit(a_job("a"))
    claim = await hands.start()
    entry = await upload(hands, claim, b"same")
    await prune(hands, keep_s=DAY_S)

    first = await hands.finish(claim, artifacts=(entry,))
    await upload(hands, claim, b"same")
    second = await hands.finish(claim, artifacts=(entry,))

    assert first == g.Incomplete(resend_log_from=None, missing_artifacts=("out",))
    assert isinstance(second, g.Receipt)
    assert await output_of(hands, run_id) == b"same"


async def test_reports_that_arrive_while_runs_are_pruned_lose_nothing(hands: Hands) -> None:
    """Each of many jobs leaves the bytes that are being pruned at that moment."""
    for n in range(12):
        await an_old_run(hands, b"%d" % n)
    run_id = await hands.submit(*(a_job(f"j{n}") for n in range(12)))
    claims = [(await hands.claim())[0] for _ in range(12)]
    for claim in claims:
        await hands.run(claim)

    async def report(n: int, claim: g.Claim) -> None:
        while True:
            entry = await upload(hands, claim, b"%d" % n)
            if isinstance(await hands.finish(claim, artifacts=(entry,)), g.Receipt):
                return

    async with asyncio.TaskGroup() as group:
        group.create_task(prune(hands, keep_s=DAY_S))
        for n, claim in enumerate(claims):
            group.create_task(report(n, claim))

    for n, claim in enumerate(claims):
        assert await output_of(hands, run_id, claim.job_id) == b"%d" % n


async def test_a_run_that_is_pruned_while_it_is_retried_hands_nothing_on(
    hands: Hands, tmp_path: Path
) -> None:
    old = await hands.submit(a_job("a"), a_job("b"))
    await do(hands, b"good")
    await do(hands, b"bad", exit_code=1)
    hands.runtime.step_wall_clock(100 * DAY_S)
    again = RetryRequest(idempotency_key="again", run_id=old, failed_only=True)

    pruned, retried = await asyncio.gather(
        prune(hands), hands.service.retry(again), return_exceptions=True
    )

    assert isinstance(pruned, PruneReply)
    if isinstance(retried, UnknownRun):  # the prune came first
        assert (rows(tmp_path), stored(tmp_path)) == ({}, [])
    else:
        assert not isinstance(retried, BaseException)
        assert await output_of(hands, retried.run_id) == b"good"


async def test_a_retry_of_what_has_just_been_pruned_is_refused(hands: Hands) -> None:
    old = await an_old_run(hands)
    await prune(hands)
    origin = Origin(retry_of=old)

    with pytest.raises(UnknownRun):
        await hands.service._store.submit(
            PipelineSpec(name="test", jobs=(a_job("a"),)), key="again", origin=origin
        )


async def test_a_blob_that_somebody_is_about_to_use_is_not_discarded(tmp_path: Path) -> None:
    runtime = ManualRuntime()
    artifacts = Artifacts(DiskFiles(tmp_path, runtime), runtime, max_bytes=100)
    entry = an_entry("out", b"data")
    await artifacts.put(entry, body(b"data"))

    async def unused(_: str) -> bool:
        return False

    with artifacts.keep([entry.sha256]):
        while_kept = await artifacts.discard(entry.sha256, unused)
    afterwards = await artifacts.discard(entry.sha256, unused)

    assert (while_kept, afterwards, await artifacts.has(entry.sha256)) == (False, True, False)


async def test_who_looks_for_a_blob_that_is_being_discarded_hears_that_it_is_gone(
    tmp_path: Path,
) -> None:
    runtime = ManualRuntime()
    artifacts = Artifacts(DiskFiles(tmp_path, runtime), runtime, max_bytes=100)
    entry = an_entry("out", b"data")
    await artifacts.put(entry, body(b"data"))
    asked, answer = asyncio.Event(), asyncio.Event()

    async def unused_after_a_while(_: str) -> bool:
        asked.set()
        await answer.wait()
        return False

    async with asyncio.TaskGroup() as group:
        group.create_task(artifacts.discard(entry.sha256, unused_after_a_while))
        await asked.wait()
        missing = group.create_task(artifacts.missing([entry]))
        again = group.create_task(artifacts.put(entry, body(b"data")))
        await asyncio.sleep(0)
        answer.set()

    assert missing.result() in ((), ("out",))  # before or after it was put again
    assert again.done()
    assert await artifacts.has(entry.sha256)


# -- files that do not go ---------------------------------------------------------------------


def put_a_folder_in_place_of(path: Path) -> None:
    """What nobody can unlink, whoever they are."""
    path.unlink()
    path.mkdir()


async def test_a_file_that_cannot_be_removed_holds_up_no_other_and_goes_in_a_later_round(
    hands: Hands, tmp_path: Path
) -> None:
    await an_old_run(hands, b"one")
    stuck = [tmp_path / "files" / name for name in stored(tmp_path)]
    await an_old_run(hands, b"two")
    for path in stuck:
        put_a_folder_in_place_of(path)

    with capture_logs() as logs:
        gone = await prune(hands)
        await hands.service._history.keep_once()
        await hands.service._history.keep_once()

    told = [entry for entry in logs if entry["event"] == "history.file_stays"]
    assert gone.runs == 2
    assert (rows(tmp_path), stored(tmp_path)) == ({"pruned_log": 1, "pruned_blob": 1}, [])
    assert sorted(entry["path"] for entry in told) == sorted(
        str(path.relative_to(tmp_path / "files")) for path in stuck
    )
    assert {entry["error"] for entry in told} == {"Is a directory"}

    for path in stuck:
        path.rmdir()
        path.touch()
    await hands.service._history.keep_once()

    assert (rows(tmp_path), stored(tmp_path)) == ({}, [])


async def test_bytes_that_could_not_be_removed_serve_a_later_run(
    hands: Hands, tmp_path: Path
) -> None:
    await an_old_run(hands, b"same")
    (blob,) = (tmp_path / "files" / "blobs").glob("*/*")
    put_a_folder_in_place_of(blob)
    await prune(hands)
    blob.rmdir()
    blob.write_bytes(b"same")

    later = await hands.submit(a_job("a"))
    await do(hands, b"same")
    await hands.service._history.keep_once()

    assert await output_of(hands, later) == b"same"
    assert "pruned_blob" not in rows(tmp_path)


# -- crashes ----------------------------------------------------------------------------------


class Crash(BaseException):
    """The process ends here."""


class CrashingFiles(DiskFiles):
    """The process ends when it removes its `nth` file, before or after it is gone."""

    def __init__(self, root: Path, runtime: ManualRuntime, nth: int, *, is_removed: bool) -> None:
        super().__init__(root, runtime)
        self._left = nth
        self._is_removed = is_removed

    async def remove(self, path: str) -> None:
        self._left -= 1
        if self._left == 0 and not self._is_removed:
            raise Crash
        await super().remove(path)
        if self._left == 0:
            raise Crash


@contextmanager
def failing_at_commit(nth: int, moment: str) -> Iterator[list[int]]:
    """The job service's store fails at its `nth` commit from when the list is not empty."""
    armed: list[int] = []

    async def fail(name: str, _: Facts) -> None:
        if armed and name == f"jobstore.store.{moment}_commit":
            armed[0] += 1
            if armed[0] == nth:
                raise Crash

    token = injector.set(fail)
    try:
        yield armed
    finally:
        injector.reset(token)


async def two_old_runs_and_one_that_inherits(hands: Hands) -> RunId:
    old = await hands.submit(a_job("a"), a_job("b"), stages=[])
    await do(hands, b"carried")
    await do(hands, b"broken", exit_code=1)
    await an_old_run(hands, b"alone")
    retried = RetryRequest(idempotency_key="again", run_id=old, failed_only=True)
    later = (await hands.service.retry(retried)).run_id
    await do(hands, b"mended")
    return later


async def check_after_crash(folder: Path, runtime: ManualRuntime, later: RunId) -> None:
    """The next start finds the rest, and what stays is whole."""
    async with hands_on(folder, runtime) as hands:
        await prune(hands)
        left = await hands.service.list_artifacts(later, None)
        assert [item.artifact.size_bytes for item in left.artifacts] == [7, 6]
        assert await output_of(hands, later) == b"carried"
        assert await output_of(hands, later, "b") == b"mended"
        assert await log_of(hands, later) == LONG
        assert await log_of(hands, later, "b") == LONG
    assert len(stored(folder)) == 4
    found = rows(folder)
    assert found.pop("event") > 0
    assert found == {"run": 1, "job": 2, "attempt": 2, "artifact": 2}


@pytest.mark.parametrize("is_removed", [False, True])
@pytest.mark.parametrize("nth", range(1, 5))
async def test_a_crash_while_files_are_removed_is_made_good(
    tmp_path: Path, nth: int, is_removed: bool
) -> None:
    runtime = ManualRuntime()
    async with hands_on(tmp_path, runtime) as hands:
        later = await two_old_runs_and_one_that_inherits(hands)
        crashing = CrashingFiles(tmp_path / "files", runtime, nth, is_removed=is_removed)
        hands.service._history._files = crashing
        hands.service._artifacts._files = crashing
        with pytest.raises(Crash):
            await prune(hands)

    await check_after_crash(tmp_path, runtime, later)


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("nth", range(1, 7))
async def test_a_crash_at_any_commit_is_made_good(tmp_path: Path, nth: int, moment: str) -> None:
    runtime = ManualRuntime()
    with failing_at_commit(nth, moment) as armed:
        async with hands_on(tmp_path, runtime) as hands:
            later = await two_old_runs_and_one_that_inherits(hands)
            armed.append(0)
            with pytest.raises(ServiceError):
                await prune(hands)
            armed.clear()

    await check_after_crash(tmp_path, runtime, later)


async def test_what_uploads_left_behind_is_gone_at_the_next_start(tmp_path: Path) -> None:
    leftover = tmp_path / "files" / "incoming" / "019b0000-half"
    leftover.parent.mkdir(parents=True)
    leftover.write_bytes(b"half of an artif")

    async with hands_on(tmp_path):
        assert not leftover.exists()


# -- by itself --------------------------------------------------------------------------------


async def until_pruned(hands: Hands, run_id: RunId) -> None:
    async with asyncio.timeout(10):
        while True:
            await hands.runtime.advance(60)
            try:
                await hands.service.show_run(run_id)
            except UnknownRun:
                return


async def test_old_runs_go_by_themselves_where_it_is_said_how_long_they_are_kept(
    tmp_path: Path,
) -> None:
    runtime = ManualRuntime()
    async with hands_on(tmp_path, runtime, JobStoreSettings(keep_s=90 * DAY_S)) as hands:
        run_id = await an_old_run(hands)
        young = await hands.submit(a_job("a"))
        await hands.do()

        await until_pruned(hands, run_id)

        assert (await hands.status(young))["run"] == "success"


async def test_nothing_goes_by_itself_where_nothing_is_said(hands: Hands) -> None:
    run_id = await an_old_run(hands)

    hands.runtime.step_wall_clock(400 * DAY_S)

    assert (await hands.status(run_id))["run"] == "success"
