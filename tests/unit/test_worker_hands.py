"""What operators do to a running worker, and what it does when its machine is not well."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from shared.protocol.gateway import Outcome
from shared.protocol.registry import Finding
from shared.protocol.states import Desired
from tests.support.gateway import FakeGateway, Job
from tests.support.processes import MemoryWorkspace, ScriptedRunner
from tests.support.registry import FakeRegistry
from tests.support.runtime import ManualRuntime
from worker.daemon import Worker
from worker.health import LOOK_EVERY_S, Health
from worker.settings import WorkerSettings


class Moody:
    """A check that finds what a test says."""

    name = "disk"

    def __init__(self) -> None:
        self.is_good = True
        self.hangs = False

    async def look(self) -> Finding | None:
        if self.hangs:
            await asyncio.Event().wait()
        return Finding(name=self.name, is_good=self.is_good, says="12 MiB free")


class Stage:
    """A worker of two slots and everything around it."""

    def __init__(self) -> None:
        self.runtime = ManualRuntime()
        self.gateway = FakeGateway()
        self.registry = FakeRegistry()
        self.runner = ScriptedRunner()
        self.check = Moody()
        self.health = Health([self.check], self.runtime)
        self.restarts = 0
        self.worker = Worker(
            WorkerSettings(name="w", slots=2, labels={"os": "linux"}, host="here", upload_s=60),
            self.gateway,
            self.registry,
            self.runner,
            MemoryWorkspace(),
            self.runtime,
            health=self.health,
            restart=self.restart,
        )

    def restart(self) -> None:
        self.restarts += 1

    async def look(self) -> None:
        await self.health.look_once()
        await self.runtime.advance(0.1)


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    stage = Stage()
    yield stage
    await stage.worker.stop()


async def test_slots_and_labels_are_asked_with_as_soon_as_they_are_told(stage: Stage) -> None:
    await stage.worker.start()
    await stage.runtime.advance(1)
    before = stage.gateway.asks[-1]

    stage.registry.slots, stage.registry.labels = 4, {"os": "linux", "gpu": "1"}
    await stage.runtime.advance(6)

    after = stage.gateway.asks[-1]
    assert (before.free_slots, before.labels) == (2, {"os": "linux"})
    assert (after.free_slots, after.total_slots) == (4, 4)
    assert after.labels == {"os": "linux", "gpu": "1"}


async def test_fewer_slots_wait_for_what_runs(stage: Stage) -> None:
    first, second = stage.gateway.add(Job()), stage.gateway.add(Job())
    await stage.worker.start()
    processes = await stage.runner.until_started(2)

    stage.registry.slots = 1
    await stage.runtime.advance(6)
    asked = len(stage.gateway.asks)
    processes[0].end(0)
    await stage.runtime.advance(6)
    assert len(stage.gateway.asks) == asked
    processes[1].end(0)
    await stage.runtime.advance(6)

    assert (first.result.outcome, second.result.outcome) == (Outcome.EXITED, Outcome.EXITED)
    assert stage.gateway.asks[-1].free_slots == 1


async def test_an_unfit_worker_asks_for_nothing_and_says_why(stage: Stage) -> None:
    stage.check.is_good = False
    stage.gateway.add(Job())
    await stage.worker.start()
    await stage.runtime.advance(20)

    report = stage.registry.reports[-1]
    assert stage.gateway.asks == []
    assert report.status == "paused"
    assert [(f.name, f.is_good, f.says) for f in report.health] == [("disk", False, "12 MiB free")]


async def test_a_worker_that_becomes_unfit_ends_what_it_runs_and_asks_again_when_fit(
    stage: Stage,
) -> None:
    job = stage.gateway.add(Job())
    await stage.worker.start()
    (process,) = await stage.runner.until_started(1)

    stage.check.is_good = False
    await stage.look()
    asked = len(stage.gateway.asks)
    process.end(0)
    await stage.runtime.advance(1)
    assert job.result.outcome is Outcome.EXITED
    stage.gateway.add(Job())
    await stage.runtime.advance(LOOK_EVERY_S - 2)
    assert len(stage.gateway.asks) == asked
    stage.check.is_good = True
    await stage.runtime.advance(LOOK_EVERY_S)

    assert len(await stage.runner.until_started(2)) == 2


async def test_a_check_that_hangs_is_bad(stage: Stage) -> None:
    stage.check.hangs = True
    health = Health([stage.check], stage.runtime, patience_s=0.01)

    await health.look_once()

    assert health.flaw == "disk: no answer within 0.01 s"


async def test_a_stop_now_leaves_no_grace(stage: Stage) -> None:
    job = stage.gateway.add(Job())
    stage.runner.is_stubborn = True
    await stage.worker.start()
    (process,) = await stage.runner.until_started(1)

    stage.registry.desired, stage.registry.is_now = Desired.STOP, True
    await stage.runtime.advance(5.5)

    assert process.signals == ["TERM", "KILL"]
    await stage.runtime.advance(1)
    assert job.result.outcome is Outcome.PREEMPTED


async def test_beats_that_are_not_answered_are_told_as_late(stage: Stage) -> None:
    stage.gateway.add(Job())
    await stage.worker.start()
    await stage.runner.until_started(1)

    stage.gateway.away = {"heartbeat"}
    await stage.runtime.advance(12)

    (late,) = [f for f in stage.registry.reports[-1].health if f.name == "heartbeat"]
    assert not late.is_good
    assert late.says.startswith("leases were last renewed ")


async def test_a_worker_that_is_told_to_restart_hands_over_and_does_not_leave(
    stage: Stage,
) -> None:
    stage.gateway.add(Job())
    await stage.worker.start()
    (process,) = await stage.runner.until_started(1)

    stage.registry.desired = Desired.RESTART
    await stage.runtime.advance(5)
    handing = asyncio.ensure_future(stage.worker.hand_over())
    await stage.runtime.advance(1)

    assert stage.restarts == 1
    assert handing.done()
    assert process.signals == []
    assert not stage.registry.has_left


async def test_a_worker_without_a_process_of_its_own_says_that_it_cannot_restart() -> None:
    stage = Stage()
    worker = Worker(
        WorkerSettings(name="w", slots=1),
        stage.gateway,
        stage.registry,
        stage.runner,
        MemoryWorkspace(),
        stage.runtime,
    )
    await worker.start()
    stage.registry.desired = Desired.RESTART
    await stage.runtime.advance(11)

    (said,) = [f for f in stage.registry.reports[-1].health if f.name == "restart"]
    assert said.says.startswith("cannot restart by itself")
    assert stage.gateway.asks
    await worker.stop()


async def test_a_drain_ends_though_its_results_cannot_be_reported(stage: Stage) -> None:
    stage.gateway.add(Job())
    await stage.worker.start()
    (process,) = await stage.runner.until_started(1)
    stage.gateway.away.add("finish")
    draining = asyncio.ensure_future(stage.worker.drain())
    await stage.runtime.advance(50)
    while_it_ran = draining.done()

    process.end()
    await stage.runtime.advance(59)
    within = draining.done()
    await stage.runtime.advance(2)

    assert (while_it_ran, within, draining.done()) == (False, False, True)
    assert stage.registry.has_left


async def test_a_result_that_is_reported_in_time_lets_a_drain_end_at_once(stage: Stage) -> None:
    job = stage.gateway.add(Job())
    await stage.worker.start()
    (process,) = await stage.runner.until_started(1)
    draining = asyncio.ensure_future(stage.worker.drain())
    stage.gateway.away.add("finish")
    process.end(7)
    await stage.runtime.advance(20)

    stage.gateway.away.clear()
    await stage.runtime.advance(20)

    assert draining.done()
    assert job.result.exit_code == 7
