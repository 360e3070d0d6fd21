"""P2: one live lease, rising fences, one result."""

from collections import defaultdict
from collections.abc import Iterator

from faults.judging.entry import INVOKED, OK, Entry
from faults.judging.evidence import LIVE, Evidence, Of


def grants(e: Evidence) -> Iterator[str]:
    """I3. A job given to two workers at once; a fence used twice; a claim that was not durable."""
    holders: dict[tuple[int, str, int], set[tuple[str, str]]] = defaultdict(set)
    for entry in e.events("claim"):
        facts = entry.facts
        machine = entry.who.split(".")[0]
        holders[facts["run"], facts["job"], facts["fence"]].add((facts["attempt"], machine))
        known = e.of.get(facts["attempt"])
        if known != Of(facts["run"], facts["job"], facts["fence"]):
            yield f"acknowledged claim {facts['attempt']} is not in the store: {known}"
    for grant, held_by in holders.items():
        if len(held_by) > 1:
            yield f"{grant} was granted to {sorted(held_by)}"
    for key, attempts in e.final.attempts.items():
        fences = [attempt.fence for attempt in attempts]
        if fences != sorted(set(fences)):
            yield f"fences of {key} do not rise: {fences}"
        for attempt in attempts:
            if attempt.status in LIVE:
                yield f"attempt {attempt.attempt_id} of {key} still holds a lease"


def rising_fences(e: Evidence) -> Iterator[str]:
    """I3. A fence that fell, in a claim that was asked for after another was heard."""
    acknowledged: dict[tuple[int, str], Entry] = {}
    first_claims: set[str] = set()
    for entry in e.events("claim"):
        key = (entry.facts["run"], entry.facts["job"])
        before = acknowledged.get(key)
        if entry.facts["attempt"] in first_claims:
            continue
        first_claims.add(entry.facts["attempt"])
        if before is not None and _asked_later(e, entry, before):
            was, now = before.facts["fence"], entry.facts["fence"]
            if now <= was:
                yield f"the fence of {key} was {was}, and {now} for a later claim"
        if before is None or entry.facts["fence"] > before.facts["fence"]:
            acknowledged[key] = entry


def _asked_later(e: Evidence, claim: Entry, before: Entry) -> bool:
    """Whether the poll that brought `claim` was sent after `before` had arrived."""
    polls = [p for p in e.by_op["poll", OK] if p.who == claim.who and p.n < claim.n]
    return bool(polls) and polls[-1].call > before.n


def repeated_claims(e: Evidence) -> Iterator[str]:
    """I3. A claim id that was asked for again and brought another fence or job than before."""
    told: dict[str, Entry] = {}
    for entry in e.events("claim"):
        before = told.setdefault(entry.facts["attempt"], entry)
        if before.facts != entry.facts:
            yield f"claim {entry.facts['attempt']} was told as {before.facts}, then {entry.facts}"


def superseded(e: Evidence) -> Iterator[str]:
    """I4. An old attempt that is still served although somebody else has the job."""
    newer_claims: dict[tuple[int, str], list[tuple[int, int]]] = defaultdict(list)
    for entry in e.events("claim"):
        newer_claims[entry.facts["run"], entry.facts["job"]].append((entry.n, entry.facts["fence"]))

    def is_superseded(attempt: str, at: int) -> bool:
        of = e.of.get(attempt)
        return of is not None and any(
            n < at and fence > of.fence for n, fence in newer_claims[of.key]
        )

    for entry in e.by_op["run", OK]:
        if is_superseded(entry.facts["attempt"], entry.call):
            yield f"run of {entry.facts['attempt']} was accepted after a newer claim"
    for entry in e.by_op["heartbeat", OK]:
        for attempt in entry.facts["renewed"]:
            if is_superseded(attempt, entry.call):
                yield f"the lease of {attempt} was renewed after a newer claim"
    first_finish: dict[str, int] = {}
    for entry in e.by_op["finish", INVOKED]:
        first_finish.setdefault(entry.facts["attempt"], entry.n)
    for entry in e.by_op["finish", OK]:
        attempt = entry.facts["attempt"]
        if entry.facts["receipt"] and is_superseded(attempt, first_finish[attempt]):
            yield f"the result of {attempt} was accepted after a newer claim"
