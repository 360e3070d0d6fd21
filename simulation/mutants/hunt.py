"""Looks for the first seed in which a planted bug is caught, and then for the first crash point."""

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from simulation.mutants.catalogue import MUTANTS
from simulation.sweep import moments, points, sweep
from simulation.universe import run_seed

MOST_SEEDS: Final = 200


@dataclass(frozen=True, slots=True)
class Caught:
    """Where a bug was found, and by what; nowhere: it can hide from the checker."""

    name: str
    where: str | None
    breach: str = ""

    def __str__(self) -> str:
        if self.where is None:
            return f"{self.name}: NOT CAUGHT"
        return f"{self.name}: caught {self.where}, by {self.breach}"


def hunt(name: str, seeds: Iterable[int] = range(MOST_SEEDS), *, sweeps: bool = True) -> Caught:
    """The first of `seeds` that goes wrong with the bug in place, or else the first kill."""
    with MUTANTS[name]():
        for where, violations in _places(seeds, sweeps=sweeps):
            if violations:
                return Caught(name, where, violations[0])
    return Caught(name, None)


def hunt_quietly(name: str, seeds: Iterable[int], *, sweeps: bool = True) -> Caught:
    """The same for a process of its own: what services log of the bug is of no interest."""
    logging.disable(logging.CRITICAL)
    return hunt(name, seeds, sweeps=sweeps)


def _places(seeds: Iterable[int], *, sweeps: bool) -> Iterator[tuple[str, list[str]]]:
    for seed in seeds:
        try:
            violations = run_seed(seed).violations
        except Exception as error:  # it was so wrong that the end could not be read
            violations = [f"the universe fell apart: {error!r}"]
        yield f"at seed {seed}", violations
    if not sweeps:
        return
    for point in points(len(moments())):
        for killed, violations in sweep([point]).items():
            yield f"with {killed} killed", violations
