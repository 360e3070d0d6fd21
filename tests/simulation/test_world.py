"""Unmodified aiohttp, aiosqlite and tenacity are deterministic inside the simulated world."""

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from simulation.files import SimDisk
from tests.simulation.small_world import CALLS, run


def digest_in_a_fresh_interpreter(seed: int, hash_seed: str) -> str:
    command = [sys.executable, "-m", "tests.simulation.small_world", str(seed)]
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    return subprocess.run(
        command, env=environment, check=True, capture_output=True, text=True, timeout=50
    ).stdout


@pytest.mark.slow
def test_two_interpreters_live_through_the_same_seed_step_by_step() -> None:
    digests = [digest_in_a_fresh_interpreter(5, hash_seed) for hash_seed in ("1", "2")]

    assert digests[0] == digests[1]
    assert digests[0] != digest_in_a_fresh_interpreter(6, "1")


def test_the_same_seed_twice_in_one_interpreter_is_the_same_run(tmp_path: Path) -> None:
    (tmp_path / "1").mkdir()
    (tmp_path / "2").mkdir()

    assert run(7, tmp_path / "1").digest == run(7, tmp_path / "2").digest


@pytest.mark.parametrize("cut_power", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_what_a_killed_server_acknowledged_is_in_its_database(
    tmp_path: Path, seed: int, cut_power: bool
) -> None:
    outcome = run(seed, tmp_path, cut_power=cut_power)

    assert len(outcome.acknowledged) == 4 * CALLS
    assert set(outcome.acknowledged) <= set(outcome.stored)


def test_the_real_clock_and_chance_are_back_afterwards(tmp_path: Path) -> None:
    originals = (time.time, time.monotonic, os.urandom, random.getstate())

    run(1, tmp_path)

    assert (time.time, time.monotonic, os.urandom, random.getstate()) == originals


def test_a_loss_of_power_takes_what_was_not_synced_and_nothing_else() -> None:
    disk = SimDisk(random.Random(1))
    disk.append("half", 0, b"synced")
    disk.sync("half")
    disk.append("half", 6, b" and not")
    disk.append("never", 0, b"never synced")
    disk.append("temporary", 0, b"published")
    disk.publish("temporary", "whole")

    disk.lose_power()

    assert disk.seen("half").startswith(b"synced")
    assert b"synced and not".startswith(disk.seen("half"))
    assert not disk.exists("never")
    assert disk.seen("whole") == b"published"
    assert disk.lost_bytes >= len(b"never synced")
