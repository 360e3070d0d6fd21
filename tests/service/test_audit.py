"""An audit: a store on which everything happened is good, and whatever is changed in it shows."""

import asyncio
import shutil
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from hashlib import sha256
from pathlib import Path

import pytest

from jobstore.audit.audit import audit_all, audit_run
from jobstore.audit.finding import Audit
from jobstore.store.chain import FIRST, EventRow, link
from shared.errors import Misconfigured, StaleFence, UnknownRun
from shared.ids import RunId
from shared.protocol import gateway as g
from shared.protocol.history import PruneRequest
from tests.support.jobstore import ANN, BEN, Hands, a_job, hands_on, retry_at_once
from tests.support.runtime import ManualRuntime

DAY_S = 86_400.0
LONG = b"a line of a log\n" * 10_000  # too long to travel inside the finish
BUILT, HARD, MENDED, CANCELLED = (RunId(n) for n in range(1, 5))


async def body(data: bytes) -> AsyncIterator[bytes]:
    yield data


async def do(hands: Hands, output: bytes) -> None:
    """The next job runs, writes a long log and leaves `output`."""
    claim = await hands.start()
    of = {"attempt_id": claim.attempt_id, "worker_id": ANN, "fence": claim.fence}
    await hands.service.append_log(
        g.LogChunk.model_validate({**of, "offset": 0, "size_bytes": len(LONG)}), body(LONG)
    )
    entry = g.ArtifactEntry(path="out", size_bytes=len(output), sha256=sha256(output).hexdigest())
    await hands.service.put_artifact(
        g.ArtifactUpload.model_validate({**of, "entry": entry}), body(output)
    )
    reply = await hands.finish(claim, log=LONG, tail_offset=len(LONG), artifacts=(entry,))
    assert isinstance(reply, g.Receipt)


async def passes(hands: Hands, seconds: float, kind: str, *, times: int = 1) -> None:
    """The time has passed, and what had to happen then has happened."""
    await hands.runtime.advance(seconds)
    happening = asyncio.ensure_future(hands.until(HARD, kind, times=times))
    while not happening.done():  # the keeper may have been at work when the clock moved
        await hands.runtime.advance(0.2)
    await happening


