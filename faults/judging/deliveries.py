"""P7: what a worker has produced reaches the job service once it can be reached again."""

from collections import defaultdict
from collections.abc import Iterator

from faults.judging.entry import FAILED, OK
from faults.judging.evidence import Evidence

# After these a worker may not know any more what it has to report.
TAKES_MEMORY = ("cut_power", "hurt_disk")
# The worker asks again, when it has another token.
NO_ANSWERS = ("Unauthenticated", "Forbidden")
# A result may come late, but it comes well before the end.
WITHIN_S = 12.0


def delivered(e: Evidence) -> Iterator[str]:
    """I4. A process that ended, and whose end was never answered for with a receipt or a no."""
    answered = {entry.facts["attempt"] for entry in e.by_op["finish", OK]} | {
        entry.facts["attempt"]
        for entry in e.by_op["finish", FAILED]
        if entry.facts["error"] not in NO_ANSWERS
    }
    answered |= {entry.facts["attempt"] for entry in e.events("turned_down")}  # with its log
    gone = {a for entry in e.by_op["heartbeat", OK] for a in entry.facts.get("gone", ())}
    forgetful: dict[str, str] = defaultdict(str)
    for entry in e.events("fault"):
        if entry.facts["kind"] in TAKES_MEMORY:
            forgetful[str(entry.facts["target"]).split(":")[0]] = entry.facts["kind"]
    machine_of = {entry.facts["attempt"]: entry.who for entry in e.events("spawn")}
    last = e.entries[-1].at if e.entries else 0.0
    for entry in e.events("exit"):
        attempt = entry.facts["attempt"]
        machine = machine_of.get(attempt, "").split(".")[0]
        knows = machine not in forgetful and not entry.facts.get("lost_power")
        if attempt in answered | gone or not knows or entry.at > last - WITHIN_S:
            continue
        yield f"the end of {attempt} on {machine} was never reported"
