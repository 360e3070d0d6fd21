"""Pruning beside other work: late reports, retries, and files that cannot be removed."""

import asyncio
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from jobstore.artifacts import Artifacts
from jobstore.store.decided import Origin
from shared.errors import UnknownAttempt, UnknownRun
from shared.files import DiskFiles
from shared.protocol import gateway as g
from shared.protocol.history import PruneReply
from shared.protocol.jobs import RetryRequest
from shared.protocol.pipeline import PipelineSpec
from tests.support.jobstore import Hands, a_job
from tests.support.pruning import (
    DAY_S,
    an_entry,
    an_old_run,
    body,
    do,
    output_of,
    prune,
    rows,
    stored,
    upload,
)
from tests.support.runtime import ManualRuntime


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
