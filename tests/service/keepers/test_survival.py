"""Jobs below keepers: they outlive their worker, and no longer than they may."""

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from shared.ids import AttemptId
from tests.support.kept import A1, MakeLaunch, is_alive, parent_of, sleepers, until
from worker.launcher.trees import descendants
from worker.ports import LeaseOver, WorkerAtFault
from worker.runners.kept import KeptRunner

pytestmark = pytest.mark.slow


async def test_what_a_lost_launcher_kept_is_ended_before_its_attempt_is_told_lost(
    runner: KeptRunner, heir: KeptRunner, launch: MakeLaunch
) -> None:
    seconds = f"5{os.getpid()}"
    process = await runner.start(launch("sleep", seconds, attempt_id=A1))
    os.kill(parent_of(parent_of(process.pid)), signal.SIGKILL)
    runner.close()

    assert await heir.attach(A1) is None
    await until(lambda: sleepers(seconds) == [])


async def test_what_starts_after_a_launcher_was_lost_is_found_by_the_next_worker(
    runner: KeptRunner, heir: KeptRunner, launch: MakeLaunch
) -> None:
    """A keeper that has no job then is of no more use: its own launcher cannot introduce it."""
    first = await runner.start(launch("sleep", "100"))
    keeper = parent_of(first.pid)
    await first.reap()
    os.kill(parent_of(keeper), signal.SIGKILL)
    await until(lambda: runner._launcher.link is None or not runner._launcher.link.is_open)

    process = await runner.start(launch("sleep", "100", attempt_id=A1))
    runner.close()
    found = await heir.attach(A1)

    assert found is not None
    assert found.pid == process.pid
    await until(lambda: not is_alive(keeper))


async def test_an_ending_that_was_damaged_keeps_no_worker_from_starting(
    heir: KeptRunner, launch: MakeLaunch, tmp_path: Path
) -> None:
    (tmp_path / "launcher").mkdir()
    (tmp_path / "launcher" / "a1.ended").touch()
    (tmp_path / "launcher" / "folder.ended").mkdir()

    assert await heir.attach(A1) is None
    assert (await (await heir.start(launch("true"))).wait()).exit_code == 0


async def test_a_job_outlives_its_worker_and_tells_the_next_how_it_ended(
    runner: KeptRunner, heir: KeptRunner, launch: MakeLaunch, tmp_path: Path
) -> None:
    script = "while [ ! -e go ]; do sleep 0.01; done; exit 5"
    started = await runner.start(launch("sh", "-c", script, attempt_id=A1))
    runner.close()

    found = await heir.attach(A1)
    (tmp_path / "go").touch()

    assert found is not None
    assert found.pid == started.pid
    assert (await found.wait()).exit_code == 5
    found.release()
    assert await heir.attach(A1) is None


async def test_what_ended_while_no_worker_was_there_is_known(
    runner: KeptRunner, heir: KeptRunner, launch: MakeLaunch, tmp_path: Path
) -> None:
    script = "while [ ! -e go ]; do sleep 0.01; done; exit 5"
    started = await runner.start(launch("sh", "-c", script, attempt_id=A1))
    runner.close()
    (tmp_path / "go").touch()
    await until(lambda: not is_alive(started.pid) and (tmp_path / "launcher/a1.ended").exists())

    found = await heir.attach(A1)

    assert found is not None
    assert found.pid == started.pid
    ended = await found.wait()
    assert ended.exit_code == 5
    assert ended.usage.wall_s > 0
    found.release()
    assert not (tmp_path / "launcher/a1.ended").exists()


async def test_what_was_let_go_of_is_not_told_of_to_the_next_worker(
    runner: KeptRunner, heir: KeptRunner, launch: MakeLaunch, tmp_path: Path
) -> None:
    process = await runner.start(launch("true", attempt_id=A1))
    process.kill()  # a word that the keeper has yet to hear, before the next
    await process.reap()
    process.release()
    runner.close()

    assert await heir.attach(A1) is None
    assert not (tmp_path / "launcher/a1.ended").exists()


