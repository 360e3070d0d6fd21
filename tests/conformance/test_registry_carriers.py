"""The registry's contract over each carrier, with the real service behind it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.conformance.registry_contract import RegistryContract
from tests.support.registries import Carrier, a_registry, direct, over_http
from tests.support.runtime import ManualRuntime


class TestDirect(RegistryContract):
    @pytest.fixture
    async def carrier(self, tmp_path: Path) -> AsyncIterator[Carrier]:
        runtime = ManualRuntime()
        async with a_registry(tmp_path, runtime) as service, direct(service, runtime) as carrier:
            yield carrier


class TestOverHttp(RegistryContract):
    @pytest.fixture
    async def carrier(self, tmp_path: Path) -> AsyncIterator[Carrier]:
        runtime = ManualRuntime()
        async with a_registry(tmp_path, runtime) as service, over_http(service, runtime) as carrier:
            yield carrier
