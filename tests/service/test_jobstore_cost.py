"""What the end of a job costs does not grow with its run, nor with what waits for the same lock.

Counted in steps of SQLite's virtual machine, which are the same on every machine.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shared.protocol.pipeline import JobSpec
from shared.sqlite import Tx
from tests.support.jobstore import a_job, hands_on

SMALL, BIG = 30, 1_500
GROWTH = 1.3  # what deeper indices may cost


def flat(count: int) -> list[JobSpec]:
    return [a_job(f"j{n}") for n in range(count)]


def chained(count: int) -> list[JobSpec]:
    return [a_job(f"j{n}", needs=[f"j{n - 1}"] if n else []) for n in range(count)]


def locked(count: int) -> list[JobSpec]:
    return [a_job(f"j{n}", lock="db") for n in range(count)]


def watched(count: int) -> list[JobSpec]:
    return [*flat(count), *(a_job(f"w{n}", when="always") for n in range(count))]


def into_one(count: int) -> list[JobSpec]:
    return [*flat(count), a_job("last", needs=[f"j{n}" for n in range(count)])]


SHAPES: dict[str, tuple[Callable[[int], list[JobSpec]], dict[str, Any]]] = {
    "flat": (flat, {}),
    "held for room": (flat, {"max_workers": 2}),
    "chained": (chained, {}),
    "one lock": (locked, {}),
    "one lock and little room": (locked, {"max_workers": 2}),
    "watched": (watched, {"max_workers": 2}),
    "into one": (into_one, {"max_workers": 2}),
    "would stop": (flat, {"on_error": "stop"}),
}


@pytest.mark.parametrize("shape", SHAPES)
async def test_the_end_of_a_job_costs_the_same_in_any_run(tmp_path: Path, shape: str) -> None:
    make, pipeline = SHAPES[shape]
    steps = []
    for count in (SMALL, BIG):
        async with hands_on(tmp_path / str(count)) as hands:
            await hands.submit(*make(count), **pipeline)
            for _ in range(5):
                await hands.do()
            claim = await hands.start()
            counter = _Counter()
            await hands.service._store.database.write(counter.watch)
            await hands.finish(claim)
            steps.append(counter.steps)

    assert steps[1] < steps[0] * GROWTH


class _Counter:
    """Counts the steps of the connection that writes, from when it watches."""

    def __init__(self) -> None:
        self.steps = 0

    def watch(self, tx: Tx) -> None:
        tx.conn.set_progress_handler(self._step, 1)

    def _step(self) -> int:
        self.steps += 1
        return 0
