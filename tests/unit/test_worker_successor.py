"""What a worker does with an attempt that an earlier one had begun, when it meets trouble there."""

from collections.abc import Sequence
from pathlib import PurePath

import pytest

from shared.ids import ClaimId, JobId, RunId, WorkerId
from shared.protocol.gateway import Claim, ClaimRequest, Outcome, RunRequest
from tests.support.gateway import FakeGateway, Held, Job
from tests.support.processes import MemoryWorkspace, ScriptedProcess, ScriptedRunner
from tests.support.registry import FakeRegistry
from tests.support.runtime import ManualRuntime
from worker.daemon import Worker
from worker.outbox.memory import MemoryOutbox
from worker.outbox.record import Record
from worker.ports import CannotStart, Launch
from worker.settings import WorkerSettings

WORKER = WorkerId("w-w")


class Left(MemoryOutbox):
    """What an earlier worker has noted."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.is_broken = False
        self.settled = 0

    def left(self) -> Sequence[Record]:
        return self.records

    async def settle(self, attempt_id: str) -> None:
        self.settled += 1
        if self.is_broken:
            self.is_broken = False
            raise RuntimeError("nobody thought of this")


class Stage:
    """A job that runs, and whose worker has died."""

    def __init__(self) -> None:
        self.runtime = ManualRuntime()
        self.gateway = FakeGateway()
        self.runner = ScriptedRunner()
        self.workspace = MemoryWorkspace()
        self.outbox = Left()

    async def orphan(self, job: Job) -> tuple[Held, ScriptedProcess]:
        held = self.gateway.add(job)
        name, fence = held.attempt_id, held.fence
        await self.gateway.claim(
            ClaimRequest(claim_id=ClaimId("c"), worker_id=WORKER, labels={}, free_slots=1, wait_s=0)
        )
        context = await self.gateway.run(
            RunRequest(attempt_id=name, worker_id=WORKER, fence=fence, host="h", pid=1)
        )
        files = await self.workspace.open(name, None)
        process = await self.runner.start(
            Launch(argv=context.argv, env={}, cwd=files.cwd, log=PurePath("log"), attempt_id=name)
        )
        claim = Claim(
            attempt_id=name, fence=fence, run_id=RunId(1), job_id=JobId("job"), start_ttl_s=15
        )
        self.outbox.records.append(
            Record(
                claim=claim,
                worker_id=WORKER,
                since=self.runtime.mono(),
                context=context,
                phase="executing",
                pid=process.pid,
            )
        )
        return held, process

    async def successor(self) -> Worker:
        worker = Worker(
            WorkerSettings(name="w", slots=1, host="here"),
            self.gateway,
            FakeRegistry(),
            self.runner,
            self.workspace,
            self.runtime,
            self.outbox,
        )
        await worker.start()
        return worker

    async def until_idle(self, worker: Worker) -> None:
        for _ in range(100):
            await self.runtime.advance(0.5)
            if worker.busy == 0:
                return
        raise AssertionError("it never came to rest")


@pytest.fixture
async def stage() -> Stage:
    return Stage()


async def test_it_goes_on_with_what_runs(stage: Stage) -> None:
    held, process = await stage.orphan(Job())
    worker = await stage.successor()
    await stage.runtime.advance(1)

    process.end(3)
    await stage.until_idle(worker)

    assert (held.result.exit_code, process.signals) == (3, [])
    await worker.stop()


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (CannotStart("another folder"), Outcome.SPAWN_ERROR),
        (RuntimeError("a bug"), Outcome.LOST),
    ],
)
async def test_what_it_cannot_go_on_with_has_ended_before_it_is_reported(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, error: Exception, outcome: Outcome
) -> None:
    """Somebody else is given the job."""
    held, process = await stage.orphan(Job())

    async def reopen(*_: object) -> object:
        raise error

    monkeypatch.setattr(stage.workspace, "reopen", reopen)
    worker = await stage.successor()
    await stage.until_idle(worker)

    assert held.result.outcome is outcome
    assert process.is_reaped
    await worker.stop()


async def test_an_error_after_the_receipt_reports_nothing_else(stage: Stage) -> None:
    held, process = await stage.orphan(Job())
    stage.outbox.is_broken = True
    process.end(3)

    worker = await stage.successor()
    await stage.until_idle(worker)

    assert held.result.exit_code == 3
    assert (stage.gateway.calls.count("finish"), stage.outbox.settled) == (1, 2)
    await worker.stop()
