"""Every status as a symbol, a colour and an order. One place, so that all views look the same."""

from collections.abc import Mapping
from typing import Final, NamedTuple


class Look(NamedTuple):
    symbol: str
    style: str  # rich's words


_GOOD: Final = Look("✔", "green")
_BAD: Final = Look("✘", "red")
_BUSY: Final = Look("●", "cyan")
_WAITS: Final = Look("○", "dim")
_STOPPED: Final = Look("■", "yellow")

# In the order in which counts are listed: what needs a look first, then what moves, then the rest.
LOOKS: Final[Mapping[str, Look]] = {
    "failed": _BAD,
    "timeout": _BAD,
    "precheck_failed": _BAD,
    "postcheck_failed": _BAD,
    "cancelled": _STOPPED,
    "running": _BUSY,
    "claimed": _BUSY,
    "retrying": Look("↻", "yellow"),
    "deferred": Look("◔", "cyan"),
    "rescheduled": Look("◔", "cyan"),
    "queued": _WAITS,
    "held": Look("◌", "dim"),
    "blocked": _WAITS,
    "pending": _WAITS,
    "skipped": Look("·", "dim"),
    "success": _GOOD,
    # workers
    "Working": _BUSY,
    "readyForWork": _GOOD,
    "draining": Look("↓", "yellow"),
    "paused": Look("‖", "yellow"),
    "offline": _BAD,
    # attempts
    "reported": _GOOD,
    "refused": _STOPPED,
    "lapsed": _STOPPED,
    "lost": _BAD,
    # backfills and notifications
    "done": _GOOD,
    "sent": _GOOD,
    "waiting": Look("↻", "yellow"),
}
_UNKNOWN: Final = Look("?", "")  # a newer service's word


def look(status: str) -> Look:
    return LOOKS.get(status, _UNKNOWN)


def in_order(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    """(status, number) of those that are not zero."""
    rank = {status: n for n, status in enumerate(LOOKS)}
    present = [(status, n) for status, n in counts.items() if n]
    return sorted(present, key=lambda item: (rank.get(item[0], len(rank)), item[0]))
