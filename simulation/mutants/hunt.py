"""Looks for the first seed in which a planted bug is caught."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from simulation.mutants.catalogue import MUTANTS
from simulation.universe import run_seed

MOST_SEEDS: Final = 200


@dataclass(frozen=True, slots=True)
class Caught:
    """Where a bug was found, and by what; nowhere: it can hide from the checker."""

    name: str
    seed: int | None
    tried: int
    breach: str

    def __str__(self) -> str:
        if self.seed is None:
            return f"{self.name}: NOT CAUGHT in {self.tried} seeds"
        return f"{self.name}: caught at seed {self.seed}, by {self.breach}"


def hunt(name: str, seeds: Iterable[int] = range(MOST_SEEDS)) -> Caught:
    """The first of `seeds` that goes wrong with the bug in place."""
    tried = 0
    with MUTANTS[name]():
        for seed in seeds:
            tried += 1
            try:
                violations = run_seed(seed).violations
            except Exception as error:  # it was so wrong that the end could not be read
                violations = [f"the universe fell apart: {error!r}"]
            if violations:
                return Caught(name, seed, tried, violations[0])
    return Caught(name, None, tried, "")


def hunt_quietly(name: str, seeds: Iterable[int]) -> Caught:
    """The same for a process of its own: what services log of the bug is of no interest."""
    logging.disable(logging.CRITICAL)
    return hunt(name, seeds)
