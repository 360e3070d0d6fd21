"""One seed, from the first boot to the verdict."""

import asyncio
import contextlib
import shutil
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final

from faults.judging.entry import OK, unanswered
from faults.judging.final_state import FinalState, read_all
from shared.errors import ServiceError
from shared.protocol.jobs import RunFilter
from shared.services import JobService
from shared.tokens import Role
from simulation.checker import check
from simulation.cluster import JOBSTORE, JOBSTORE_SETTINGS, NODES, Cluster
from simulation.history import History
from simulation.loop import SimulatedLoop
from simulation.nemesis import Nemesis
from simulation.network import Network
from simulation.people import People
from simulation.process import Process
from simulation.workload import pipelines
from simulation.world import simulated

DRAINED_WITHIN_S: Final = 180.0  # after faults have healed
LOOK_EVERY_S: Final = 1.0
TAIL_S: Final = 15.0  # in which late finishers are heard


@dataclass
class Verdict:
    """What came of a seed."""

    seed: int
    digest: str = ""
    steps: int = 0
    virtual_s: float = 0.0
    drain_s: float = 0.0
    faults: Counter[str] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)

    @property
    def is_good(self) -> bool:
        return not self.violations


def run_seed(seed: int, trace: IO[str] | None = None) -> Verdict:
    """Everything that happens in the universe of this seed, judged."""
    folder = Path(tempfile.mkdtemp(prefix="drawbar-sim-", dir=_fast_folder()))
    try:
        loop = SimulatedLoop(seed, trace)
        universe = Universe(loop, folder)
        with simulated(loop):
            loop.run_until_complete(loop.world.spawn(universe.unfold(), "universe"))
            return universe.judge()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class Universe:
    """A cluster, those who use it and what goes wrong with it."""

    def __init__(self, loop: SimulatedLoop, folder: Path) -> None:
        self._loop = loop
        self._history = History(loop)
        self._cluster = Cluster(loop, Network(loop), self._history, folder)
        self._pipelines = pipelines(loop.seed)
        self._nemesis = Nemesis(self._cluster)
        self._verdict = Verdict(loop.seed)
        self._final: FinalState | None = None

    async def unfold(self) -> None:
        """Chaos, then peace, then the end of all jobs, then a look at everything."""
        for name in NODES:
            self._cluster.boot(name)
        submitted = People(self._cluster, self._pipelines).arrive()
        await self._nemesis.rage()
        mended_at = self._loop.now
        reader, client = self._cluster.client("reader", Role.ADMIN)
        draining = reader.spawn(_until_ended(client, submitted), "drain")
        await asyncio.wait([draining], timeout=DRAINED_WITHIN_S)
        if not draining.done():
            self._verdict.violations.append(
                f"P1: not everything has ended {DRAINED_WITHIN_S:g} s after the faults healed"
            )
        self._verdict.drain_s = self._loop.now - mended_at
        await asyncio.sleep(TAIL_S)
        reading = reader.spawn(read_all(client), "read")
        await asyncio.wait([reading])
        if not (self._cluster.breakdowns and isinstance(reading.exception(), ServiceError)):
            self._final = reading.result()  # else it broke down that would have told us
            self._final.again = await self._read_again(client, reader)

    async def _read_again(self, client: JobService, reader: Process) -> FinalState | None:
        """What the job service says after its machine has lost its power."""
        self._cluster.cut_power(JOBSTORE)
        self._cluster.boot(JOBSTORE)
        while True:
            reading = reader.spawn(read_all(client), "read again")
            await asyncio.wait([reading])
            if not isinstance(reading.exception(), ServiceError):
                return reading.result()
            if self._cluster.breakdowns:
                return None
            await asyncio.sleep(LOOK_EVERY_S)

    def judge(self) -> Verdict:
        """The verdict, once all has happened."""
        verdict, entries = self._verdict, self._history.entries
        if self._final is not None:
            verdict.violations += check(
                entries, self._final, self._pipelines, JOBSTORE_SETTINGS.rest_s
            )
        verdict.violations += self._cluster.breakdowns
        verdict.violations += [f"unhandled: {error}" for error in self._loop.errors]
        verdict.digest, verdict.steps = self._loop.digest, self._loop.steps
        verdict.virtual_s = self._loop.now
        verdict.faults = self._nemesis.faults
        verdict.counts = unanswered(entries)
        verdict.counts.update(f"{e.op}.ok" for e in entries if e.phase == OK)
        verdict.counts.update(e.op for e in entries if e.phase == "event")
        for node in self._cluster.nodes.values():
            folder = node.machine.folder
            verdict.counts["lost_bytes"] += node.disk.lost_bytes
            verdict.counts["lost_outbox_bytes"] += 0 if folder is None else folder.lost_bytes
        return verdict


async def _until_ended(client: JobService, submitted: "asyncio.Task[None]") -> None:
    """Every run was submitted, and has ended."""
    await asyncio.wait([submitted])
    while True:
        with contextlib.suppress(ServiceError):
            runs = (await client.list_runs(RunFilter(limit=1_000))).runs
            if all(run.status.is_ended for run in runs):
                return
        await asyncio.sleep(LOOK_EVERY_S)


def _fast_folder() -> str | None:
    """Memory, where there is one: an fsync there is free, and power is simulated anyway."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None