async def test_the_next_worker_finds_the_latest_process_of_an_attempt(
    runner: KeptRunner, heir: KeptRunner, launch: MakeLaunch
) -> None:
    other = await runner.start(launch("true", attempt_id=AttemptId("a2")))
    first = await runner.start(launch("true", attempt_id=A1))
    for process in (first, other):  # so that the keeper of `other` is the next to be used
        await process.reap()
        process.release()

    latest = await runner.start(launch("sleep", "100", attempt_id=A1))
    found = await heir.attach(A1)

    assert found is not None
    assert found.pid == latest.pid
    await found.reap()


async def test_a_launcher_ends_after_the_last_job_when_its_worker_is_gone(
    runner: KeptRunner, launch: MakeLaunch, tmp_path: Path
) -> None:
    before = set(descendants(os.getpid()))
    script = "while [ ! -e go ]; do sleep 0.01; done"
    await runner.start(launch("sh", "-c", script, attempt_id=A1))
    ours = set(descendants(os.getpid())) - before
    runner.close()
    assert any(is_alive(pid) for pid in ours)

    (tmp_path / "go").touch()

    await until(lambda: not any(is_alive(pid) for pid in ours))


async def test_a_launcher_that_was_never_needed_ends_with_its_worker(runner: KeptRunner) -> None:
    before = set(descendants(os.getpid()))
    runner.begin()
    [launcher] = set(descendants(os.getpid())) - before

    runner.close()

    await until(lambda: not os.path.exists(f"/proc/{launcher}"))  # not even as a zombie


async def test_no_job_is_blamed_for_a_launcher_that_does_not_come_up(
    runner: KeptRunner, launch: MakeLaunch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")

    with pytest.raises(WorkerAtFault, match=r"the launcher (has ended|cannot be reached)"):
        await runner.start(launch("true"))


async def test_a_job_that_may_not_outlive_its_worker_is_killed(
    runner: KeptRunner, launch: MakeLaunch
) -> None:
    process = await runner.start(launch("sleep", "100"))

    runner.close()

    await until(lambda: not is_alive(process.pid))


async def test_what_the_next_worker_does_not_want_is_ended_before_it_starts_anything(
    runner: KeptRunner, heir: KeptRunner, launch: MakeLaunch
) -> None:
    other = AttemptId("a2")
    process = await runner.start(launch("sleep", "100", attempt_id=other))
    runner.close()

    await (await heir.start(launch("true"))).reap()

    assert not is_alive(process.pid)
    assert await heir.attach(other) is None


async def test_a_job_is_killed_when_it_may_not_run_any_longer_also_without_a_worker(
    runner: KeptRunner, heir: KeptRunner, launch: MakeLaunch
) -> None:
    await (await runner.start(launch("true"))).reap()  # the launcher is up: starts are quick
    soon = time.monotonic() + 1.0
    await runner.start(launch("sleep", "100", attempt_id=A1, until=soon))
    runner.close()

    found = await heir.attach(A1)

    assert found is not None
    ended = await found.wait()
    assert ended.signal == signal.SIGKILL
    assert ended.breach is not None
    assert ended.breach.kind == "lease"


async def test_a_job_is_not_even_started_when_it_may_not_run_any_more(
    runner: KeptRunner, launch: MakeLaunch, tmp_path: Path
) -> None:
    with pytest.raises(LeaseOver):
        await runner.start(launch("touch", "begun", attempt_id=A1, until=time.monotonic()))

    await (await runner.start(launch("true"))).reap()  # by the same keeper
    assert not (tmp_path / "begun").exists()


async def test_a_job_may_run_longer_when_that_is_said_in_time(
    runner: KeptRunner, launch: MakeLaunch
) -> None:
    await (await runner.start(launch("true"))).reap()
    now = time.monotonic()
    process = await runner.start(launch("sleep", "1.3", attempt_id=A1, until=now + 1.0))

    runner.permit({A1: now + 100})

    assert (await process.wait()).exit_code == 0
    process.release()
