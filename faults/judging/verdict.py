"""Every check, with the promise that it holds the system to and the invariants that it is of.

The numbers I1 to I15 are explained in docs/checker.md. Part of I12 and all of I14 are of whole
universes: that they come to an end, and are the same each time.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from faults.judging import (
    answers,
    cancels,
    deliveries,
    ends,
    event_log,
    leases,
    overlaps,
    processes,
    replay,
    rests,
    results,
    starts,
    tries,
    values,
    waits,
)
from faults.judging.evidence import Evidence

Judge = Callable[[Evidence], Iterator[str]]


@dataclass(frozen=True, slots=True)
class Check:
    """One way to find a broken promise."""

    promise: str
    invariants: tuple[str, ...]
    find: Judge


@dataclass(frozen=True, slots=True)
class Breach:
    """A broken promise, and what shows it."""

    promise: str
    invariants: tuple[str, ...]
    check: str
    what: str

    def __str__(self) -> str:
        return f"{self.promise}: {self.what}"


CHECKS: Final = (
    Check("P1", ("I1",), ends.submits),
    Check("P1", ("I2",), ends.ends),
    Check("P1", ("I11",), ends.seen_ends),
    Check("P1", ("I2",), event_log.last_words),
    Check("P1", ("I2",), event_log.stops),
    Check("P1", ("I5",), starts.order),
    Check("P1", ("I2",), cancels.cancelled),
    Check("P2", ("I3",), leases.grants),
    Check("P2", ("I3",), leases.rising_fences),
    Check("P2", ("I3",), leases.repeated_claims),
    Check("P2", ("I3",), event_log.repeated_polls),
    Check("P2", ("I4",), leases.superseded),
    Check("P2", ("I2", "I3"), event_log.walks),
    Check("P2", ("I3",), event_log.locks),
    Check("P2", ("I3",), event_log.room),
    Check("P2", ("I5",), results.earned),
    Check("P2", ("I5",), results.checked),
    Check("P2", ("I2",), waits.woken),
    Check("P2", ("I5",), waits.resumed),
    Check("P2", ("I10",), values.left),
    Check("P2", ("I8",), processes.once),
    Check("P3", ("I4",), results.receipts),
    Check("P3", ("I15",), replay.replayed),
    Check("P3", ("I10",), results.artifacts),
    Check("P4", ("I7",), starts.announced),
    Check("P4", ("I7",), starts.newest),
    Check("P5", ("I6",), tries.tries),
    Check("P5", ("I6",), tries.retries),
    Check("P5", ("I6",), tries.unbegun),
    Check("P5", ("I12",), rests.rests),
    Check("P5", ("I6",), tries.refusals),
    Check("P6", ("I8",), overlaps.overlaps),
    Check("P6", ("I8",), overlaps.obeyed),
    Check("P7", ("I9",), results.logs),
    Check("P7", ("I4",), deliveries.delivered),
    Check("P1", ("I12",), processes.in_time),
    Check("P8", ("I12",), processes.slots),
    Check("P10", ("I13",), answers.known_errors),
)


def judge(evidence: Evidence, checks: Sequence[Check] = CHECKS) -> list[Breach]:
    """Every broken promise. Empty: none was caught breaking."""
    return [
        Breach(check.promise, check.invariants, check.find.__name__, what)
        for check in checks
        for what in check.find(evidence)
    ]
