"""P3: a service that lost its power says afterwards what it said before."""

from collections.abc import Iterator

from faults.judging.evidence import Evidence


def replayed(e: Evidence) -> Iterator[str]:
    """I15. Something that is otherwise, or gone, after a loss of power when all was over."""
    again = e.final.again
    if again is None:
        return
    for what in ("runs", "attempts", "events", "logs", "artifacts"):
        before, after = getattr(e.final, what), getattr(again, what)
        for key in before:
            if after.get(key) != before[key]:
                yield f"{what} of {key} are others after a loss of power"
