"""`python -m benchmarks`: measure everything in one run, on a machine that does nothing else."""

import argparse
import asyncio
import logging
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import structlog
from rich.console import Console

from benchmarks import bytes as carrying
from benchmarks import documents, others, sleepers, surviving, tasks, undisturbed, waits
from benchmarks.fleets import DRAWBAR, OpenFleet, all_in_one, embedded, separate
from benchmarks.measures import Latency, duration_s, latency
from benchmarks.memory import idle_mib
from benchmarks.shapes import chain, independent, layered
from benchmarks.stamps import noting
from benchmarks.table import Row, Target, machine, number, print_table, write_json
from shared.collector import collect_seldom

JOBS: Final = 1_000
HOPS: Final = 100
LAYERS, WIDTH = 10, 50
SAMPLES: Final = 100
BUSY: Final = 0.5  # a load above which figures say more about the machine than about us

LATENCY: Final = "submit → process start, p50"
LATENCY_P99: Final = "submit → process start, p99"
THROUGHPUT: Final = f"{JOBS:,} jobs `sh -c true`"
CHAIN: Final = f"chain of {HOPS}, per hop"
LAYERED: Final = f"{LAYERS} layers of {WIDTH}, each needs two"
MEMORY: Final = "memory, idle (PSS)"
ONE_JOB: Final = "one job, from command line to exit"
SLEEPING: Final = f"worker with {sleepers.JOBS} sleeping jobs"
SURVIVING: Final = "job that outlives its worker, beside a plain child"
LOAD: Final = f"load {documents.JOBS:,} jobs"
SUBMIT: Final = f"submit {documents.JOBS:,} jobs"
NO_OP: Final = "@task that does nothing, to its end, p50"
ROUND_TRIPS: Final = f"{tasks.ROUND_TRIPS:,} XCom round trips"
MAPPED: Final = f"@task mapped over {tasks.ITEMS:,} items"

WAITS_HOLD: Final = f"{waits.TASKS:,} deferred tasks, memory (PSS) more than without"
WAITS_COST: Final = f"{waits.TASKS:,} deferred tasks, of one core"
LOG_JOB: Final = "job that logs 1 GiB, against writing to a file"
LOG_ARRIVED: Final = "1 GiB of log, from start to receipt"
ARTIFACT: Final = "1 GiB artifact, against cp + sha256sum"
CARRYING: Final = "worker's memory (PSS), most while it carries 1 GiB"

POINTS_OFF: Final = "fault points of one job, without --allow-faults"

TARGETS: Final = {
    (POINTS_OFF, "embedded"): Target(25),
    (LOG_JOB, "separate"): Target(1.5),
    (ARTIFACT, "separate"): Target(40, more_is_better=True),
    (CARRYING, "log"): Target(80),
    (CARRYING, "artifact"): Target(80),
    (LATENCY, "embedded"): Target(3.2),
    (LATENCY, "separate"): Target(4.5),
    (THROUGHPUT, "embedded"): Target(1_000, more_is_better=True),
    (THROUGHPUT, "separate"): Target(620, more_is_better=True),
    (CHAIN, "embedded"): Target(2.5),
    (CHAIN, "separate"): Target(6),
    (LAYERED, "embedded"): Target(0.8),
    (LAYERED, "separate"): Target(0.8),
    (MEMORY, "up"): Target(70),
    (MEMORY, "worker"): Target(45),
    (ONE_JOB, "drawbar run"): Target(0.6),
    (SLEEPING, "worker"): Target(10),
    (SURVIVING, "worker"): Target(0.5),
    **{(LOAD, syntax): Target(1.5) for syntax in documents.SYNTAXES},
    (SUBMIT, "embedded"): Target(3),
    (NO_OP, "cold"): Target(120),
    (NO_OP, "warm"): Target(20),
    (ROUND_TRIPS, "warm"): Target(1),
    (MAPPED, "warm"): Target(10),
    (WAITS_HOLD, "jobstore"): Target(60),
    (WAITS_COST, "jobstore"): Target(2),
}
FLEETS: Final[dict[str, OpenFleet]] = {"embedded": embedded, "separate": separate}

