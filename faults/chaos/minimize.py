"""Finds a smaller plan that still fails: by leaving steps out, then by making them fewer times.

Delta debugging as in Zeller and Hildebrandt, "Simplifying and Isolating Failure-Inducing Input"
(2002). Real processes are not a function of the seed: a step is only given up after the plan
has failed without it.
"""

from collections.abc import Awaitable, Callable, Sequence

from faults.chaos.plan import ChaosPlan, Step

Fails = Callable[[ChaosPlan], Awaitable[bool]]


async def minimized(plan: ChaosPlan, fails: Fails) -> ChaosPlan:
    """A plan that failed too, and of whose steps none could be left out; `plan` itself fails."""
    steps = await _fewest(plan, list(plan.steps), fails)
    for n, step in enumerate(steps):
        if step.every is not None and step.times != 1:
            once = step.model_copy(update={"times": 1})
            tried = [*steps[:n], once, *steps[n + 1 :]]
            if await fails(with_steps(plan, tried)):
                steps = tried
    return with_steps(plan, steps)


def with_steps(plan: ChaosPlan, steps: Sequence[Step]) -> ChaosPlan:
    return plan.model_copy(update={"steps": tuple(steps)})


async def _fewest(plan: ChaosPlan, steps: list[Step], fails: Fails) -> list[Step]:
    if await fails(with_steps(plan, ())):
        return []
    parts = 2
    while len(steps) >= 2:
        size = -(-len(steps) // parts)
        for start in range(0, len(steps), size):
            rest = steps[:start] + steps[start + size :]
            if rest and await fails(with_steps(plan, rest)):
                steps, parts = rest, max(parts - 1, 2)
                break
        else:
            if size == 1:
                break
            parts = min(len(steps), parts * 2)
    return steps
