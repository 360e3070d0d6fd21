"""The contract over each carrier, with the real job service behind it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from jobstore.service import JobStoreService
from shared.files import DiskFiles
from shared.runtime import SystemRuntime
from tests.conformance.contract import CarrierContract
from tests.support.carriers import Carrier, direct, over_http


@asynccontextmanager
async def started(folder: Path) -> AsyncIterator[tuple[JobStoreService, SystemRuntime]]:
    runtime = SystemRuntime()
    service = JobStoreService(folder / "jobs.db", DiskFiles(folder / "files", runtime), runtime)
    await service.start()
    try:
        yield service, runtime
    finally:
        await service.stop()


class TestDirect(CarrierContract):
    @pytest.fixture
    async def carrier(self, tmp_path: Path) -> AsyncIterator[Carrier]:
        async with started(tmp_path) as (service, runtime), direct(service, runtime) as carrier:
            yield carrier


class TestOverHttp(CarrierContract):
    @pytest.fixture
    async def carrier(self, tmp_path: Path) -> AsyncIterator[Carrier]:
        async with started(tmp_path) as (service, runtime), over_http(service, runtime) as carrier:
            yield carrier
