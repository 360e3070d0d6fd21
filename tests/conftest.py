"""What holds for every test."""

from typing import Final

import pytest
from hypothesis import HealthCheck, settings

# A machine that is busy with something else makes no test fail: time is measured by benchmarks.
settings.register_profile("drawbar", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("drawbar")

# Begun first, so that in the end nobody waits for one of them alone. Each file is one process's.
LONG: Final = (
    "simulation/test_seeds.py",
    "system/test_chaos.py",
    "system/test_api.py",
    "simulation/test_sweep.py",
    "simulation/test_mutants.py",
    "system/",
)


@pytest.hookimpl(trylast=True)  # after they were put into a random order, which stays otherwise
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=_rank)


def _rank(item: pytest.Item) -> int:
    place = item.nodeid.removeprefix("tests/")
    return next((n for n, prefix in enumerate(LONG) if place.startswith(prefix)), len(LONG))
