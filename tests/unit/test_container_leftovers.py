"""Containers that an earlier worker left: none is reported as lost before it is gone."""

import asyncio
from pathlib import Path

import pytest

from shared.ids import AttemptId
from shared.runtime import SystemRuntime
from worker.runners.containers.notes import name_of
from worker.runners.containers.runner import ContainerRunner
from worker.settings import WorkerSettings

LEFT = AttemptId("attempt-1")


class Maker:
    """An engine that removes what was left when a test says so."""

    def __init__(self, notes: Path) -> None:
        self.notes = notes
        self.may_go_on = asyncio.Event()

    async def sweep(self) -> None:
        await self.may_go_on.wait()
        (self.notes / name_of(LEFT)).unlink()


async def test_who_asks_for_a_container_of_an_earlier_worker_waits_until_it_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes = tmp_path / "containers"
    notes.mkdir()
    (notes / name_of(LEFT)).touch()
    maker = Maker(notes)
    monkeypatch.setattr(ContainerRunner, "_connected", lambda _: maker)
    runner = ContainerRunner(WorkerSettings(name="w", slots=1), tmp_path, {}, SystemRuntime())
    runner.begin()

    asking = asyncio.create_task(runner.attach(LEFT))
    async with asyncio.timeout(5):
        await runner.attach(AttemptId("another"))
        for _ in range(5):  # it has come as far as it can
            await asyncio.sleep(0)
        was_done = asking.done()
        maker.may_go_on.set()
        await asking
    await runner.close()

    assert not was_done
    assert list(notes.iterdir()) == []
