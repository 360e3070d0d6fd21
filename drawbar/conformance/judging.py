"""Cases are tried one after another, each for itself; what came of them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Final, TypeVar

from drawbar.conformance.asking import Asking
from drawbar.conformance.case import Breach, Case, Outcome, Unproved, Verdict
from drawbar.conformance.cases import attempts, bodies, claims, everywhere, lines, registry
from drawbar.conformance.stand import Doors, Stand
from shared.runtime import Runtime

W = TypeVar("W")
CASE_S: Final = 60.0

SERVICE_CASES: Final[Sequence[Case[Stand]]] = tuple(
    case
    for module in (everywhere, registry, claims, attempts, bodies, lines)
    for case in module.CASES.all
)


async def judge(
    cases: Sequence[Case[W]],
    place: Callable[[], AbstractAsyncContextManager[W]],
    runtime: Runtime,
    told: Callable[[Outcome], None] = lambda _: None,
) -> list[Outcome]:
    """What came of each case, in a place of its own; `told` hears of it at once."""
    outcomes = []
    for case in cases:
        began = runtime.mono()
        verdict, says = await _try(case, place)
        outcome = Outcome(case.name, case.sentence, verdict, says, runtime.mono() - began)
        outcomes.append(outcome)
        told(outcome)
    return outcomes


async def _try(
    case: Case[W], place: Callable[[], AbstractAsyncContextManager[W]]
) -> tuple[Verdict, str]:
    try:
        async with asyncio.timeout(CASE_S), place() as where:
            await case.prove(where)
    except Breach as breach:
        return Verdict.BROKEN, str(breach)
    except Unproved as unproved:
        return Verdict.SKIPPED, str(unproved)
    except TimeoutError:
        return Verdict.BROKEN, f"it came to no end within {CASE_S:g} s"
    except (KeyError, TypeError, ValueError, IndexError) as error:
        # An answer of another form than the protocol's: what was looked for is not there.
        return Verdict.BROKEN, f"an answer has not the form of the protocol: {error!r}"
    return Verdict.KEPT, ""


async def judge_services(
    runtime: Runtime,
    *,
    gateway: str,
    registry: str,
    jobstore: str | None,
    enrolment_secret: str,
    client_token: str | None,
    cases: Sequence[Case[Stand]] = SERVICE_CASES,
    told: Callable[[Outcome], None] = lambda _: None,
) -> list[Outcome]:
    """What came of the cases against these services."""
    async with Asking() as asking:
        doors = Doors(
            asking.peer(gateway),
            asking.peer(registry),
            None if jobstore is None else asking.peer(jobstore),
            enrolment_secret,
            client_token,
        )

        @asynccontextmanager
        async def stand() -> AsyncIterator[Stand]:
            made = Stand(doors, runtime)
            try:
                yield made
            finally:
                await _quietly(made.clear)

        return await judge(cases, stand, runtime, told)


async def _quietly(clear: Callable[[], Awaitable[None]]) -> None:
    """What a case left behind is no business of its verdict."""
    try:
        await clear()
    except (Breach, Unproved):
        return
