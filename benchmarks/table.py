"""What was measured, beside what was aimed at: as a table for people, as JSON for later."""

import json
import os
import platform
import sqlite3
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True)
class Target:
    """What was aimed at on a machine with two cores."""

    value: float
    more_is_better: bool = False

    def is_met_by(self, value: float) -> bool:
        return value >= self.value if self.more_is_better else value <= self.value

    def __str__(self) -> str:
        return f"{'≥' if self.more_is_better else '≤'} {self.value:g}"


@dataclass(frozen=True, slots=True)
class Row:
    """One measurement of one system: the median counts."""

    what: str
    system: str
    unit: str
    runs: tuple[float, ...]
    target: Target | None = None

    @property
    def value(self) -> float:
        return median(self.runs)

    @property
    def is_met(self) -> bool | None:
        return None if self.target is None else self.target.is_met_by(self.value)


def print_table(rows: Sequence[Row], console: Console) -> None:
    """Rows in order, a rule between measurements."""
    table = Table(title="drawbar beside xargs and make: medians", expand=True)
    for name, justify in (
        ("measurement", "left"),
        ("system", "left"),
        ("result", "right"),
        ("runs", "right"),
        ("target", "right"),
        ("", "left"),
    ):
        table.add_column(name, justify=justify)  # type: ignore[arg-type]  # one of its literals
    last = ""
    for row in rows:
        if last and row.what != last:
            table.add_section()
        runs = f"{number(min(row.runs))} … {number(max(row.runs))}" if len(row.runs) > 1 else ""
        table.add_row(
            row.what if row.what != last else "",
            row.system,
            f"{number(row.value)} {row.unit}",
            runs,
            str(row.target or ""),
            {True: "[green]reached[/]", False: "[red]not reached[/]", None: ""}[row.is_met],
        )
        last = row.what
    console.print(table)


def number(value: float) -> str:
    """Three digits that count."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def write_json(path: Path, rows: Sequence[Row], machine: dict[str, object]) -> None:
    """Everything that was measured, run by run."""
    path.parent.mkdir(parents=True, exist_ok=True)
    results = [asdict(row) | {"value": row.value, "is_met": row.is_met} for row in rows]
    path.write_text(json.dumps({"machine": machine, "results": results}, indent=1) + "\n")


def machine(fsync_ms: float) -> dict[str, object]:
    """Where and with what it was measured."""
    return {
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "fsync_ms": round(fsync_ms, 3),
        "load": round(os.getloadavg()[0], 2),  # of others: nothing was started yet
        "revision": _revision(),
    }


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def _revision() -> str:
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return done.stdout.strip()
