"""The cases of workers, a few at a time: each starts the worker anew."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from drawbar.conformance.case import Case, Outcome
from drawbar.conformance.judging import judge
from drawbar.conformance.workers import cases as usual
from drawbar.conformance.workers import outages
from drawbar.conformance.workers.house import House, house, words_of
from shared.runtime import Runtime

AT_A_TIME: Final = 6  # most of a case is waiting
WORKER_CASES: Final[Sequence[Case[House]]] = (*usual.CASES.all, *outages.CASES.all)


async def judge_worker(
    command: str,
    runtime: Runtime,
    *,
    cases: Sequence[Case[House]] = WORKER_CASES,
    told: Callable[[Outcome], None] = lambda _: None,
) -> list[Outcome]:
    """What came of the cases against a worker that `command` starts, in their order.

    Misconfigured: it cannot be started.
    """
    words = words_of(command)
    found: dict[str, Outcome] = {}
    left = iter(cases)

    async def work() -> None:
        for case in left:
            (outcome,) = await judge([case], lambda: house(words, runtime), runtime, told)
            found[case.name] = outcome

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_A_TIME):
            group.create_task(work())
    return [found[case.name] for case in cases]
