"""P1: a cancellation that was acknowledged ends what it was asked to end."""

from collections import defaultdict
from collections.abc import Iterator

from faults.judging.entry import OK
from faults.judging.evidence import Evidence


def cancelled(e: Evidence) -> Iterator[str]:
    """I2. A job that was claimed after its end was asked for, or went on without a word."""
    since: dict[tuple[int, str | None], int] = {}
    for entry in e.events("cancelled"):
        since.setdefault((entry.facts["run"], entry.facts["job"]), entry.n)

    def is_cancelled(run: int, job: str, at: int) -> bool:
        return any(since.get(key, at) < at for key in ((run, None), (run, job)))

    asked: dict[str, int] = defaultdict(int)  # by process: when its last answered poll was sent
    for entry in e.entries:
        if (entry.op, entry.phase) == ("poll", OK):
            asked[entry.who] = entry.call
        elif (entry.op, entry.phase) == ("claim", "event"):
            run, job = entry.facts["run"], entry.facts["job"]
            if is_cancelled(run, job, asked[entry.who]):
                yield f"{(run, job)} was claimed by {entry.who} after it was cancelled"
        elif (entry.op, entry.phase) == ("heartbeat", OK):
            for attempt in set(entry.facts["renewed"]) - set(entry.facts.get("to_stop", ())):
                of = e.of.get(attempt)
                if of is not None and is_cancelled(*of.key, entry.call):
                    yield f"{attempt} of {of.key} was cancelled, and its worker is not told"
