"""What signals do to a worker."""

import asyncio
import os
import signal
import subprocess
from pathlib import Path

from shared.daemon import Signals
from shared.runtime import SystemRuntime
from tests.support.gateway import FakeGateway, Job
from tests.support.registry import FakeRegistry
from worker.app import DRAINED, STOPPED_HARD, run_until_ended
from worker.daemon import Worker
from worker.environment import usual_env
from worker.machine import prepare_machine
from worker.runners.marks import has_living_members
from worker.settings import WorkerSettings


async def test_one_signal_drains_and_real_jobs_are_reported(tmp_path: Path) -> None:
    runtime, gateway, registry = SystemRuntime(), FakeGateway(), FakeRegistry()
    attempt = gateway.add(Job(argv=("sh", "-c", "echo $DRAWBAR_JOB_ID; pwd; sleep 0.3; echo end")))
    runner, workspace = prepare_machine(tmp_path, None, runtime)
    settings = WorkerSettings(name="w", slots=2, base_env=usual_env(os.environ))
    worker = Worker(settings, gateway, registry, runner, workspace, runtime)
    signals = Signals()
    await worker.start()

    async with asyncio.TaskGroup() as group:
        ended = group.create_task(run_until_ended(worker, signals, drain_s=None))
        async with asyncio.timeout(10):
            while not attempt.log:  # noqa: ASYNC110 - the fake tells nobody of it
                await asyncio.sleep(0.005)
        assert not attempt.settled.is_set()
        signals.receive()

    assert ended.result() == DRAINED
    assert attempt.log.splitlines()[0] == attempt.attempt_id.encode()
    assert attempt.log.endswith(b"end\n")
    assert registry.has_left
    assert all(entry.suffix == ".spare" for entry in (tmp_path / "attempts").iterdir())
    runner.close()


async def test_a_second_signal_kills_what_runs(tmp_path: Path) -> None:
    runtime, gateway, registry = SystemRuntime(), FakeGateway(), FakeRegistry()
    attempt = gateway.add(Job(argv=("sh", "-c", "trap '' TERM; echo $$; sleep 100")))
    runner, workspace = prepare_machine(tmp_path, None, runtime)
    settings = WorkerSettings(name="w", slots=2, base_env=usual_env(os.environ))
    worker = Worker(settings, gateway, registry, runner, workspace, runtime)
    signals = Signals()
    await worker.start()

    async with asyncio.TaskGroup() as group:
        ended = group.create_task(run_until_ended(worker, signals, drain_s=None))
        async with asyncio.timeout(10):
            while not attempt.log:  # noqa: ASYNC110 - the fake tells nobody of it
                await asyncio.sleep(0.005)
        signals.receive()
        signals.receive()

    assert ended.result() == STOPPED_HARD
    assert not has_living_members(int(attempt.log))
    assert not registry.has_left
    runner.close()


def test_a_daemons_jobs_inherit_no_secret() -> None:
    env = usual_env({"PATH": "/bin", "LC_ALL": "C", "DRAWBAR_TOKEN": "s", "AWS_SECRET": "s"})

    assert env == {"PATH": "/bin", "LC_ALL": "C"}


def test_a_successor_ends_what_was_started_but_never_noted(tmp_path: Path) -> None:
    """As when a worker is killed between the start of a process and its note."""
    (tmp_path / "attempts").mkdir()
    (tmp_path / "attempts" / "attempt-1.log").touch()
    left = subprocess.Popen(["sleep", "100"], env={"DRAWBAR_ATTEMPT_ID": "attempt-1"})

    async def prepare() -> None:
        runner, _ = prepare_machine(tmp_path, None, SystemRuntime())
        runner.close()

    asyncio.run(prepare())

    assert left.wait(10) == -signal.SIGKILL
    assert list((tmp_path / "attempts").iterdir()) == []
