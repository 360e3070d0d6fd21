"""The real services keep their promises in simulated universes, and planted bugs are caught."""

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest

from simulation.mutants.catalogue import MUTANTS
from simulation.nemesis import FAULTS
from simulation.universe import Verdict, run_seed

# Twenty seeds take 10 s on two idle cores; a busy machine may need a while.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

SEEDS = range(20)
DETERMINISM_SEEDS = range(3)


@pytest.fixture(scope="module")
def pool() -> Iterator[ProcessPoolExecutor]:
    with ProcessPoolExecutor(max_workers=2, mp_context=get_context("spawn")) as pool:
        yield pool


@pytest.fixture(scope="module")
def verdicts(pool: ProcessPoolExecutor) -> list[Verdict]:
    return list(pool.map(run_seed, SEEDS))


@pytest.fixture(scope="module")
def counts(verdicts: list[Verdict]) -> Counter[str]:
    return sum((verdict.counts for verdict in verdicts), Counter())


def test_no_seed_breaks_a_promise(verdicts: list[Verdict]) -> None:
    broken = {verdict.seed: verdict.violations for verdict in verdicts if not verdict.is_good}

    assert broken == {}


def test_every_seed_is_another_universe(verdicts: list[Verdict]) -> None:
    assert len({verdict.digest for verdict in verdicts}) == len(SEEDS)


def test_every_kind_of_fault_struck_again_and_again(verdicts: list[Verdict]) -> None:
    faults = sum((verdict.faults for verdict in verdicts), Counter[str]())

    for kind, _ in FAULTS:
        assert faults[kind] >= 10, kind


def test_the_promises_were_put_to_the_test(counts: Counter[str]) -> None:
    # Without these a flawless verdict would say nothing.
    assert counts["finish.ok"] >= 300
    assert counts["finish.StaleFence"] >= 5
    assert counts["run.StaleFence"] >= 3
    assert counts["refuse.ok"] >= 3
    assert counts["killed_at_point"] >= 20
    assert counts["cancelled"] >= 5
    assert counts["lost_bytes"] > 0
    for op in ("submit", "poll", "run", "finish"):
        assert counts[f"{op}.Unavailable"] >= 10, op


def digests(hash_seed: str) -> list[str]:
    seeds = f"{DETERMINISM_SEEDS.start}:{DETERMINISM_SEEDS.stop}"
    printed = subprocess.run(
        [sys.executable, "-m", "simulation", "--seeds", seeds],
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        check=True,
        capture_output=True,
        text=True,
        timeout=55,
    ).stdout
    return [line.split()[1] for line in printed.splitlines()]


def test_two_interpreters_live_through_the_same_seeds_step_by_step(
    pool: ProcessPoolExecutor, verdicts: list[Verdict]
) -> None:
    one, other = pool.map(digests, ("1", "2"))

    assert one == other
    assert one == [f"digest={verdicts[seed].digest}" for seed in DETERMINISM_SEEDS]


def first_seed_that_catches(mutant: str) -> int | None:
    with MUTANTS[mutant]():
        return next((seed for seed in SEEDS if not run_seed(seed).is_good), None)


def test_each_planted_bug_is_caught(pool: ProcessPoolExecutor) -> None:
    caught = dict(zip(MUTANTS, pool.map(first_seed_that_catches, MUTANTS), strict=True))

    # It is the bug that is caught: the same seeds are good without it.
    assert None not in caught.values(), caught
