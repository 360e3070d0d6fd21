"""P5 and spacing: a job that a worker refused is not offered to it again at once."""

from collections.abc import Iterator

from faults.judging.entry import INVOKED, OK, Entry
from faults.judging.evidence import Evidence


def rests(e: Evidence) -> Iterator[str]:
    """I12. A worker that was given a job that it had refused a moment before."""
    if e.rest_s is None:
        return
    restarts = [
        entry.at
        for op, of_whom in (
            ("fault", "target"),
            ("killed_at_point", "node"),
            ("gave_up", "process"),
        )
        for entry in e.events(op)
        if "jobstore" in str(entry.facts.get(of_whom))
    ]
    asked: dict[str, Entry] = {}  # first: any answer may have been lost, and the rest began
    for entry in e.by_op["refuse", INVOKED]:
        asked.setdefault(entry.facts["attempt"], entry)
    refused: dict[tuple[str, int, str], float] = {}
    for entry in e.entries:
        if (entry.op, entry.phase) == ("refuse", OK):
            of = e.of.get(entry.facts["attempt"])
            if of is not None:
                refused[entry.who, of.run, of.job] = asked[entry.facts["attempt"]].at
        elif (entry.op, entry.phase) == ("claim", "event"):
            job = (entry.who, entry.facts["run"], entry.facts["job"])
            since = refused.get(job, float("-inf"))
            if entry.at - since < e.rest_s and not any(since <= at <= entry.at for at in restarts):
                yield f"{job[1:]} was given to {entry.who} {entry.at - since:.1f} s after a refusal"
