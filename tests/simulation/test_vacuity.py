"""A batch that saw too little is not believed, and one that is too small is not judged so."""

from collections import Counter

from simulation.nemesis import FAULTS
from simulation.universe import Mode, Verdict
from simulation.vacuity import LEAST, LEAST_OF_EACH_FAULT, PER, Tally


def a_universe(**counts: int) -> Verdict:
    """One that saw more than enough of everything, but for `counts`."""
    faults = Counter({kind: LEAST_OF_EACH_FAULT for kind, _ in FAULTS})
    return Verdict(0, faults=faults, counts=Counter({**LEAST, **counts}))


def tally_of(*verdicts: Verdict) -> Tally:
    tally = Tally()
    for verdict in verdicts:
        tally.add(verdict)
    return tally


def test_a_batch_that_saw_enough_is_believed() -> None:
    assert tally_of(*[a_universe()] * PER).shortfalls() == []


def test_a_batch_without_any_late_result_is_not() -> None:
    batch = [a_universe(**{"finish.StaleFence": 0})] * PER

    assert tally_of(*batch).shortfalls() == [
        "finish.StaleFence happened 0 times in 100 universes, 50 is the least"
    ]


def test_a_fault_that_never_struck_is_named() -> None:
    batch = [Verdict(0, counts=Counter(LEAST))] * PER

    assert len(tally_of(*batch).shortfalls()) == len(dict(FAULTS))


def test_a_small_batch_is_not_judged_by_what_it_saw() -> None:
    assert tally_of(*[Verdict(0)] * (PER - 1)).shortfalls() == []


def test_universes_in_which_something_never_heals_do_not_count() -> None:
    assert tally_of(*[Verdict(0, mode=Mode.LIVENESS)] * PER).shortfalls() == []
