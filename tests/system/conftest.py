"""Every test of this folder starts real daemons."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.cluster import Cluster, cluster_in

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.system)
            item.add_marker(pytest.mark.slow)


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    """Job service, registry and gateway, with the usual lease."""
    async with cluster_in(tmp_path) as started:
        yield started


@pytest.fixture
async def hasty(tmp_path: Path) -> AsyncIterator[Cluster]:
    """The same with a lease of three seconds, for tests that let one run out."""
    async with cluster_in(tmp_path, lease_s=3.0, silent_after_s=2.0) as started:
        yield started