async def go_through_everything(hands: Hands) -> None:
    """HARD is refused, lapses, is lost and reported late, drained, fails and is tried again."""
    await hands.submit(a_job("a"), a_job("b", needs=["a"]))
    await do(hands, b"output")
    await do(hands, b"other output")
    await hands.submit(a_job("a", retry=retry_at_once(5)))
    await hands.refuse((await hands.claim())[0])
    await hands.claim(BEN)
    await passes(hands, 16, "job.lapsed")
    lost = await hands.start(BEN)
    await passes(hands, 31, "attempt.lost")
    with pytest.raises(StaleFence):
        await hands.finish(lost, worker=BEN)
    await hands.finish(await hands.start(), None, outcome=g.Outcome.DRAINED)
    await hands.do(1)
    await passes(hands, 21, "job.queued", times=2)
    await hands.do(0)
    await hands.submit(a_job("a"), a_job("b", needs=["a"]))
    await hands.do(3)
    await hands.mark(MENDED, "a")
    await hands.submit(a_job("a"), a_job("b"), skip=("b",))
    await hands.claim()
    await hands.cancel(CANCELLED)
    await hands.submit(a_job("a"))
    held = await hands.start()
    with pytest.raises(StaleFence):
        await hands.finish(held.model_copy(update={"fence": held.fence + 1}))


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store on which everything has happened, closed."""
    folder = tmp_path_factory.mktemp("audited")

    async def build() -> None:
        async with hands_on(folder / "jobstore") as hands:
            await go_through_everything(hands)

    asyncio.run(build())
    return folder


@pytest.fixture
def store(built: Path, tmp_path: Path) -> Path:
    """A copy, to be tampered with."""
    return Path(shutil.copytree(built, tmp_path / "copy"))


def tamper(store: Path, *statements: str) -> Audit:
    """What an audit finds after these were executed on the database."""
    with closing(sqlite3.connect(store / "jobstore" / "jobs.db")) as conn:
        for statement in statements:
            assert conn.execute(statement).rowcount != 0, statement
        conn.commit()
    return audit_all(store)


def said(audit: Audit) -> str:
    """All that was found, a line each: run, event, what."""
    of_store = [(None, finding) for finding in audit.findings]
    of_runs = [(run.run_id, finding) for run in audit.runs for finding in run.findings]
    return "\n".join(
        f"run {run_id}, event {finding.event}: {finding.what}"
        for run_id, finding in (*of_store, *of_runs)
    )


def file_of(store: Path, pattern: str) -> Path:
    return next(path for path in (store / "jobstore" / "files").glob(pattern) if path.is_file())


def test_a_store_on_which_everything_happened_is_good(store: Path) -> None:
    audit = audit_all(store)

    assert said(audit) == ""
    assert [run.status for run in audit.runs] == [
        "success",
        "success",
        "failed",  # what waited for the marked job was skipped, and stays so
        "cancelled",
        "running",
    ]
    assert [run.receipts for run in audit.runs] == [2, 3, 1, 0, 0]
    assert audit.runs[0].files == 4


def test_an_audit_leaves_the_folder_as_it_is(store: Path) -> None:
    before = sorted((path, path.stat().st_mtime_ns) for path in store.rglob("*"))

    audit_all(store)

    assert sorted((path, path.stat().st_mtime_ns) for path in store.rglob("*")) == before


def test_one_run_is_audited_alone(store: Path) -> None:
    tamper(store, f"UPDATE job SET tries = 9 WHERE run_id = {HARD}")

    assert audit_run(store, BUILT).is_good
    assert not audit_run(store, HARD).is_good


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        ("UPDATE event SET facts = '{}' WHERE kind = 'job.lapsed'", "is not what was written"),
        ("UPDATE event SET at = at + 1 WHERE kind = 'job.refused'", "is not what was written"),
        ("UPDATE event SET digest = NULL WHERE kind = 'job.lapsed'", "has no digest"),
        ("DELETE FROM event WHERE kind = 'job.refused'", "what came before it is gone"),
        ("DELETE FROM event WHERE run_id = 5 AND kind = 'job.running'", "is missing, and went"),
        (
            "DELETE FROM event WHERE seq > (SELECT max(seq) - 3 FROM event)",
            "are missing, and went with no pruned run",
        ),
        ("DELETE FROM event WHERE run_id = 1 AND kind = 'run.success'", "events end with running"),
        ("UPDATE run SET status = 'success' WHERE id = 5", "its events end with running"),
        ("UPDATE run SET name = 'other' WHERE id = 1", "'test' was submitted"),
        ("DELETE FROM run WHERE id = 2", "P1: the run is gone, its events are there"),
        ("DELETE FROM job WHERE run_id = 1 AND id = 'b'", "P1: 2 jobs were submitted, 1 are"),
        (
            "UPDATE job SET spec = replace(spec, 'true', 'curl evil') WHERE run_id = 1",
            "what the jobs do is not what was submitted",
        ),
        ("UPDATE job SET status = 'success' WHERE run_id = 5", "its status is success, by its"),
        ("UPDATE job SET exit_code = 1 WHERE run_id = 1", "its exit code is 1, by its events it"),
        ("UPDATE job SET fence = fence + 1 WHERE run_id = 2", "its fence is 7, by its events it"),
        ("UPDATE job SET tries = tries + 1 WHERE run_id = 2", "P5: its tries is 4, by its events"),
        ("UPDATE attempt SET fence = fence + 100", "the fence of attempt"),
        ("UPDATE attempt SET worker_id = 'eve' WHERE status = 'refused'", "the worker of attempt"),
        (
            "UPDATE attempt SET status = 'reported', receipt_id = 'forged' WHERE status = 'lost'",
            "is forged, by its events it is none: it never reported",
        ),
        ("UPDATE attempt SET receipt_id = 'forged' WHERE receipt_id NOT NULL", "P2: the receipt"),
        ("UPDATE attempt SET exit_code = 0 WHERE exit_code = 3", "are not what was reported"),
        ("UPDATE attempt SET log_inline = x'61' WHERE log_inline NOT NULL", "is not the one that"),
        ("UPDATE artifact SET path = 'elsewhere'", "artifacts of attempt"),
        ("DELETE FROM artifact", "artifacts of attempt"),
        ("DELETE FROM attempt WHERE status = 'lapsed'", "is gone, its events are there"),
    ],
)
def test_whatever_is_changed_in_the_database_is_found(
    store: Path, statement: str, found: str
) -> None:
    audit = tamper(store, statement)

    assert not audit.is_good
    assert found in said(audit)


def test_two_swapped_events_are_found(store: Path) -> None:
    one, other = 3, 4  # both of the first run

    audit = tamper(
        store,
        f"UPDATE event SET seq = -1 WHERE seq = {one}",
        f"UPDATE event SET seq = {one} WHERE seq = {other}",
        f"UPDATE event SET seq = {other} WHERE seq = -1",
    )

    assert "run 1, event 3: " in said(audit)


def test_a_run_that_is_taken_out_whole_is_missed(store: Path) -> None:
    audit = tamper(
        store,
        *(f"DELETE FROM {table} WHERE run_id = {HARD}" for table in ("event", "job")),
        f"DELETE FROM run WHERE id = {HARD}",
    )

    assert "P1: run 2 is missing, and was never pruned" in said(audit)


def test_a_write_that_was_accepted_with_a_stale_fence_is_found(store: Path) -> None:
    """The chain is whole: the service itself did this."""
    with closing(sqlite3.connect(store / "jobstore" / "jobs.db")) as conn:
        conn.execute(
            "UPDATE event SET facts = replace(facts, '\"fence\": 6', '\"fence\": 5')"
            " WHERE run_id = 2 AND kind = 'job.success'"
        )
        before = FIRST
        for row in conn.execute(
            "SELECT seq, at, kind, run_id, job_id, attempt_id, facts FROM event"
            " WHERE run_id = 2 ORDER BY seq"
        ).fetchall():
            before = link(before, EventRow(*row))
            conn.execute("UPDATE event SET digest = ? WHERE seq = ?", (before, row[0]))
        conn.commit()

    audit = audit_all(store)

    assert "P2: a write with fence 5 was accepted, the job's is 6" in said(audit)


def test_a_changed_blob_is_found(store: Path) -> None:
    blob = file_of(store, "blobs/*/*")
    blob.write_bytes(blob.read_bytes().replace(b"o", b"0"))

    assert "holds other bytes than were reported" in said(audit_all(store))


def test_a_missing_blob_is_found(store: Path) -> None:
    file_of(store, "blobs/*/*").unlink()

    assert "is missing" in said(audit_all(store))


def test_a_log_that_was_cut_is_found(store: Path) -> None:
    log = next(p for p in store.glob("jobstore/files/logs/*/*") if p.suffix != ".times")
    log.write_bytes(log.read_bytes()[:-1])

    assert "has 159999 bytes, 160000 were reported" in said(audit_all(store))


async def test_what_was_pruned_is_not_missed(tmp_path: Path) -> None:
    runtime = ManualRuntime()
    async with hands_on(tmp_path / "jobstore", runtime) as hands:
        await hands.submit(a_job("a"))
        await hands.do()
        runtime.step_wall_clock(100 * DAY_S)
        await hands.submit(a_job("a"))
        await hands.do()
        before = audit_all(tmp_path).head
        await hands.service.prune(PruneRequest(keep_s=DAY_S))

        audit = audit_all(tmp_path, before)

    assert said(audit) == ""
    assert ([run.run_id for run in audit.runs], audit.pruned) == ([2], 1)
    with pytest.raises(UnknownRun, match="was pruned"):
        audit_run(tmp_path, 1)


async def test_a_store_is_audited_while_the_service_writes_it(tmp_path: Path) -> None:
    async with hands_on(tmp_path / "jobstore") as hands:
        await go_through_everything(hands)

        audit = audit_all(tmp_path)

    assert said(audit) == ""


async def test_a_store_that_went_on_is_what_it_was_expected_to_be(tmp_path: Path) -> None:
    async with hands_on(tmp_path / "jobstore") as hands:
        await hands.submit(a_job("a"))
        before = audit_all(tmp_path).head
        await hands.do()

        assert audit_all(tmp_path, before).is_good


async def test_an_older_copy_put_in_the_store_s_place_is_found(tmp_path: Path) -> None:
    async with hands_on(tmp_path / "jobstore") as hands:
        await hands.submit(a_job("a"))
    shutil.copytree(tmp_path, tmp_path.with_name("older"))
    async with hands_on(tmp_path / "jobstore") as hands:
        await hands.do()
    head = audit_all(tmp_path).head

    audit = audit_all(tmp_path.with_name("older"), head)

    assert "it was rolled back" in said(audit)


async def test_another_history_of_the_same_length_is_found(tmp_path: Path) -> None:
    heads = []
    for name in ("one", "other"):
        async with hands_on(tmp_path / name) as hands:
            await hands.submit(a_job("a"), name=name)
            heads.append(audit_all(tmp_path / name).head)

    audit = audit_all(tmp_path / "other", heads[0])

    assert "it is not what it was when event" in said(audit)


def test_what_is_older_than_the_chains_is_taken_as_it_is(store: Path) -> None:
    audit = tamper(
        store,
        "UPDATE chain_start SET event_seq = (SELECT max(seq) FROM event), run_id = 5",
        "UPDATE event SET digest = NULL, facts = json_remove(facts, '$.receipt_id')",
        "DELETE FROM event WHERE run_id = 1",
    )

    assert said(audit) == ""
    assert audit.runs[1].unchained == audit.runs[1].events


def test_a_folder_without_a_store_is_no_good_store(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match=r"has no jobstore/jobs\.db"):
        audit_all(tmp_path)


def test_a_database_that_is_none_is_said_to_be_unreadable(tmp_path: Path) -> None:
    (tmp_path / "jobs.db").write_bytes(b"no database" * 1_000)

    with pytest.raises(Misconfigured, match="cannot be read"):
        audit_all(tmp_path)
