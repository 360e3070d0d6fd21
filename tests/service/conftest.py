"""Fixtures of the service tests."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.jobstore import Hands, hands_on


@pytest.fixture
async def hands(tmp_path: Path) -> AsyncIterator[Hands]:
    async with hands_on(tmp_path) as ready:
        yield ready
