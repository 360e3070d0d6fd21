"""One seed, from the first boot to the verdict."""

import asyncio
import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import IO, Final

from faults.judging.entry import OK, unanswered
from faults.judging.final_state import FinalState, read_all
from shared.errors import ServiceError
from shared.protocol.pipeline import PipelineSpec
from shared.tokens import Role
from simulation.checker import check
from simulation.cluster import JOBSTORE, JOBSTORE_SETTINGS, NODES, WORKERS, Cluster
from simulation.draining import Drain
from simulation.history import History
from simulation.loop import SimulatedLoop
from simulation.nemesis import Nemesis
from simulation.network import Network
from simulation.people import People
from simulation.workload import LABELS, pipelines
from simulation.world import simulated

DRAINED_WITHIN_S: Final = 180.0  # after faults have healed
# Of a healthy core: two slots, six runs of at most five jobs that take 12 s and are tried thrice.
LIVES_WITHIN_S: Final = 400.0
# A lease (6 s), a claim that lapses (5 s), a rest (4 s), backoff of those cut off (20 s), the
# longest job (12 s), and as much again for a second worker that only seems to be well.
MOVES_WITHIN_S: Final = 90.0
BRIEF_CHAOS_S: Final = 25.0
LOOK_EVERY_S: Final = 1.0
STORY_TAIL_S: Final = 1.0
TAIL_S: Final = 15.0  # in which late finishers are heard
READ_S: Final = 60.0  # for all that is stored
STOP_S: Final = 4.0  # for a process whose time is over: the grace of its worker, and then some


class Mode(StrEnum):
    """What is asked of a universe."""

    SAFETY = "safety"  # faults everywhere, then peace: no promise was broken
    LIVENESS = "liveness"  # some faults never heal: with the rest everything ends, and in time


@dataclass
class Verdict:
    """What came of a seed."""

    seed: int
    mode: Mode = Mode.SAFETY
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


