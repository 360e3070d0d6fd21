"""Kills each node at every moment of a small story, once before and once after.

A moment is a call of a store, before its effect or between effect and answer, and every fault
point: each verb of each hop on both sides, commits, files, and the steps of an attempt. The story
is the same up to the kill, so the n-th moment of one telling is that of all.
"""

import functools
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Final

from shared.protocol.pipeline import JobSpec, PipelineSpec, RetryRule, TaskSpec, When
from shared.sqlite_file import configure, migrate
from simulation.cluster import GATEWAY, JOBSTORE, REGISTRY
from simulation.loop import SimulatedLoop
from simulation.process import Process
from simulation.universe import Universe, fast_folder
from simulation.world import simulated

SEED: Final = 1
CAST: Final = (JOBSTORE, GATEWAY, REGISTRY, "worker-0")
DOWN_S: Final = 0.3
WITHIN_S: Final = 60.0
COMMANDS: Final = PipelineSpec(
    name="story",
    retry=RetryRule(max=1, delay_s=0.2),
    jobs=(
        JobSpec(id="first", argv=("sim", "0.3", "0", "3"), artifacts=("*.txt",)),
        JobSpec(id="second", argv=("sim", "0.2", "1", "0")),
        JobSpec(id="third", argv=("sim", "0.2", "0", "3"), needs=("first",), inputs=("first",)),
        JobSpec(id="fourth", argv=("sim", "0.4", "0", "700"), needs=("second",), when=When.ALWAYS),
    ),
)
TASKS: Final = PipelineSpec(
    name="story",
    jobs=(
        JobSpec(
            id="waits",
            task=TaskSpec(
                module="sim", function="task", runner=("sim", "0.1", "0", "3", "callback")
            ),
        ),
    ),
)
STORIES: Final = {"commands": COMMANDS, "tasks": TASKS}


@dataclass(frozen=True, slots=True)
class CrashPoint:
    """The n-th moment of the story; `is_after`: what comes next still begins."""

    n: int
    is_after: bool = False
    story: str = "commands"


@dataclass(frozen=True, slots=True)
class Telling:
    """What came of one."""

    moments: list[str]
    killed: str  # where, and whether before or after
    violations: list[str]


class Told:
    """Counts the moments of one telling, and kills at one of them."""

    def __init__(self, point: CrashPoint | None, boot: Callable[[str], None]) -> None:
        self._boot = boot
        self.moments: list[str] = []
        self.killed = ""
        self._point = point

    def comes(self, process: Process, name: str) -> bool:
        if process.name not in CAST:
            return False
        self.moments.append(f"{process.name} at {name}")
        point = self._point
        if point is None or self.killed or len(self.moments) - 1 != point.n:
            return False
        self.killed = f"{self.moments[-1]}, {'after' if point.is_after else 'before'}"
        loop = process.loop
        loop.after(DOWN_S, loop.world, self._boot, process.name)
        if point.is_after:
            loop.after(0.0, loop.world, process.kill)
        return not point.is_after


def moments(story: str = "commands") -> list[str]:
    """Those of the story when nothing happens, by name."""
    telling = _tell(None, story)
    assert not telling.violations, telling.violations
    return telling.moments


def points(count: int, story: str = "commands") -> Iterator[CrashPoint]:
    for n in range(count):
        yield CrashPoint(n, story=story)
        yield CrashPoint(n, is_after=True, story=story)


def sweep(chosen: Iterable[CrashPoint]) -> dict[str, list[str]]:
    """The broken promises, by the kill that broke them."""
    broken = {}
    for point in chosen:
        telling = _tell(point, point.story)
        if telling.violations:
            broken[telling.killed or f"point {point.n}"] = telling.violations
    return broken


def _tell(point: CrashPoint | None, story: str) -> Telling:
    folder = Path(tempfile.mkdtemp(prefix="drawbar-sweep-", dir=fast_folder()))
    try:
        loop = SimulatedLoop(SEED)
        for name, content in _empty_databases().items():
            (folder / name).write_bytes(content)
        universe = Universe(loop, folder, story=(STORIES[story],))
        loop.moments = told = Told(point, universe.cluster.boot)
        with simulated(loop):
            loop.run_until_complete(loop.world.spawn(universe.tell(CAST, WITHIN_S), "story"))
            telling = Telling(told.moments, told.killed, universe.judge().violations)
            del universe, told  # what is left of it is finalised inside
        return telling
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@functools.cache
def _empty_databases() -> dict[str, bytes]:
    """Those of the services, with their newest schema: making it takes as long as a story."""
    schemas = {"jobs.db": "jobstore.store", "registry.db": "registry"}
    made = {}
    with tempfile.TemporaryDirectory(dir=fast_folder()) as folder:
        for name, package in schemas.items():
            path = Path(folder, name)
            conn = sqlite3.connect(path, isolation_level=None)
            configure(conn)
            migrate(conn, resources.files(package) / "migrations")
            conn.close()
            made[name] = path.read_bytes()
    return made
