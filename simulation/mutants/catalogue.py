"""Every bug that we know how to plant, and the seed at which it was last seen to be caught."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Final

from simulation.mutants import (
    commits,
    fences,
    graph,
    incarnations,
    leases,
    logs,
    queue,
    receipts,
    tasks,
    tries,
    workers,
)

Plant = Callable[[], AbstractContextManager[None]]

AREAS: Final = (
    commits,
    fences,
    leases,
    queue,
    tries,
    graph,
    receipts,
    tasks,
    logs,
    workers,
    incarnations,
)
MUTANTS: Final[dict[str, Plant]] = {
    plant.__name__: plant for area in AREAS for plant in area.MUTANTS
}


def says(name: str) -> str:
    """What is wrong with the system while this bug is in it."""
    return " ".join((MUTANTS[name].__doc__ or "").split())
