"""A service with verbs on a line, and its two ends."""

from collections.abc import AsyncIterator

import pytest

from shared.http.transport import Transport
from tests.support.http import Caller, serving
from tests.support.runtime import ManualRuntime
from tests.support.verbs import Near, Verbs, near_end


@pytest.fixture
def runtime() -> ManualRuntime:
    return ManualRuntime()


@pytest.fixture
def verbs() -> Verbs:
    return Verbs()


@pytest.fixture
async def caller(verbs: Verbs) -> AsyncIterator[Caller]:
    async with serving(verbs.app()) as caller:
        yield caller


@pytest.fixture
async def transport(caller: Caller, runtime: ManualRuntime) -> AsyncIterator[Transport]:
    transport = Transport(caller.url, runtime, token=lambda: "mine", service="gateway")
    yield transport
    await transport.close()


@pytest.fixture
def ask(transport: Transport) -> Near:
    return near_end(transport)
