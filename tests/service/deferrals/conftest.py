"""A job service that may look into one folder, and at one server that says what a test wants."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from jobstore.triggers.ports import Outside
from tests.support.deferred import (
    OneServer,
)
from tests.support.jobstore import Hands, hands_on


@pytest.fixture
def server() -> OneServer:
    return OneServer()


async def _doorstep() -> str:
    return "http://jobs.example:7402/"


@pytest.fixture
def outside(tmp_path: Path, server: OneServer) -> Outside:
    folder = tmp_path / "inbox"
    folder.mkdir()
    return Outside((folder.resolve(),), lambda: server, _doorstep)


@pytest.fixture
async def hands(tmp_path: Path, outside: Outside) -> AsyncIterator[Hands]:
    async with hands_on(tmp_path, outside=outside) as opened:
        yield opened