console = Console(width=100, highlight=False)


class Bench:
    """Collects rows. Everything is run once before it counts."""

    def __init__(self, folder: Path, runs: int, slots: list[int]) -> None:
        self._folder = folder
        self._runs = runs
        self._slots = slots
        self._sample = 0
        self.rows: list[Row] = []

    def add(self, what: str, system: str, unit: str, runs: list[float], details: str = "") -> None:
        target = TARGETS.get((what, system))
        row = Row(what, f"{system}{details}", unit, tuple(runs), target)
        self.rows.append(row)
        console.print(f"  {what}, {row.system}: {number(row.value)} {unit}")

    async def measure_fleet(self, system: str) -> None:
        """(a) to (d). Latency and chain have one job at a time: more slots change nothing."""
        for slots in self._slots:
            with self.scratch() as folder, noting(folder) as stamps:
                async with FLEETS[system](folder, slots) as fleet:
                    if slots == self._slots[0]:
                        self._add_latency(
                            system,
                            [
                                await latency(fleet, stamps, count, first=self._next(count))
                                for count in self._counts(SAMPLES)
                            ][1:],
                        )
                        taken = [await duration_s(fleet, chain(HOPS)) for _ in self._counts()][1:]
                        self.add(CHAIN, system, "ms", [s / HOPS * 1_000 for s in taken])
                    at = f", {slots} slots"
                    taken = [await duration_s(fleet, independent(JOBS)) for _ in self._counts()][1:]
                    self.add(THROUGHPUT, system, "jobs/s", [JOBS / s for s in taken], at)
                    taken = [
                        await duration_s(fleet, layered(LAYERS, WIDTH)) for _ in self._counts()
                    ]
                    self.add(LAYERED, system, "s", taken[1:], at)

    async def measure_memory(self) -> None:
        """(e)"""
        for open_fleet in (all_in_one, separate):
            found: dict[str, list[float]] = {}
            for _ in range(self._runs):
                with self.scratch() as folder:
                    async with open_fleet(folder, 2) as fleet:
                        for name, mib in (await idle_mib(fleet)).items():
                            found.setdefault(name, []).append(mib)
            for name, mibs in found.items():
                self.add(MEMORY, name, "MiB", mibs)

    async def measure_sleepers(self) -> None:
        """One worker that has nothing to do but to keep the leases of its jobs."""
        with self.scratch() as folder:
            async with separate(folder, sleepers.JOBS) as fleet:
                shares = await sleepers.core_shares(fleet, self._runs)
        self.add(SLEEPING, "worker", "% of a core", [100 * share for share in shares])

    async def measure_surviving(self) -> None:
        """Of each job, what its keeper costs."""
        with self.scratch() as folder:
            self.add(SURVIVING, "worker", "ms", await surviving.extra_ms(folder, self._runs))

    def measure_one_job(self) -> None:
        """(f)"""
        with self.scratch() as folder:
            file = folder / "one.yaml"
            file.write_text("name: one\njobs:\n  - {id: one, command: 'true'}\n")
            words = [DRAWBAR, "run", str(file), "--data", str(folder / "data")]
            self.add(ONE_JOB, "drawbar run", "s", [_wall_s(words) for _ in self._counts()][1:])
        shell = [_wall_s(["sh", "-c", "true"]) for _ in self._counts()]
        self.add(ONE_JOB, "sh", "s", shell[1:])

    async def measure_documents(self) -> None:
        """(g): each job needs three others; loading includes every rule that is checked."""
        with self.scratch() as folder:
            for syntax in documents.SYNTAXES:
                file = documents.write_large(folder, syntax)
                self.add(LOAD, syntax, "s", [documents.load_s(file) for _ in self._counts()][1:])
            taken = [
                await documents.submit_s(file, folder / f"data{n}")
                for n, _ in enumerate(self._counts())
            ]
            self.add(SUBMIT, "embedded", "s", taken[1:])

    async def measure_tasks(self) -> None:
        """(h): embedded, with as many slots as the targets have cores."""
        for system, is_warm in (("cold", False), ("warm", True)):
            with self.scratch() as folder:
                nothing = tasks.flow(folder, tasks.NO_OP)
                async with tasks.embedded(folder / "data", 2, is_warm=is_warm) as fleet:
                    taken = [await tasks.no_op_ms(fleet, nothing) for _ in self._counts()]
                    self.add(NO_OP, system, "ms", taken[1:])
        with self.scratch() as folder:
            travel, squares = (tasks.flow(folder, text) for text in (tasks.XCOMS, tasks.MAPPED))
            async with tasks.embedded(folder / "data", 2, is_warm=True) as fleet:
                taken = [await tasks.round_trips_s(fleet, travel) for _ in self._counts()]
                self.add(ROUND_TRIPS, "warm", "s", taken[1:])
                taken = [await duration_s(fleet, squares) for _ in self._counts()]
                self.add(MAPPED, "warm", "s", taken[1:])

    async def measure_bytes(self) -> None:
        """(h): once each; a second time the artifact would be known already."""
        with self.scratch() as folder:
            file = carrying.make_file(folder)
            plain_s, copied_s = carrying.write_s(folder / "plain"), carrying.copy_s(file)
            (folder / "plain").unlink()
            async with separate(folder / "data", 2) as fleet:
                log = await carrying.log_of_a_gib(fleet)
                artifact = await carrying.artifact_of_a_gib(fleet, file)
        self.add(LOG_JOB, "separate", "x", [log.job_s / plain_s])
        self.add(LOG_ARRIVED, "separate", "s", [log.whole_s])
        self.add(ARTIFACT, "separate", "%", [100 * copied_s / artifact.whole_s])
        self.add(CARRYING, "log", "MiB", [log.worker_mib])
        self.add(CARRYING, "artifact", "MiB", [artifact.worker_mib])

    async def measure_waits(self) -> None:
        """(h): time, a while, another job, a person, a file, a fifth of them each."""
        costs = []
        for _ in range(self._runs):
            with self.scratch() as folder:
                costs.append(await waits.cost(folder))
        self.add(WAITS_HOLD, "jobstore", "MiB", [one.memory_mib for one in costs])
        self.add(WAITS_COST, "jobstore", "%", [one.core_percent for one in costs])

    async def measure_undisturbed(self) -> None:
        """Against two to five milliseconds that a job takes."""
        with self.scratch() as folder:
            points = await undisturbed.points_of_a_job(folder)
        taken = [await undisturbed.off_us(points) for _ in self._counts()][1:]
        self.add(POINTS_OFF, "embedded", "µs", taken, f", {points:.0f} points")

    def measure_others(self) -> None:
        """The same shapes without a job system."""
        with self.scratch() as folder, noting(folder) as stamps:
            self._add_latency(
                "bare sh -c",
                [
                    others.bare_shell(stamps, count, first=self._next(count))
                    for count in self._counts(SAMPLES)
                ][1:],
            )
        for processes in (2, 8):
            taken = [others.xargs_s(JOBS, processes) for _ in self._counts()][1:]
            self.add(THROUGHPUT, f"xargs -P{processes}", "jobs/s", [JOBS / s for s in taken])
        with self.scratch() as folder:
            make = "make -j2"
            taken = [others.make_independent_s(folder, JOBS) for _ in self._counts()][1:]
            self.add(THROUGHPUT, make, "jobs/s", [JOBS / s for s in taken])
            taken = [others.make_chain_s(folder, HOPS) for _ in self._counts()][1:]
            self.add(CHAIN, make, "ms", [s / HOPS * 1_000 for s in taken])
            taken = [others.make_layered_s(folder, LAYERS, WIDTH) for _ in self._counts()][1:]
            self.add(LAYERED, make, "s", taken)

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """A folder of its own, on the disk that is measured."""
        with tempfile.TemporaryDirectory(prefix="drawbar-bench-", dir=self._folder) as name:
            yield Path(name)

    def _add_latency(self, system: str, found: list[Latency]) -> None:
        self.add(LATENCY, system, "ms", [one.p50_ms for one in found])
        self.add(LATENCY_P99, system, "ms", [one.p99_ms for one in found])

    def _counts(self, count: int = 1) -> list[int]:
        """`count` for each repetition, and for the warm-up before them."""
        return [count] * (self._runs + 1)

    def _next(self, count: int) -> int:
        self._sample += count
        return self._sample - count


