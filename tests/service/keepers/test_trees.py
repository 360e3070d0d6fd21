"""Jobs below keepers: nothing of them gets away."""

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from tests.support.kept import (
    A1,
    MakeLaunch,
    comm,
    is_alive,
    is_stopped,
    parent_of,
    sleepers,
    until,
)
from worker.launcher.trees import descendants
from worker.runners.kept import KeptRunner

pytestmark = pytest.mark.slow

DAEMON = """
import os, sys
if os.fork(): os._exit(0)
os.setsid()
if os.fork(): os._exit(0)
os.execve("/bin/sleep", ["sleep", sys.argv[1]], {})  # nothing of it tells whose it is
"""
BREEDER = """
import os, signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
while True:  # as a chain: each has one child, and goes
    if os.fork(): os._exit(0)
    os.setsid()
"""


async def test_a_daemon_that_hides_is_gone_with_its_job(
    runner: KeptRunner, launch: MakeLaunch
) -> None:
    seconds = f"9{os.getpid()}"
    process = await runner.start(
        launch("sh", "-c", f'{sys.executable} -c "$0" {seconds}; sleep 0.2', DAEMON)
    )
    await until(lambda: bool(sleepers(seconds)))

    ended = await process.wait()
    await process.reap()

    assert ended.exit_code == 0
    assert sleepers(seconds) == []


async def test_children_that_are_started_while_it_is_killed_are_gone(
    runner: KeptRunner, launch: MakeLaunch
) -> None:
    others = below()
    process = await runner.start(launch(sys.executable, "-c", BREEDER))
    before = time.monotonic()

    await process.reap()

    assert time.monotonic() - before < 5
    assert below() <= others


def below() -> set[int]:
    """What lives below this test process, but for launchers and keepers."""
    return {
        pid
        for pid in descendants(os.getpid())
        if is_alive(pid) and not comm(pid).startswith("drawbar-")
    }


async def test_a_job_may_close_its_output_and_remove_its_folder(
    runner: KeptRunner, launch: MakeLaunch, tmp_path: Path
) -> None:
    folder = tmp_path / "own"
    folder.mkdir()
    script = f"exec >&- 2>&-; rmdir {folder}; exit 4"
    ask = launch("sh", "-c", script)

    process = await runner.start(ask)
    ended = await process.wait()
    await process.reap()

    assert ended.exit_code == 4
    assert not folder.exists()


async def test_a_job_that_kills_its_keeper_is_lost_and_takes_nobody_along(
    runner: KeptRunner, launch: MakeLaunch
) -> None:
    seconds = f"8{os.getpid()}"
    other = await runner.start(launch("sh", "-c", "read x < /dev/tty; sleep 0.5; exit 6"))
    process = await runner.start(
        launch("sh", "-c", f"setsid sleep {seconds} & sleep 0.1; kill -9 $PPID; sleep {seconds}")
    )

    ended = await process.wait()
    await process.reap()

    assert ended.lost == "something killed its keeper"
    assert (ended.exit_code, ended.signal) == (None, None)
    assert sleepers(seconds) == []
    assert (await other.wait()).exit_code == 6
    await other.reap()
    assert (await (await runner.start(launch("true"))).wait()).exit_code == 0


async def test_a_keeper_that_is_stopped_is_ended_all_the_same(
    runner: KeptRunner, launch: MakeLaunch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.runners.kept_process.PATIENCE_S", 0.2)
    seconds = f"7{os.getpid()}"
    process = await runner.start(
        launch("sh", "-c", f"sleep 0.2; kill -STOP $PPID; exec sleep {seconds}")
    )
    await until(lambda: bool(sleepers(seconds)))

    process.kill()
    ended = await process.wait()

    assert ended.lost
    assert sleepers(seconds) == []


async def test_a_keeper_that_was_stopped_before_it_could_tell_of_a_start_is_ended(
    runner: KeptRunner, launch: MakeLaunch
) -> None:
    """The job may have done that: it does not go back at no cost, to do it again."""
    first = await runner.start(launch("sleep", "100"))
    keeper = parent_of(first.pid)
    await first.reap()
    os.kill(keeper, signal.SIGSTOP)

    process = await runner.start(launch("true"))

    assert (await process.wait()).lost
    assert not is_alive(keeper)


async def test_a_job_that_kills_its_launcher_and_stops_its_keeper_is_ended_all_the_same(
    runner: KeptRunner, launch: MakeLaunch
) -> None:
    """So is what it has in other sessions; and nobody else's keeper is taken for its own."""
    seconds = f"6{os.getpid()}"
    grandparent = "$(ps -o ppid= -p $PPID)"
    script = f"setsid sleep {seconds} & sleep 0.2; kill -9 {grandparent}; kill -STOP $PPID; wait"
    process = await runner.start(launch("sh", "-c", script, attempt_id=A1))
    keeper = parent_of(process.pid)
    await until(lambda: is_stopped(keeper))
    other = await runner.start(launch("sh", "-c", "exec sleep 100"))

    process.kill()
    ended = await process.wait()
    process.release()

    assert ended.lost == "its keeper has ended"
    assert sleepers(seconds) == []
    assert is_alive(other.pid)
    await other.reap()
