"""Fixtures of the service tests."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.entrance import Entrance, new_entrance
from tests.support.jobstore import Hands, hands_on
from tests.support.tasks import TaskStage


@pytest.fixture
async def hands(tmp_path: Path) -> AsyncIterator[Hands]:
    async with hands_on(tmp_path) as ready:
        yield ready


@pytest.fixture
async def entrance() -> AsyncIterator[Entrance]:
    async with new_entrance() as ready:
        yield ready


@pytest.fixture(params=["cold", pytest.param("warm", marks=pytest.mark.prove)])
async def stage(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[TaskStage]:
    """Tasks in fresh interpreters; `make prove` also takes copies of one that has imported all."""
    stage = TaskStage(tmp_path, is_warm=request.param == "warm")
    yield stage
    await stage.close()
