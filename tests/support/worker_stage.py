"""A whole worker between a fake gateway and a fake registry, on a clock that a test moves."""

from collections.abc import Callable

from tests.support.gateway import FakeGateway, Held, Job
from tests.support.processes import MemoryWorkspace, ScriptedProcess, ScriptedRunner
from tests.support.registry import FakeRegistry
from tests.support.runtime import ManualRuntime
from worker.daemon import Worker
from worker.settings import RegistryPolicy, WorkerSettings


class WorkerStage:
    """A worker and everything around it."""

    def __init__(self) -> None:
        self.runtime = ManualRuntime()
        self.gateway = FakeGateway()
        self.registry = FakeRegistry()
        self.runner = ScriptedRunner()
        self.workspace = MemoryWorkspace()
        self.workers: list[Worker] = []

    async def worker(
        self, *, slots: int = 1, policy: RegistryPolicy = "strict", announce_s: float = 0.05
    ) -> Worker:
        settings = WorkerSettings(
            name="w",
            slots=slots,
            registry_policy=policy,
            announce_s=announce_s,
            base_env={"BASE": "1", "BOTH": "base"},
            host="here",
        )
        worker = Worker(
            settings, self.gateway, self.registry, self.runner, self.workspace, self.runtime
        )
        self.workers.append(worker)
        await worker.start()
        return worker

    async def running(self, job: Job) -> tuple[Held, ScriptedProcess]:
        """The job runs on a new worker."""
        attempt = self.gateway.add(job)
        await self.worker()
        (process,) = await self.runner.until_started(1)
        return attempt, process

    async def settled(self, attempt: Held) -> None:
        """Nothing more is to come of the attempt; the clock is moved as far as it takes."""
        await self.until(attempt.settled.is_set)

    async def until(self, done: Callable[[], bool], step_s: float = 0.5) -> None:
        for _ in range(400):
            if done():
                return
            await self.runtime.advance(step_s)
        raise AssertionError("it never happened")
