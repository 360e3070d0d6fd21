"""What may keep a worker from doing in time what it has to do: then nobody is to blame."""

from collections.abc import Sequence
from typing import Final

from faults.judging.evidence import Evidence

# Their facts name the machine.
KINDS: Final = ("fault", "killed_at_point", "pause", "superseded", "left", "gave_up")

LASTS: Final = "skew_clock"

Disturbance = tuple[float, str]  # when, and whom it hit


def disturbances(e: Evidence) -> list[Disturbance]:
    """All that there were."""
    return [(entry.at, str(entry.facts)) for op in KINDS for entry in e.events(op)]


def is_disturbed(found: Sequence[Disturbance], machine: str, since: float, until: float) -> bool:
    """Whether any of them hit the machine meanwhile. A clock that goes wrong goes on so."""
    return any(
        (since <= at or LASTS in facts) and at <= until and machine in facts for at, facts in found
    )
