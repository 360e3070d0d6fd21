"""Many seeds, or all crash points, on as many processes as are wanted; in order, as they come."""

import gc
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from multiprocessing import get_context
from typing import Final, TypeVar

from simulation.sweep import CrashPoint, moments, points, sweep
from simulation.universe import Mode, Verdict, run_seed

T = TypeVar("T")
A = TypeVar("A")

POINTS_AT_ONCE: Final = 24


@dataclass(frozen=True, slots=True)
class Universe:
    """What is run."""

    seed: int
    mode: Mode


def warm_up() -> None:
    """What every universe uses is loaded, and the collector need not look at it each time."""
    moments()
    gc.collect()
    gc.collect()  # what the first one finalised
    gc.freeze()


def run_universe(universe: Universe) -> Verdict:
    return run_seed(universe.seed, mode=universe.mode)


def run_all(universes: Iterable[Universe], jobs: int) -> Iterator[Verdict]:
    """The verdicts, in the order of the universes."""
    with _hands(jobs) as run:
        yield from run(run_universe, universes)


def sweep_all(count: int, jobs: int, story: str = "commands") -> Iterator[dict[str, list[str]]]:
    """What was broken, portion by portion, at the `count` moments of the story."""
    with _hands(jobs) as run:
        yield from run(sweep, _portions(points(count, story)))


def _portions(chosen: Iterator[CrashPoint]) -> Iterator[Sequence[CrashPoint]]:
    while portion := tuple(islice(chosen, POINTS_AT_ONCE)):
        yield portion


@contextmanager
def _hands(jobs: int) -> Iterator[Callable[[Callable[[A], T], Iterable[A]], Iterator[T]]]:
    """Something like `map`. Interpreters of their own: nothing of one run is in another."""
    if jobs == 1:
        warm_up()
        yield map
        return
    with ProcessPoolExecutor(
        max_workers=jobs, mp_context=get_context("spawn"), initializer=warm_up
    ) as pool:
        yield pool.map