def _wall_s(words: list[str]) -> float:
    began = time.perf_counter()
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    return time.perf_counter() - began


def main() -> None:
    asked = _parser().parse_args()
    collect_seldom()  # as `drawbar` does
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        cache_logger_on_first_use=True,  # as shared/logs.py has it
    )
    bench = Bench(asked.folder, asked.runs, asked.slots)
    with bench.scratch() as folder:
        here = machine(others.fsync_ms(folder))
    console.print(", ".join(f"{name} {value}" for name, value in here.items()))
    if os.getloadavg()[0] > BUSY:
        console.print("[yellow]this machine is busy with something else: expect less[/]")
    console.print(f"beside it, for the same shapes: {others.XARGS.format(jobs=JOBS, processes=2)}")
    console.print(f"  and {others.MAKE.format(makefile='FILE')}, of rules like: {others.RULE!r}")
    if "others" in asked.only:
        bench.measure_others()
    for system in FLEETS:
        if system in asked.only:
            asyncio.run(bench.measure_fleet(system))
    if "memory" in asked.only:
        asyncio.run(bench.measure_memory())
    if "sleepers" in asked.only:
        asyncio.run(bench.measure_sleepers())
    if "surviving" in asked.only:
        asyncio.run(bench.measure_surviving())
    if "run" in asked.only:
        bench.measure_one_job()
    if "documents" in asked.only:
        asyncio.run(bench.measure_documents())
    if "bytes" in asked.only:
        asyncio.run(bench.measure_bytes())
    if "tasks" in asked.only:
        asyncio.run(bench.measure_tasks())
    order = [
        LATENCY,
        LATENCY_P99,
        THROUGHPUT,
        CHAIN,
        LAYERED,
        MEMORY,
        SLEEPING,
        SURVIVING,
        ONE_JOB,
        LOAD,
        SUBMIT,
        LOG_JOB,
        LOG_ARRIVED,
        ARTIFACT,
        CARRYING,
    ]
    if "waits" in asked.only:
        asyncio.run(bench.measure_waits())
    if "undisturbed" in asked.only:
        asyncio.run(bench.measure_undisturbed())
    order += [POINTS_OFF, NO_OP, ROUND_TRIPS, MAPPED, WAITS_HOLD, WAITS_COST]
    rows = sorted(bench.rows, key=lambda row: order.index(row.what))
    print_table(rows, console)
    write_json(asked.json, rows, here)
    console.print(f"also in {asked.json}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parts = [
        *FLEETS,
        "memory",
        "sleepers",
        "surviving",
        "run",
        "documents",
        "bytes",
        "tasks",
        "waits",
        "undisturbed",
        "others",
    ]
    parser.add_argument("--runs", type=int, default=3, help="repetitions that count (default 3)")
    parser.add_argument(
        "--slots",
        type=lambda text: [int(part) for part in text.split(",")],
        default=[2, 8, 32],
        metavar="N,…",
        help="how many jobs a worker runs at a time (default 2,8,32)",
    )
    parser.add_argument(
        "--only", nargs="+", choices=parts, default=parts, help="leave out the rest"
    )
    parser.add_argument(
        "--folder", type=Path, help="where data directories are made (default: the system's)"
    )
    parser.add_argument(
        "--json",
        type=Path,
        default=Path(__file__).parent / "results" / "latest.json",
        help="where the numbers go",
    )
    return parser


if __name__ == "__main__":
    main()
