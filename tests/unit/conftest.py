"""Fixtures of the unit tests."""

from collections.abc import AsyncIterator

import pytest

from tests.support.worker_stage import WorkerStage


@pytest.fixture
async def stage() -> AsyncIterator[WorkerStage]:
    stage = WorkerStage()
    yield stage
    for worker in stage.workers:
        await worker.stop()
