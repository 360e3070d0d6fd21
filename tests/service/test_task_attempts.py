"""Tasks as a whole worker runs and reports them, in real processes and real time."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from shared.protocol import execution as e
from shared.protocol.gateway import Outcome, TaskContext
from tests.support.gateway import FakeGateway, Held, Job
from tests.support.registry import FakeRegistry
from tests.support.tasks import TaskStage
from worker.daemon import Worker
from worker.settings import WorkerSettings
from worker.workspace import DiskWorkspace

pytestmark = pytest.mark.slow

SLEEP = "import time; print('up', flush=True); time.sleep(60)"


class WorkerStage:
    """A worker with a task runner, between a fake gateway and a fake registry."""

    def __init__(self, folder: Path) -> None:
        self.tasks = TaskStage(folder)
        self.gateway = FakeGateway()
        self.gateway.prefix = "task-attempt-"
        workspace = DiskWorkspace(folder / "attempts", None, self.tasks.runtime)
        workspace.clear()
        self.worker = Worker(
            WorkerSettings(name="w", slots=2, grace_s=1.0, base_env={"PATH": "/usr/bin:/bin"}),
            self.gateway,
            FakeRegistry(),
            self.tasks.runner,
            workspace,
            self.tasks.runtime,
        )

    def task(self, body: str) -> TaskContext:
        text = f"@task\ndef go():\n    {body}\nwith pipeline('p'): go()\n"
        return TaskContext(spec=self.tasks.spec_of(text))

    def add(self, body: str, **facts: float) -> Held:
        return self.gateway.add(Job(task=self.task(body), **facts))  # type: ignore[arg-type]

    async def settled(self, attempt: Held) -> None:
        async with asyncio.timeout(20):
            await attempt.settled.wait()

    async def running(self, attempt: Held) -> None:
        """Its function has been called: the first of its log has arrived."""
        async with asyncio.timeout(20):
            while not attempt.log:  # noqa: ASYNC110 - nothing tells of it
                await asyncio.sleep(0.01)


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[WorkerStage]:
    stage = WorkerStage(tmp_path)
    await stage.worker.start()
    yield stage
    await stage.worker.stop()
    await stage.tasks.close()


async def test_a_success_is_reported_with_what_was_published(stage: WorkerStage) -> None:
    attempt = stage.add("print('hello'); artifacts.save('out/[1].txt', 'text'); return 1")

    await stage.settled(attempt)

    assert (attempt.result.outcome, attempt.result.exit_code) == (Outcome.EXITED, 0)
    assert attempt.result.task == e.Succeed()
    assert attempt.log == b"hello\n"
    assert attempt.artifacts == {"out/[1].txt": b"text"}


async def test_an_artifact_that_is_not_there_spoils_the_success(stage: WorkerStage) -> None:
    attempt = stage.add("artifacts.publish('nothing.txt')")

    await stage.settled(attempt)

    assert attempt.result.outcome is Outcome.ARTIFACT_ERROR


async def test_a_failure_is_reported_with_its_reason(stage: WorkerStage) -> None:
    attempt = stage.add("raise ValueError('no rows')")

    await stage.settled(attempt)

    assert (attempt.result.outcome, attempt.result.exit_code) == (Outcome.TASK_ENDED, 1)
    assert attempt.result.message == "ValueError: no rows"
    assert b"ValueError: no rows\n" in attempt.log


async def test_a_task_is_stopped_when_its_time_is_over(stage: WorkerStage) -> None:
    attempt = stage.add(SLEEP, timeout_s=0.5)

    await stage.settled(attempt)

    assert attempt.result.outcome is Outcome.TIMEOUT
    assert attempt.result.message == "timed out after 0.5 s"


async def test_a_task_is_stopped_when_it_is_cancelled(stage: WorkerStage) -> None:
    attempt = stage.add(SLEEP, heartbeat_s=0.05)
    await stage.running(attempt)

    attempt.is_cancelled = True
    await stage.settled(attempt)

    assert attempt.result.outcome is Outcome.CANCELLED


async def test_a_task_is_stopped_when_heartbeats_have_failed_for_too_long(
    stage: WorkerStage,
) -> None:
    attempt = stage.add(SLEEP, lease_s=1.0, heartbeat_s=0.1)
    await stage.running(attempt)

    stage.gateway.away.add("heartbeat")
    await stage.settled(attempt)

    assert attempt.result.outcome is Outcome.LOST
    assert attempt.result.message == "the lease could not be renewed in time"


async def test_a_task_is_stopped_when_another_worker_has_the_job(stage: WorkerStage) -> None:
    attempt = stage.add(SLEEP, heartbeat_s=0.05)
    await stage.running(attempt)

    attempt.lose()
    await stage.settled(attempt)

    (evidence,) = attempt.evidence
    assert evidence.result.message == "it is lost"


async def test_a_task_and_a_command_run_side_by_side(stage: WorkerStage) -> None:
    task = stage.add("return 1")
    command = stage.gateway.add(Job(argv=("sh", "-c", "echo hi")))

    await stage.settled(task)
    await stage.settled(command)

    assert command.log == b"hi\n"
    assert task.result.exit_code == command.result.exit_code == 0
