"""A verdict for each promise: kept, broken or not exercised, and what it rests on."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from faults.chaos import checks
from faults.chaos.plan import Promise
from faults.chaos.schedule import acts_of, digest_of
from faults.chaos.story import Story
from faults.judging.entry import FAILED, OK, UNKNOWN
from faults.judging.evidence import UNSTARTED, Evidence
from faults.judging.verdict import CHECKS, Breach, judge
from shared.protocol.states import AttemptStatus

# These need the calls of workers, which nobody hears of a cluster that others have started.
OF_WORKERS: Final = frozenset(
    {"rising_fences", "repeated_claims", "superseded", "receipts", "order", "announced", "tries",
     "rests", "refusals", "delivered", "spaced"}
)  # fmt: skip
# What there is of it in a cluster that others have started nobody counts.
UNHEARD: Final = frozenset(
    {"acknowledged finishes", "acknowledged reports", "interrupted reports, crashes and outages"}
)
# These make up for some of them there.
OF_STORE: Final = frozenset({"stored_tries"})
SERVICES: Final = ("jobstore", "registry", "gateway")

OF_STORY: Final[tuple[tuple[str, str, Callable[[Story], Iterator[str]]], ...]] = (
    ("P1", "I12", checks.drained),
    ("P1", "I12", checks.unread),
    ("P8", "I12", checks.leftovers),
    ("P9", "secrets", checks.revealed),
    ("P10", "I13", checks.intruders),
)
OF_EVIDENCE: Final[tuple[tuple[str, str, Callable[[Evidence], Iterator[str]]], ...]] = (
    ("P1", "I5", checks.waited),
    ("P3", "I15", checks.recovered),
    ("P5", "I12", checks.spaced),
    ("P5", "I6", checks.stored_tries),
    ("P6", "I8", checks.company),
    ("P8", "I12", checks.crowds),
    ("P10", "I13", checks.turned_away),
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """`seen` is what was looked at; a promise of which any of that is 0 was not put to the test."""

    promise: Promise
    invariants: tuple[str, ...]
    seen: dict[str, int]
    breaches: tuple[str, ...]
    unjudged: tuple[str, ...] = ()  # what could not be looked at here: invariants and checks
    is_deaf: bool = False  # what would put it to the test cannot be heard here

    @property
    def word(self) -> str:
        if self.breaches:
            return "broken"
        if all(self.seen.values()):
            return "kept"
        return "not judged" if self.is_deaf else "not exercised"


def verdicts_of(story: Story) -> list[Verdict]:
    """One for each promise, in their order."""
    evidence = story.evidence()
    left_out = OF_WORKERS if story.is_attached else OF_STORE
    shared = [c for c in CHECKS if c.find.__name__ not in left_out]
    if story.unread is not None:  # nothing can be said of what is not known
        shared = []
    breaches = judge(evidence, shared)
    breaches += [
        Breach(promise, (invariant,), find.__name__, what)
        for promise, invariant, find in OF_STORY
        for what in find(story)
    ]
    breaches += [
        Breach(promise, (invariant,), find.__name__, what)
        for promise, invariant, find in OF_EVIDENCE
        if story.unread is None and find.__name__ not in left_out
        for what in find(evidence)
    ]
    if digest_of(acts_of(story.plan)) != story.schedule:
        breaches.append(Breach("P1", ("I14",), "digest", "the seed gave another schedule"))
    seen = _seen(story, evidence)
    return [
        Verdict(
            promise,
            _invariants(promise.value),
            seen[promise.value],
            tuple(f"{'/'.join(b.invariants)} {b.what}" for b in breaches if b.promise == promise),
            tuple(_unheard(promise.value)) if story.is_attached else (),
            story.is_attached and not UNHEARD.isdisjoint(seen[promise.value]),
        )
        for promise in Promise
    ]


def _unheard(promise: str) -> Iterator[str]:
    """What of a promise cannot be judged without hearing workers."""
    for check in CHECKS:
        if check.promise == promise and check.find.__name__ in OF_WORKERS:
            yield f"{'/'.join(check.invariants)} {check.find.__name__}"
    for of, invariant, find in OF_EVIDENCE:
        if of == promise and find.__name__ in OF_WORKERS:
            yield f"{invariant} {find.__name__}"


def _invariants(promise: str) -> tuple[str, ...]:
    found = {i for check in CHECKS if check.promise == promise for i in check.invariants}
    found |= {i for p, i, _ in (*OF_STORY, *OF_EVIDENCE) if p == promise}
    if promise == "P1":
        found.add("I14")
    return tuple(sorted(found, key=lambda i: (len(i), i)))


def _seen(story: Story, e: Evidence) -> dict[str, dict[str, int]]:
    """How much there was to look at, by promise."""
    attempts = [a for _, _, of_job in e.jobs() for a in of_job]
    by_status = {s: sum(a.status is s for a in attempts) for s in AttemptStatus}
    spawns = e.events("spawn")
    deaths = [n for n in e.events("down") if n.facts["how"] != "stopped"]
    finishes = [n for n in e.by_op["finish", OK] if n.facts["receipt"]]
    repeated = len(e.by_op["finish", FAILED]) + len(e.by_op["finish", UNKNOWN])
    return {
        "P1": {
            "acknowledged submits": len(e.by_op["submit", OK]),
            "ended jobs": sum(job.status.is_ended for _, job, _ in e.jobs()),
            "looks at runs": len(e.events("seen")),
            "disturbances": story.disturbances,
        },
        "P2": {
            "claims": len(attempts),
            "accepted results": by_status[AttemptStatus.REPORTED],
            "disturbances": story.disturbances,
        },
        "P3": {
            "acknowledged finishes": len(finishes),
            "crashes of services": sum(n.who in SERVICES for n in deaths),
        },
        "P4": {
            "starts": len(spawns),
            "acknowledged reports": sum(
                n.facts["status"] == "Working" for n in e.by_op["report", OK]
            ),
            "disturbances": story.disturbances,
        },
        "P5": {"refused, lapsed or drained claims": sum(a.status in UNSTARTED for a in attempts)
               + sum(n.facts["outcome"] == "drained" for n in e.by_op["finish", OK])},
        "P6": {
            "leases that ran out": by_status[AttemptStatus.LOST],
            "processes with a lock": sum(s.facts["company"] != "unseen" for s in spawns),
        },
        "P7": {
            "logs and artifacts compared": len(e.final.logs)
            + sum(map(len, e.final.artifacts.values())),
            "interrupted reports, crashes and outages": repeated
            + sum(n.who != "registry" for n in e.events("down")),
        },
        "P8": {
            "trees of processes": sum(s.facts["crowd"] != "unseen" for s in spawns),
            "with a stubborn child": sum(s.facts["kind"] == "forking" for s in spawns),
        },
        "P9": {
            "bytes searched": sum(len(text) for _, text in checks.places(story)),
            "environments": len(story.environments),
        },
        "P10": {"nonsense answered": len(e.by_op["nonsense", OK])},
    }  # fmt: skip