def run_seed(seed: int, trace: IO[str] | None = None, mode: Mode = Mode.SAFETY) -> Verdict:
    """Everything that happens in the universe of this seed, judged."""
    folder = Path(tempfile.mkdtemp(prefix="drawbar-sim-", dir=fast_folder()))
    try:
        loop = SimulatedLoop(seed, trace)
        universe = Universe(loop, folder, mode)
        with simulated(loop):
            loop.run_until_complete(loop.world.spawn(universe.unfold(), "universe"))
            verdict = universe.judge()
            del universe  # what is left of it is finalised inside: it may log, and ask the time
        return verdict
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class Universe:
    """A cluster, those who use it and what goes wrong with it."""

    def __init__(
        self,
        loop: SimulatedLoop,
        folder: Path,
        mode: Mode = Mode.SAFETY,
        story: Sequence[PipelineSpec] | None = None,
    ) -> None:
        """`story`: what is submitted, instead of what the seed says."""
        self._loop = loop
        self._mode = mode
        self._history = History(loop)
        self.cluster = Cluster(loop, Network(loop), self._history, folder)
        self._pipelines = story or pipelines(loop.seed)
        self._nemesis = Nemesis(self.cluster)
        self._verdict = Verdict(loop.seed, mode)
        self._final: FinalState | None = None

    async def unfold(self) -> None:
        """Chaos, then peace, then the end of all jobs, then a look at everything."""
        for name in NODES:
            self.cluster.boot(name)
        people = People(self.cluster, self._pipelines)
        people.arrive()
        if self._mode is Mode.SAFETY:
            await self._nemesis.rage()
            await self._drain(people, DRAINED_WITHIN_S, DRAINED_WITHIN_S)
        else:
            await self._nemesis.rage(BRIEF_CHAOS_S)
            sick = self._loop.world.spawn(self._nemesis.afflict(self._sick()), "afflict")
            await self._drain(people, LIVES_WITHIN_S, MOVES_WITHIN_S)
            sick.cancel()
            self._nemesis.mend()
        await self._look_back()

    async def tell(self, cast: Sequence[str], within_s: float) -> None:
        """The story, with these nodes only and without a nemesis, judged like all others."""
        for name in cast:
            self.cluster.boot(name)
        people = People(self.cluster, self._pipelines, within_s=0.1)
        people.arrive()
        await self._drain(people, within_s, within_s)
        self._loop.moments = None  # the reading is not part of the story
        await self._look_back(STORY_TAIL_S)

    def _sick(self) -> Sequence[str]:
        """All workers but one that can run every job, and all services, are the healthy core."""
        chance = random.Random(f"core-{self._loop.seed}")
        core = chance.choice([name for name in WORKERS if "disk" in LABELS[name]])
        return [name for name in WORKERS if name != core]

    async def _drain(self, people: People, within_s: float, moves_within_s: float) -> None:
        """All jobs have ended; or it is a violation, with what is stuck."""
        began = self._loop.now
        reader, client = self.cluster.client("reader", Role.ADMIN)
        drain = Drain(self._loop, client, people)
        draining = reader.spawn(drain.run(), "drain")
        while not draining.done():
            await asyncio.wait([draining], timeout=LOOK_EVERY_S)
            took_s = self._loop.now - began
            if took_s > within_s or drain.silent_s > moves_within_s:
                draining.cancel()
                self._verdict.violations.append(
                    f"P1: {took_s:.0f} s after the faults healed not everything has ended, and"
                    f" nothing has moved for {drain.silent_s:.0f} s: " + "; ".join(drain.stuck)
                )
                break
        self._verdict.drain_s = self._loop.now - began

    async def _look_back(self, tail_s: float = TAIL_S) -> None:
        """Late finishers were heard, and all was read; and again after a loss of power."""
        await asyncio.sleep(tail_s)
        self._final = await self._read()
        if self._final is not None:
            self.cluster.cut_power(JOBSTORE)
            self.cluster.boot(JOBSTORE)
            self._final.again = await self._read()

    async def _read(self) -> FinalState | None:
        """What the job service says, asked without a network: that is as good as healed, and
        would be most of the work. None: it cannot be read, which is a violation."""
        gives_up_at = self._loop.now + READ_S
        while self._loop.now < gives_up_at:
            process, service = self.cluster.living(JOBSTORE), self.cluster.jobs
            if process is not None and service is not None:
                reading = process.spawn(read_all(service), "read")
                await asyncio.wait([reading], timeout=READ_S)
                if reading.done() and not isinstance(reading.exception(), ServiceError):
                    return reading.result()
            await asyncio.sleep(LOOK_EVERY_S)
        self._verdict.violations.append(f"P3: the store could not be read within {READ_S:.0f} s")
        return None

    def judge(self) -> Verdict:
        """The verdict, once all has happened."""
        verdict, entries = self._verdict, self._history.entries
        if self._final is not None:
            verdict.violations += check(
                entries, self._final, self._pipelines, JOBSTORE_SETTINGS.rest_s, STOP_S
            )
        verdict.violations += self.cluster.breakdowns
        verdict.violations += [f"unhandled: {error}" for error in self._loop.errors]
        verdict.digest, verdict.steps = self._loop.digest, self._loop.steps
        verdict.virtual_s = self._loop.now
        verdict.faults = self._nemesis.faults
        verdict.counts = unanswered(entries)
        verdict.counts.update(f"{e.op}.ok" for e in entries if e.phase == OK)
        verdict.counts.update(e.op for e in entries if e.phase == "event")
        for node in self.cluster.nodes.values():
            folder = node.machine.folder
            verdict.counts["lost_bytes"] += node.disk.lost_bytes
            verdict.counts["lost_outbox_bytes"] += 0 if folder is None else folder.lost_bytes
        return verdict


def fast_folder() -> str | None:
    """Memory, where there is one: an fsync there is free, and power is simulated anyway."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None
