"""Fixtures of the service tests."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from shared.http.server import Server
from tests.support.entrance import Entrance, new_entrance
from tests.support.jobstore import Hands, hands_on
from tests.support.mail import Mailbox, mail_server
from tests.support.notifying import Receiver
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


@pytest.fixture
async def box() -> AsyncIterator[Mailbox]:
    async with mail_server(Mailbox()) as box:
        yield box


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    found = Receiver()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", found.take)
    server = Server(app, "127.0.0.1", 0, linger_s=0.05)
    await server.start()
    found.url = server.url
    yield found
    await server.stop()
