"""P6: a worker that was cut off stops its job before another may start it."""

from collections import defaultdict
from collections.abc import Iterator

from faults.judging.entry import Entry
from faults.judging.evidence import Evidence


def overlaps(e: Evidence) -> Iterator[str]:
    """I8. Two processes of one job at once, unless the first one's worker was itself stopped."""
    ended_at = {entry.facts["attempt"]: entry.at for entry in e.events("exit")}
    paused = {entry.facts["process"] for entry in e.events("pause")}
    running: dict[tuple[int, str], list[Entry]] = defaultdict(list)
    for entry in e.events("spawn"):
        of = e.of.get(entry.facts["attempt"])
        if of is None:
            continue
        for earlier in running[of.key]:
            end = ended_at.get(earlier.facts["attempt"], float("inf"))
            if end > entry.at and earlier.who not in paused:
                old, new = earlier.facts["attempt"], entry.facts["attempt"]
                yield f"{old} still ran when {new} of the same job began"
        running[of.key].append(entry)
