"""One line of what was seen from outside: a call, its answer, a process of a job, a fault.

Callers write it, never the code under test. A call is two entries, because what matters is what
was acknowledged before what was asked.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

INVOKED: Final = "invoked"
OK: Final = "ok"
FAILED: Final = "failed"  # for certain: it had no effect
UNKNOWN: Final = "unknown"  # a deadline, a broken connection: it may have had its effect
EVENT: Final = "event"


@dataclass(frozen=True, slots=True)
class Entry:
    """`call` is the place of the invocation that this completes."""

    n: int
    at: float
    who: str  # a process: name and incarnation
    op: str
    phase: str
    call: int
    facts: dict[str, Any]


def unanswered(entries: Sequence[Entry]) -> Counter[str]:
    """How often calls failed for certain, or were left in doubt."""
    return Counter(
        f"{entry.op}.{entry.facts['error']}"
        for entry in entries
        if entry.phase in (FAILED, UNKNOWN)
    )
