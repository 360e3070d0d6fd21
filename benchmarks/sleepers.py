"""What a worker costs whose jobs sleep: heartbeats for all of them, and reports."""

import asyncio
import os
from pathlib import Path
from typing import Final

from benchmarks.fleets import Fleet
from benchmarks.measures import submit, until_ended
from shared.protocol.pipeline import JobSpec, PipelineSpec

JOBS: Final = 500
STARTING_S: Final = 15.0
MEASURED_S: Final = 10.0
_TICKS: Final = os.sysconf("SC_CLK_TCK")


async def core_shares(fleet: Fleet, times: int) -> list[float]:
    """Of one core, what the worker used in each of so many spans of time; 1.0 is all of it."""
    sleep = f"exec sleep {STARTING_S + times * MEASURED_S + 5:g}"
    jobs = tuple(JobSpec(id=f"s{n}", command=sleep) for n in range(JOBS))
    await submit(fleet, PipelineSpec(name="sleepers", jobs=jobs))
    await asyncio.sleep(STARTING_S)
    shares = []
    for _ in range(times):
        before = _cpu_s(fleet.pids["worker"])
        await asyncio.sleep(MEASURED_S)
        shares.append((_cpu_s(fleet.pids["worker"]) - before) / MEASURED_S)
    await until_ended(fleet, look_every_s=0.5)
    return shares


def _cpu_s(pid: int) -> float:
    """proc(5), stat: user and system time, after the name, which may hold anything."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS
