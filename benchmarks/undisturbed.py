"""What fault points cost while nothing may be injected: those that one job passes, timed."""

import time
from pathlib import Path
from typing import Final

from benchmarks.fleets import embedded
from benchmarks.measures import duration_s
from benchmarks.shapes import independent
from shared.faultpoints import Facts, faultpoint, injector

REPEATS: Final = 20_000
COUNTED: Final = 10  # jobs, one after the other, whose points are counted


async def points_of_a_job(folder: Path) -> float:
    """How many a job passes from its submission to its end, embedded; of all of them together."""
    passed = 0

    async def count(name: str, facts: Facts) -> None:
        nonlocal passed
        passed += 1

    before = injector.set(count)
    try:
        async with embedded(folder, 1) as fleet:
            passed = 0
            await duration_s(fleet, independent(COUNTED))
    finally:
        injector.reset(before)
    return passed / COUNTED


async def off_us(points: float) -> float:
    """What so many points take together, less what the loop around them does."""
    began = time.perf_counter()
    for _ in range(REPEATS):
        await faultpoint("worker.settle.before", attempt="an attempt")
    with_points = time.perf_counter() - began
    began = time.perf_counter()
    for _ in range(REPEATS):
        pass
    return points * (with_points - (time.perf_counter() - began)) / REPEATS * 1e6
