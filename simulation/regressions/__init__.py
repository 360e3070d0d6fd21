"""Seeds that once broke a promise: they are run before all others, for ever.

`seeds.txt` has one on each line: its number, its mode, and what it had found. What happens in a
seed changes with the simulation itself, so the line also says with which commit it was kept.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from simulation.universe import Mode

KEPT: Final = Path(__file__).with_name("seeds.txt")


@dataclass(frozen=True, slots=True)
class Kept:
    seed: int
    mode: Mode
    note: str  # the commit, and what was broken


def kept_seeds(path: Path = KEPT) -> list[Kept]:
    """In the order in which they were found."""
    lines = [line for line in path.read_text().splitlines() if line and line[0] != "#"]
    found = []
    for line in lines:
        seed, mode, note = line.split(maxsplit=2)
        found.append(Kept(int(seed), Mode(mode), note))
    return found


def keep_seed(kept: Kept, path: Path = KEPT) -> None:
    """It is run from now on. Nothing happens when it is already."""
    if all((k.seed, k.mode) != (kept.seed, kept.mode) for k in kept_seeds(path)):
        with path.open("a") as file:
            file.write(f"{kept.seed} {kept.mode} {kept.note}\n")
