"""What is asked of the gateway before anything of a claim runs: leave to run it, or to refuse."""

import asyncio
from typing import Final

import structlog

from shared.errors import Conflict, Forbidden, NotFound, ServiceError, Unauthenticated
from shared.protocol.gateway import RefuseRequest, RunContext, RunRequest
from worker.backoff import Backoff
from worker.crew import Crew
from worker.lease import Holder

CALL_TIMEOUT_S: Final = 10.0
BACKOFF_CAP_S: Final = 2.0

log = structlog.get_logger()


async def refuse(holder: Holder, crew: Crew, reason: str, lapses_at: float) -> bool:
    """The job is back in its place. False: it has lapsed to it, or was not ours to refuse."""
    log.warning("attempt.refused", attempt_id=holder.attempt_id, reason=reason)
    ask = RefuseRequest(
        attempt_id=holder.attempt_id,
        worker_id=holder.worker_id,
        fence=holder.fence,
        reason=reason[:500],
    )
    backoff = Backoff(crew.runtime, cap_s=BACKOFF_CAP_S)
    while crew.runtime.mono() < lapses_at:
        try:
            async with asyncio.timeout(CALL_TIMEOUT_S):
                await crew.gateway.refuse(ask)
        except (Conflict, NotFound, Unauthenticated, Forbidden):
            return False  # a token that is turned down does not get better
        except (ServiceError, TimeoutError) as error:
            left_s = max(0.0, lapses_at - crew.runtime.mono())
            await crew.runtime.sleep(min(backoff.next_s(error), left_s))
            if not await crew.budget.spend(lapses_at):
                return False
        else:
            if backoff.failures:
                crew.budget.succeeded(is_repeated=True)
            return True
    return False


async def ask_to_run(holder: Holder, crew: Crew) -> RunContext | None:
    """The try is counted and the lease held; or None: the job is not ours to start.

    Sent until answered: when the first answer was lost, the try was spent already. A token that
    is turned down is an answer too: it does not get better, and the job lapses to its place with
    a new one.
    """
    ask = RunRequest(
        attempt_id=holder.attempt_id,
        worker_id=holder.worker_id,
        fence=holder.fence,
        host=crew.settings.host,
        pid=crew.settings.pid,
    )
    backoff = Backoff(crew.runtime, cap_s=BACKOFF_CAP_S)
    while True:
        try:
            async with asyncio.timeout(CALL_TIMEOUT_S):
                context = await crew.gateway.run(ask)
        except (Conflict, NotFound, Unauthenticated, Forbidden) as error:
            log.warning("attempt.not_started", attempt_id=holder.attempt_id, error=error.code)
            return None
        except (ServiceError, TimeoutError) as error:
            await crew.runtime.sleep(backoff.next_s(error))
            await crew.budget.spend()
        else:
            if backoff.failures:
                crew.budget.succeeded(is_repeated=True)
            return context
