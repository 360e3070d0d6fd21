"""The real services keep their promises in simulated universes."""

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest

from simulation.batch import Universe, run_universe, warm_up
from simulation.nemesis import FAULTS, ILLS
from simulation.regressions import kept_seeds
from simulation.universe import Mode, Verdict
from simulation.vacuity import Tally

# Two hundred seeds take 50 s on two idle cores; a busy machine may need a while.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

SEEDS = range(150)
LIVENESS_SEEDS = range(50)
DETERMINISM_SEEDS = range(10)


@pytest.fixture(scope="module")
def pool() -> Iterator[ProcessPoolExecutor]:
    with ProcessPoolExecutor(
        max_workers=2, mp_context=get_context("spawn"), initializer=warm_up
    ) as pool:
        yield pool


@pytest.fixture(scope="module")
def verdicts(pool: ProcessPoolExecutor) -> list[Verdict]:
    universes = [Universe(seed, Mode.SAFETY) for seed in SEEDS]
    return list(pool.map(run_universe, universes, chunksize=5))


@pytest.fixture(scope="module")
def living(pool: ProcessPoolExecutor) -> list[Verdict]:
    universes = [Universe(seed, Mode.LIVENESS) for seed in LIVENESS_SEEDS]
    return list(pool.map(run_universe, universes, chunksize=5))


@pytest.fixture(scope="module")
def counts(verdicts: list[Verdict]) -> Counter[str]:
    return sum((verdict.counts for verdict in verdicts), Counter())


def broken(verdicts: list[Verdict]) -> dict[int, list[str]]:
    return {verdict.seed: verdict.violations for verdict in verdicts if not verdict.is_good}


def test_no_seed_that_once_broke_a_promise_does_so_again(pool: ProcessPoolExecutor) -> None:
    universes = [Universe(kept.seed, kept.mode) for kept in kept_seeds()]

    assert broken(list(pool.map(run_universe, universes))) == {}


def test_no_seed_breaks_a_promise(verdicts: list[Verdict]) -> None:
    assert broken(verdicts) == {}


def test_with_one_healthy_worker_everything_ends_in_time(living: list[Verdict]) -> None:
    assert broken(living) == {}


def test_every_ill_that_never_heals_was_among_them(living: list[Verdict]) -> None:
    faults = sum((verdict.faults for verdict in living), Counter[str]())

    for ill in ILLS:
        assert faults[f"sick_{ill}"] >= 5, ill


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
    assert counts["lost_outbox_bytes"] > 0
    assert counts["took_up"] >= 50  # attempts that an earlier worker had begun
    assert counts["left"] >= 50
    assert counts["injected"] >= 500
    for op in ("submit", "poll", "run", "finish"):
        assert counts[f"{op}.Unavailable"] >= 10, op


def test_enough_was_seen_for_the_verdicts_to_be_believed(verdicts: list[Verdict]) -> None:
    tally = Tally()
    for verdict in verdicts:
        tally.add(verdict)

    assert tally.shortfalls() == []


def digests(hash_seed: str) -> list[str]:
    seeds = f"{DETERMINISM_SEEDS.start}:{DETERMINISM_SEEDS.stop}"
    printed = subprocess.run(
        [sys.executable, "-m", "simulation", "--seeds", seeds],
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        check=True,
        capture_output=True,
        text=True,
        timeout=300,
    ).stdout
    return [line.split()[2] for line in printed.splitlines()]


def test_two_interpreters_live_through_the_same_seeds_step_by_step(
    pool: ProcessPoolExecutor, verdicts: list[Verdict]
) -> None:
    one, other = pool.map(digests, ("1", "2"))

    assert one == other
    assert one == [f"digest={verdicts[seed].digest}" for seed in DETERMINISM_SEEDS]
