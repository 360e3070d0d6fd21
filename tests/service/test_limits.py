"""What becomes of a job that goes to its limits; real processes, small ones."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from shared.protocol.pipeline import Limits
from tests.support.golden import ROOT
from worker.launcher import wire
from worker.launcher.cgroups import find_groups
from worker.ports import Exit, Launch
from worker.runners.kept import KeptRunner

pytestmark = pytest.mark.slow

MIB = 1024 * 1024
CONTROLLERS = find_groups(os.getpid()).controllers
needs_groups = pytest.mark.skipif(
    not {"memory", "pids", "cpu"} <= CONTROLLERS, reason="no control groups can be made here"
)
TREES = [str(tree) for tree in Path("/sys/fs/cgroup").glob("*")] + ["/sys/fs/cgroup"]
HOG = "x = []\nwhile True: x.append(bytearray(1 << 20))"
NO_GROUPS = """
import socket, sys
from worker.launcher import keeper
from worker.launcher.cgroups import Groups
keeper.find_groups = lambda worker: Groups({}, None)
ends = [socket.socket(fileno=int(fd)) for fd in sys.argv[1:]]
keeper.Keeper(*ends, "none", 1).live()
"""


@pytest.fixture
async def runner(tmp_path: Path) -> AsyncIterator[KeptRunner]:
    runner = KeptRunner(tmp_path / "launcher")
    yield runner
    runner.close()


def groups_of(paths: set[str]) -> list[str]:
    return [f"{tree}{path}" for tree in TREES for path in paths if os.path.exists(f"{tree}{path}")]


async def ended(runner: KeptRunner, tmp_path: Path, limits: Limits, *argv: str) -> Exit:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    ask = Launch(
        argv=argv,
        env={"PATH": os.environ["PATH"]},
        cwd=scratch,
        log=tmp_path / "log",
        limits=limits,
        scratch=scratch,
    )
    async with asyncio.timeout(20):
        process = await runner.start(ask)
        found = await process.wait()
        await process.reap()
    return found


@needs_groups
async def test_a_job_that_needs_more_memory_is_ended_with_the_numbers(
    runner: KeptRunner, tmp_path: Path
) -> None:
    script = f"{sys.executable} -c '{HOG}'; exit 0"  # which alone would hide it

    found = await ended(runner, tmp_path, Limits(memory_bytes=48 * MIB), "sh", "-c", script)

    assert found.breach is not None
    assert found.breach.kind == "oom"
    assert "limit 48.0 MiB, peak 48.0 MiB, largest process python" in found.breach.message


@needs_groups
async def test_a_fork_bomb_is_bounded_and_gone(runner: KeptRunner, tmp_path: Path) -> None:
    bomb = "f() { f & f & }; f 2>/dev/null; sleep 0.3; exit 3"

    found = await ended(runner, tmp_path, Limits(pids=12), "sh", "-c", bomb)

    assert found.breach is None
    assert found.exit_code in (2, 3)
    [remark] = found.remarks
    assert remark.startswith("limit pids 12 reached: a process or thread was refused ")


@needs_groups
async def test_a_job_is_slowed_to_its_share_of_the_processors(
    runner: KeptRunner, tmp_path: Path
) -> None:
    script = "timeout 1 sh -c 'while :; do :; done'"

    found = await ended(runner, tmp_path, Limits(cpus=0.2), "sh", "-c", script)

    assert found.usage.cpu_s is not None
    assert found.usage.cpu_s < 0.5


@needs_groups
async def test_no_group_is_left(runner: KeptRunner, tmp_path: Path) -> None:
    script = "grep drawbar- /proc/self/cgroup"

    found = await ended(runner, tmp_path, Limits(memory_bytes=64 * MIB), "sh", "-c", script)

    assert found.exit_code == 0
    paths = {line.split(":")[2] for line in (tmp_path / "log").read_text().splitlines()}
    assert groups_of(paths) == []


async def test_each_process_is_held_to_files_and_niceness(
    runner: KeptRunner, tmp_path: Path
) -> None:
    limits = Limits(open_files=64, file_size_bytes=1_024, nice=7)
    script = "ulimit -n; nice; head -c 3000 /dev/zero > big"

    found = await ended(runner, tmp_path, limits, "sh", "-c", script)

    lines = (tmp_path / "log").read_text().splitlines()
    assert lines[:2] == ["64", str(min(19, os.nice(0) + 7))]
    assert found.exit_code != 0
    assert (tmp_path / "scratch" / "big").stat().st_size == 1_024


async def test_a_job_that_fills_its_folder_is_ended(runner: KeptRunner, tmp_path: Path) -> None:
    script = "while :; do head -c 1000000 /dev/zero >> f; sleep 0.02; done"

    found = await ended(runner, tmp_path, Limits(scratch_bytes=3 * MIB), "sh", "-c", script)

    assert found.breach is not None
    assert found.breach.kind == "disk"
    assert found.breach.message.startswith("too much in its folder: limit 3.0 MiB, found ")


async def test_a_folder_that_was_full_at_the_end_counts_and_a_hole_does_not(
    runner: KeptRunner, tmp_path: Path
) -> None:
    script = "truncate -s 1T hole; [ $0 = none ] || head -c 4000000 /dev/zero > f"
    limits = Limits(scratch_bytes=3 * MIB)

    sparse = await ended(runner, tmp_path, limits, "sh", "-c", script, "none")
    (tmp_path / "scratch" / "hole").unlink()
    (tmp_path / "scratch").rmdir()
    full = await ended(runner, tmp_path, limits, "sh", "-c", script, "some")

    assert sparse.breach is None
    assert full.breach is not None


async def test_limits_beyond_the_machine_are_told_first_and_harm_nothing(
    runner: KeptRunner, tmp_path: Path
) -> None:
    limits = Limits(cpus=4_000, memory_bytes=2**50, open_files=1_048_576, pids=4_000_000)

    found = await ended(runner, tmp_path, limits, "sh", "-c", "echo begun; exit 3")

    *warnings, last = (tmp_path / "log").read_text().splitlines()
    assert found.exit_code == 3
    assert sum("beyond this machine" in line for line in warnings) >= 2
    assert last == "begun"


# -- where no control group can be made ---------------------------------------------------------


class BareKeeper:
    """A keeper that can make no group, spoken to directly."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.master, theirs = wire.pair()
        self._launcher, launcher = wire.pair()
        fds = (launcher.fileno(), theirs.fileno())
        self._process = subprocess.Popen(
            [sys.executable, "-c", NO_GROUPS, *map(str, fds)], cwd=ROOT, pass_fds=fds
        )
        for end in (theirs, launcher):
            end.close()
        self.master.settimeout(20)

    def run(self, limits: str, *argv: str) -> list[str]:
        """What it says of the end."""
        with (self._folder / "log").open("wb") as log:
            words = ["start", "", str(self._folder), "", limits, "inf", str(len(argv)), *argv]
            packet = [os.fsencode(word) for word in (*words, f"PATH={os.environ['PATH']}")]
            wire.send(self.master, *packet, files=[log.fileno()] * 3)
        assert self.hear()[0] == "started"
        return self.hear()

    def hear(self) -> list[str]:
        parts, _ = wire.receive(self.master)
        return [part.decode() for part in parts]

    def close(self) -> None:
        for end in (self.master, self._launcher):
            end.close()
        assert self._process.wait(10) == 0


