"""Processes that are found by the mark of their attempt."""

import os
import signal
import subprocess
from collections.abc import Iterator

import pytest

from worker.runners.marks import kill_marked

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


def test_processes_are_killed_by_the_mark_of_their_attempt(
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
