"""What a worker that was killed leaves behind, and what its successor does about it."""

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from worker.runners.groups import TICKS, GroupLedger, has_living_members, kill_marked

Popen = subprocess.Popen[bytes]


@pytest.fixture
def groups() -> Iterator[list[Popen]]:
    started: list[Popen] = []
    yield started
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        assert process.stdout is not None
        process.stdout.close()


def a_group(groups: list[Popen], script: str = "sleep 100 & wait", **env: str) -> Popen:
    process = subprocess.Popen(
        ["sh", "-c", script],
        start_new_session=True,
        env=dict(os.environ) | env,
        stdout=subprocess.PIPE,
    )
    groups.append(process)
    return process


def test_a_group_that_was_left_is_killed(groups: list[Popen], tmp_path: Path) -> None:
    process = a_group(groups)
    GroupLedger(tmp_path / "groups").note(process.pid)

    killed = GroupLedger(tmp_path / "groups").kill_leftovers()

    assert killed == [process.pid]
    assert process.wait(10) == -signal.SIGKILL


def test_a_group_that_was_forgotten_is_left_alone(groups: list[Popen], tmp_path: Path) -> None:
    process = a_group(groups)
    ledger = GroupLedger(tmp_path / "groups")
    ledger.forget(ledger.note(process.pid))

    assert GroupLedger(tmp_path / "groups").kill_leftovers() == []


def test_a_stranger_with_the_same_number_is_left_alone(groups: list[Popen], tmp_path: Path) -> None:
    process = a_group(groups)
    ledger = tmp_path / "groups"
    GroupLedger(ledger).note(process.pid)
    fields = ledger.read_text().split()
    ledger.write_text(f"{fields[0]} {int(fields[1]) - 10 * TICKS} {fields[2]}\n")

    assert GroupLedger(ledger).kill_leftovers() == []


def test_members_without_their_leader_are_killed_when_they_bear_our_mark(
    groups: list[Popen], tmp_path: Path
) -> None:
    process = a_group(groups, "sleep 100 & echo up; read x", DRAWBAR_ATTEMPT_ID="a1")
    assert process.stdout is not None
    process.stdout.readline()
    GroupLedger(tmp_path / "groups").note(process.pid)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert has_living_members(process.pid)

    assert GroupLedger(tmp_path / "groups").kill_leftovers() == [process.pid]


def test_a_ledger_that_is_garbage_kills_nobody(tmp_path: Path) -> None:
    (tmp_path / "groups").write_bytes(b"\xff\x00 1 2\n1 1\n-1 0 x\n" * 3)

    assert GroupLedger(tmp_path / "groups").kill_leftovers() == []


def test_processes_that_were_never_noted_are_killed_by_the_mark_of_their_attempt(
    groups: list[Popen],
) -> None:
    script = "setsid sleep 100 & echo up; wait"  # the child is in a group of its own
    mine = a_group(groups, script, DRAWBAR_ATTEMPT_ID="a1")
    other = a_group(groups, script, DRAWBAR_ATTEMPT_ID="a11")
    for process in (mine, other):
        assert process.stdout is not None
        process.stdout.readline()

    killed = kill_marked(["a1", "a2"])

    assert mine.pid in killed
    assert len(killed) == 2
    assert mine.wait(10) == -signal.SIGKILL
    assert other.poll() is None
    assert kill_marked(["a11"])  # also what this test left in a session of its own


def test_without_attempts_nothing_is_looked_for() -> None:
    assert kill_marked([]) == []