@pytest.fixture
def bare(tmp_path: Path) -> Iterator[BareKeeper]:
    keeper = BareKeeper(tmp_path)
    yield keeper
    keeper.close()


def test_without_groups_memory_is_looked_at(bare: BareKeeper) -> None:
    slow = "import time\nx = []\nwhile True: x.append(bytearray(1 << 20)); time.sleep(0.005)"

    said = bare.run(f"memory_bytes={48 * MIB}", sys.executable, "-c", slow)

    assert said[5] == "oom"
    assert "limit 48.0 MiB, peak " in said[6]
    assert "largest process python" in said[6]


def test_without_groups_a_burst_ends_at_a_limit_of_the_process(bare: BareKeeper) -> None:
    burst = "bytearray(1 << 29)"

    said = bare.run(f"memory_bytes={16 * MIB}", sys.executable, "-c", burst)

    assert said[1] == "1" or said[5] == "oom"


def test_without_groups_processes_are_counted(bare: BareKeeper) -> None:
    some = "for i in 1 2 3 4 5 6 7 8; do sleep 20 & done; wait"

    said = bare.run("pids=4", "sh", "-c", some)

    assert said[5] == "pids" or said[1] == "2"


def test_without_groups_a_share_of_the_processors_is_some_of_them(
    bare: BareKeeper, tmp_path: Path
) -> None:
    bare.run("cpus=0.5", "nproc")

    warning, usable = (tmp_path / "log").read_text().splitlines()
    assert warning.startswith("[drawbar] limit cpus: no control group can be made here")
    assert usable == "1"
