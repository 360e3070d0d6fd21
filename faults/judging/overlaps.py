"""P6: a worker that was cut off stops its job before another may start it."""

from collections import defaultdict
from collections.abc import Iterator

from faults.judging.disturbances import disturbances, is_disturbed
from faults.judging.entry import OK, Entry
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


def obeyed(e: Evidence) -> Iterator[str]:
    """I8. A process that ran on when its worker had heard that it has to stop."""
    if e.stop_s is None:
        return
    disturbed = disturbances(e)
    ended_at = {entry.facts["attempt"]: entry.at for entry in e.events("exit")}
    told: set[str] = set()
    for entry in e.by_op["heartbeat", OK]:
        machine = entry.who.split(".")[0]
        for attempt in (*entry.facts.get("gone", ()), *entry.facts.get("to_stop", ())):
            end = ended_at.get(attempt, entry.at)
            late = end > entry.at + e.stop_s
            if attempt in told or not late or is_disturbed(disturbed, machine, entry.at, end):
                continue
            told.add(attempt)
            yield f"{attempt} ran for {end - entry.at:.1f} s after {entry.who} was told to stop it"
