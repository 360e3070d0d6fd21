"""The same shapes with xargs and make on the same machine, and what a bare shell takes."""

import os
import shlex
import subprocess
import time
from pathlib import Path

from benchmarks.measures import Latency
from benchmarks.shapes import needs_of
from benchmarks.stamps import Stamps

XARGS = "seq {jobs} | xargs -P{processes} -n1 sh -c true"
RULE = "@true > $@"  # a stamp file: what make knows of a job that is done
MAKE = "make --no-print-directory -s -j2 -f {makefile} all"


def bare_shell(stamps: Stamps, samples: int, *, first: int) -> Latency:
    """From before a `sh -c` is started by Python until it does its first thing."""
    taken_ms = []
    for sample in range(first, first + samples):
        words = ["sh", "-c", f"echo {sample} > {stamps.fifo}"]
        began = time.monotonic_ns()
        process = subprocess.Popen(words)
        taken_ms.append((stamps.wait_for(sample) - began) / 1e6)
        process.wait()
        time.sleep(0.005)
    return Latency.of(taken_ms)


def xargs_s(jobs: int, processes: int) -> float:
    """Seconds for independent jobs."""
    return _timed(XARGS.format(jobs=jobs, processes=processes), Path.cwd())


def make_independent_s(folder: Path, jobs: int) -> float:
    return _make_s(folder, {f"j{n}": [] for n in range(jobs)})


def make_chain_s(folder: Path, hops: int) -> float:
    return _make_s(folder, {f"j{n}": [f"j{n - 1}"] if n else [] for n in range(hops)})


def make_layered_s(folder: Path, layers: int, width: int) -> float:
    return _make_s(
        folder,
        {f"l{y}j{x}": needs_of(y, x, width) for y in range(layers) for x in range(width)},
    )


def fsync_ms(folder: Path) -> float:
    """The median of 200 times 512 bytes, written and synced: what durability costs here."""
    taken = []
    with (folder / "fsync").open("wb", buffering=0) as file:
        for _ in range(200):
            began = time.perf_counter()
            file.write(b"x" * 512)
            os.fsync(file.fileno())
            taken.append(time.perf_counter() - began)
    return sorted(taken)[len(taken) // 2] * 1_000


def _make_s(folder: Path, needs: dict[str, list[str]]) -> float:
    for old in folder.iterdir():
        old.unlink()
    rules = [f"{name}: {' '.join(of)}\n\t{RULE}\n" for name, of in needs.items()]
    makefile = folder / "Makefile"
    makefile.write_text(f"all: {' '.join(needs)}\n{''.join(rules)}")
    return _timed(MAKE.format(makefile=shlex.quote(str(makefile))), folder)


def _timed(command: str, folder: Path) -> float:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    began = time.perf_counter()
    subprocess.run(["sh", "-c", command], cwd=folder, env=environ, check=True)
    return time.perf_counter() - began
