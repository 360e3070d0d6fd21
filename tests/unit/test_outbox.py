"""The outbox on disk: what it holds after its worker, or the machine, has died at any moment."""

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from shared.ids import AttemptId, JobId, RunId, WorkerId
from shared.protocol.gateway import Claim, Outcome, Result
from shared.runtime import SystemRuntime
from worker.outbox import journal
from worker.outbox.disk import DiskOutbox
from worker.outbox.interface import CannotKeep
from worker.outbox.journal import HEAD, Found, Journal
from worker.outbox.record import Record

ENDED = Result(outcome=Outcome.EXITED, exit_code=3)


def a_record(name: str = "attempt-1", since: float = 1.0) -> Record:
    claim = Claim(
        attempt_id=AttemptId(name), fence=7, run_id=RunId(1), job_id=JobId("job"), start_ttl_s=15
    )
    return Record(claim=claim, worker_id=WorkerId("w"), since=since)


@pytest.fixture
def reopen(tmp_path: Path) -> Callable[[], DiskOutbox]:
    """The outbox as the next worker finds it. Nothing tells the one before that it ended."""

    def make() -> DiskOutbox:
        return DiskOutbox(tmp_path, SystemRuntime(), most=2, most_bytes=1_000)

    return make


@pytest.fixture
def rebooted(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From here on the machine has been off and on again."""

    def reboot() -> None:
        monkeypatch.setattr(journal, "boot_id", lambda: "another")

    return reboot


Reopen = Callable[[], DiskOutbox]


def test_what_was_noted_of_an_attempt_is_found_by_the_next_worker(reopen: Reopen) -> None:
    outbox = reopen()
    outbox.begin(a_record())
    outbox.note(AttemptId("attempt-1"), phase="executing", pid=42)
    outbox.note(AttemptId("attempt-1"), result=ENDED)

    (left,) = reopen().left()

    assert (left.phase, left.pid, left.result) == ("executing", 42, ENDED)
    assert (left.claim.fence, left.worker_id) == (7, "w")


async def test_what_was_settled_is_not_found_again(reopen: Reopen) -> None:
    outbox = reopen()
    for name in ("attempt-1", "attempt-2"):
        outbox.begin(a_record(name))

    await outbox.settle(AttemptId("attempt-1"))

    assert [record.attempt_id for record in reopen().left()] == ["attempt-2"]


def test_a_journal_is_read_up_to_where_its_writer_died(tmp_path: Path) -> None:
    """The file is cut at every byte: what was whole before the cut is there, and nothing else."""
    path = tmp_path / "journal"
    written = Journal(path, size=2_000)
    written.open({})
    ends = []
    for n in range(3):
        written.note(f"a{n}", {"n": n})
        ends.append(written._end)
    whole = path.read_bytes()

    for cut in range(HEAD, ends[-1] + 1):
        path.write_bytes(whole[:cut] + b"\0" * 50)
        found = Found(path).live
        assert len(found) == sum(end <= cut for end in ends)


def test_a_full_journal_begins_anew_with_what_still_counts(tmp_path: Path) -> None:
    written = Journal(tmp_path / "journal", size=4_096)
    written.open({})
    written.note("kept", {"n": 0})

    for n in range(1_000):
        written.note(f"a{n}", {"padding": "x" * 100})
        written.note("kept", {"n": n})
        written.settle(f"a{n}")

    assert Found(tmp_path / "journal").live == {"kept": {"n": 999}}
    assert (tmp_path / "journal").stat().st_size == 4_096


async def test_a_parked_result_outlives_the_machine(
    reopen: Reopen, rebooted: Callable[[], None]
) -> None:
    outbox = reopen()
    outbox.begin(a_record())
    outbox.note(AttemptId("attempt-1"), result=ENDED)
    assert await outbox.park(AttemptId("attempt-1"))

    rebooted()
    (left,) = reopen().left()

    assert left.result == ENDED


def test_a_note_after_those_that_failed_brings_them_along(tmp_path: Path) -> None:
    failing: set[str] = set()

    def disk(step: str) -> None:
        if step in failing:
            raise OSError(28, "No space left on device")

    outbox = DiskOutbox(tmp_path, SystemRuntime(), most=2, disk=disk)
    outbox.begin(a_record())
    failing.add("note")
    is_noted = outbox.note(AttemptId("attempt-1"), is_task=True)
    failing.clear()

    assert not is_noted
    assert outbox.note(AttemptId("attempt-1"), phase="executing")
    outbox.close()
    (left,) = DiskOutbox(tmp_path, SystemRuntime(), most=2).left()
    assert (left.is_task, left.phase) == (True, "executing")


def test_an_end_that_was_not_parked_is_not_believed_after_a_loss_of_power(
    reopen: Reopen, rebooted: Callable[[], None]
) -> None:
    """Its log was not synced either, and may be short."""
    outbox = reopen()
    outbox.begin(a_record())
    outbox.note(AttemptId("attempt-1"), pid=42, phase="executing", result=ENDED)

    rebooted()
    (left,) = reopen().left()

    assert (left.pid, left.result) == (42, None)


def test_after_a_loss_of_power_no_attempt_passes_for_one_that_had_not_begun(
    reopen: Reopen, rebooted: Callable[[], None]
) -> None:
    """What was noted of its start may not have reached the disk."""
    reopen().begin(a_record())

    (same_boot,) = reopen().left()
    rebooted()
    (left,) = reopen().left()

    assert (same_boot.has_not_begun, left.has_not_begun) == (True, False)


async def test_nothing_stays_of_what_was_parked_and_then_receipted(
    reopen: Reopen, tmp_path: Path
) -> None:
    outbox = reopen()
    outbox.begin(a_record())
    await outbox.park(AttemptId("attempt-1"))

    await outbox.settle(AttemptId("attempt-1"))

    assert list((tmp_path / "parked").iterdir()) == []
    assert reopen().left() == []


def test_a_half_written_result_is_not_replayed(reopen: Reopen, tmp_path: Path) -> None:
    reopen()
    (tmp_path / "parked" / "attempt-1.part").write_text('{"claim"')

    assert reopen().left() == []
    assert list((tmp_path / "parked").iterdir()) == []


def test_a_record_of_another_version_does_not_keep_the_worker_from_starting(
    reopen: Reopen, tmp_path: Path
) -> None:
    outbox = reopen()
    outbox.begin(a_record())
    (tmp_path / "parked" / "attempt-2.json").write_text(json.dumps({"claim": "of the future"}))

    assert [record.attempt_id for record in reopen().left()] == ["attempt-1"]


def test_what_is_damaged_in_the_outbox_is_passed_over(reopen: Reopen, tmp_path: Path) -> None:
    outbox = reopen()
    outbox.begin(a_record())
    outbox.close()
    (tmp_path / "parked" / "attempt-2.json").write_text("cut sh")
    (tmp_path / "parked" / "attempt-3.json").write_text("3")
    (tmp_path / "parked" / "attempt-4.json").mkdir()
    (tmp_path / "parked" / "folder").mkdir()
    with (tmp_path / "journal").open("r+b") as file:
        file.write(f"{journal.boot_id()} when?".encode().ljust(journal.HEAD - 1))

    assert [record.attempt_id for record in reopen().left()] == ["attempt-1"]


async def test_an_outbox_with_more_results_than_it_may_hold_says_so_until_one_leaves(
    reopen: Reopen,
) -> None:
    outbox = reopen()
    for n in range(3):
        outbox.begin(a_record(f"attempt-{n}"))
        outbox.hold(AttemptId(f"attempt-{n}"), 10)

    full = outbox.trouble
    await outbox.settle(AttemptId("attempt-0"))

    assert full == "the outbox is full: 3 results, 30 bytes, wait for their receipt"
    assert outbox.trouble is None


def test_an_outbox_with_too_many_bytes_says_so(reopen: Reopen) -> None:
    outbox = reopen()

    outbox.hold(AttemptId("attempt-1"), 1_001)

    assert "1001 bytes" in (outbox.trouble or "")


def test_a_disk_that_fails_keeps_new_attempts_away_and_running_ones_going(
    reopen: Reopen, monkeypatch: pytest.MonkeyPatch
) -> None:
    outbox = reopen()
    outbox.begin(a_record())

    def fail(*_: object) -> int:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as broken:
        broken.setattr(os, "pwrite", fail)
        outbox.note(AttemptId("attempt-1"), pid=42)
        with pytest.raises(CannotKeep, match="Input/output error"):
            outbox.begin(a_record("attempt-2"))
        outbox.probe()
        trouble = outbox.trouble
    outbox.probe()

    assert trouble == "the outbox cannot be written: Input/output error"
    assert outbox.trouble is None
    (left,) = reopen().left()
    assert (left.attempt_id, left.pid) == ("attempt-1", 42)
