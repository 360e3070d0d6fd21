"""The one retry policy of HTTP: how long a caller goes on asking, and how it pauses."""

import random
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception

from shared.errors import ServiceError
from shared.retry_budget import RetryBudget
from shared.runtime import Runtime

FIRST_PAUSE_S: Final = 0.1
LONGEST_PAUSE_S: Final = 5.0

T = TypeVar("T")


async def persist(
    runtime: Runtime,
    budget: RetryBudget,
    call: Callable[[float], Awaitable[T]],
    timeout_s: float,
    retry_for_s: float,
) -> T:
    """What `call` returned, which is given at most `timeout_s`; retryable errors are met with more
    calls for `retry_for_s`, as far as the budget goes."""
    if retry_for_s <= 0:
        return await call(timeout_s)
    give_up_at = runtime.mono() + retry_for_s
    failed: ServiceError | None = None

    async def call_in_time() -> T:
        nonlocal failed
        if failed is not None and not await budget.spend(give_up_at):
            raise failed
        left_s = give_up_at - runtime.mono()
        try:
            answer = await call(min(timeout_s, max(left_s, FIRST_PAUSE_S)))
        except ServiceError as error:
            failed = error
            raise
        budget.succeeded(is_repeated=failed is not None)
        return answer

    return await _retrying(runtime, give_up_at)(call_in_time)


def _retrying(runtime: Runtime, give_up_at: float) -> AsyncRetrying:
    """Exponential pauses with full jitter, no shorter than the other side asked for, none that
    ends after `give_up_at`; then the last error is raised."""

    def pause_s(state: RetryCallState) -> float:
        return _pause_s(runtime.random, state)

    def is_too_late(state: RetryCallState) -> bool:
        return runtime.mono() + state.upcoming_sleep >= give_up_at

    return AsyncRetrying(
        retry=retry_if_exception(lambda e: isinstance(e, ServiceError) and e.retryable),
        wait=pause_s,
        stop=is_too_late,
        sleep=runtime.sleep,
        reraise=True,
    )


def _pause_s(chance: random.Random, state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome is not None else None
    asked_s = error.facts.get("retry_after_s", 0.0) if isinstance(error, ServiceError) else 0.0
    doublings = min(state.attempt_number - 1, 16)
    return float(asked_s) + chance.uniform(0, min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2**doublings))
