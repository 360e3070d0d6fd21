"""Memory of idle daemons, as PSS: what they use alone, and their share of what they share."""

import asyncio
from pathlib import Path
from typing import Final

from benchmarks.fleets import Fleet
from benchmarks.measures import submit, until_ended
from benchmarks.shapes import independent

IDLE_S: Final = 3.0


async def idle_mib(fleet: Fleet) -> dict[str, float]:
    """MiB of each process, when it has run a few jobs and nothing has happened for a while."""
    await submit(fleet, independent(20))
    await until_ended(fleet, look_every_s=0.05)
    await asyncio.sleep(IDLE_S)
    return {name: pss_mib(pid) for name, pid in fleet.pids.items()}


def pss_mib(pid: int) -> float:
    """proc(5), smaps_rollup: the field is in KiB."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1_024
    raise AssertionError("the kernel does not say PSS")
