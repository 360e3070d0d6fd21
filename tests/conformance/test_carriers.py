"""The contract over each carrier, with the fake service behind it."""

from collections.abc import AsyncIterator

import pytest

from shared.runtime import SystemRuntime
from tests.conformance.contract import CarrierContract
from tests.support.carriers import Carrier, direct, over_http
from tests.support.fake_jobs import FakeJobs


class TestDirect(CarrierContract):
    @pytest.fixture
    async def carrier(self) -> AsyncIterator[Carrier]:
        runtime = SystemRuntime()
        async with direct(FakeJobs(runtime), runtime) as carrier:
            yield carrier


class TestOverHttp(CarrierContract):
    @pytest.fixture
    async def carrier(self) -> AsyncIterator[Carrier]:
        runtime = SystemRuntime()
        async with over_http(FakeJobs(runtime), runtime) as carrier:
            yield carrier
