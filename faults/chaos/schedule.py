"""A plan's steps as a list of acts: what is done to whom when. The seed alone decides."""

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

from faults.chaos.plan import SERVICES, ChaosPlan, DiskFull, Network, Step

MAX_ACTS: Final = 100_000


@dataclass(frozen=True, slots=True)
class Act:
    """One step, once."""

    at: float  # seconds; of one that waits for `after` jobs, 0
    after: int  # so many jobs have ended before
    step: int  # its place in the plan
    target: str  # whose process, which hop, or the disk


def acts_of(plan: ChaosPlan) -> list[Act]:
    """In order of time. A step does not change what becomes of the others."""
    seen: Counter[str] = Counter()
    found: list[Act] = []
    for n, step in enumerate(plan.steps):
        text = step.model_dump_json()
        rng = random.Random(f"{plan.seed} {text} {seen[text]}")
        seen[text] += 1
        for at in _times(step, plan.duration_s, rng):
            target = _target(step, plan, rng)
            found.append(Act(round(at, 3), step.after or 0, n, target))
            if len(found) >= MAX_ACTS:
                return sorted(found, key=lambda act: (act.at, act.step))
    return sorted(found, key=lambda act: (act.at, act.step))


def digest_of(acts: list[Act]) -> str:
    """The same for the same plan and seed, on every machine."""
    return blake2b(repr(acts).encode(), digest_size=8).hexdigest()


def _times(step: Step, duration_s: float, rng: random.Random) -> Iterator[float]:
    def shaken(at: float) -> float:
        return max(0.0, at + rng.uniform(-step.jitter, step.jitter))

    if step.every is None:
        if step.after is not None or (step.at or 0.0) <= duration_s:
            yield shaken(step.at or 0.0)
        return
    at = step.every if step.at is None else step.at
    end = duration_s if step.until is None else min(step.until, duration_s)
    times = 0
    while at <= end and (step.times is None or times < step.times):
        yield min(end, shaken(at))
        at, times = at + step.every, times + 1


def _target(step: Step, plan: ChaosPlan, rng: random.Random) -> str:
    if isinstance(step, Network):
        return step.hop
    if isinstance(step, DiskFull):
        return "disk"
    workers = [f"worker-{n}" for n in range(plan.targets.workers)]
    choices = {
        "worker": workers,
        "service": list(SERVICES),
        "any": [*SERVICES, *workers],
    }.get(step.target)
    return step.target if choices is None else rng.choice(choices)
