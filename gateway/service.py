"""The gateway: workers' only door to the job service. It keeps no state and forwards every verb.

When the job service fails or is away, a claim is answered with noJob and the reason, so that
workers wait and the outage is visible; every other verb tells the worker to try again.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import structlog

from shared.errors import Forbidden, ServiceError, Unauthenticated, Unavailable
from shared.protocol import gateway as g
from shared.runtime import Runtime
from shared.services import Body, JobService

T = TypeVar("T")

CALL_S: Final = 12.0  # the HTTP client's own deadline is 10 s; this one is for other carriers
RETRY_AFTER_S: Final = 1.0
LOG_EVERY_S: Final = 10.0  # of an outage, whatever the number of workers that ask meanwhile

log = structlog.get_logger()


class GatewayService:
    """`Gateway`, in front of a `JobService`."""

    def __init__(self, jobs: JobService, runtime: Runtime) -> None:
        self._jobs = jobs
        self._runtime = runtime
        self._logged_at = float("-inf")

    async def claim(self, ask: g.ClaimRequest) -> g.ClaimReply:
        try:
            return await self._forward(lambda: self._jobs.claim(ask), ask.wait_s + CALL_S)
        except ServiceError as error:
            if not error.retryable and error.status < 500:
                raise  # the worker's doing, which waiting does not mend
            self._log_outage(error)
            asked_s = float(error.facts.get("retry_after_s", 0.0))
            return g.ClaimReply(
                claims=(),
                reason="jobstore_unavailable",
                retry_after_s=max(RETRY_AFTER_S, asked_s),
            )

    async def refuse(self, ask: g.RefuseRequest) -> None:
        await self._forward(lambda: self._jobs.refuse(ask))

    async def run(self, ask: g.RunRequest) -> g.RunContext:
        return await self._forward(lambda: self._jobs.run(ask))

    async def heartbeat(self, ask: g.HeartbeatRequest) -> g.HeartbeatReply:
        return await self._forward(lambda: self._jobs.heartbeat(ask))

    async def append_log(self, chunk: g.LogChunk, body: Body) -> g.LogReply:
        # How long a body takes is known to who sends it; the client's deadline grows with it.
        return await self._forward(lambda: self._jobs.append_log(chunk, body), None)

    async def put_artifact(self, upload: g.ArtifactUpload, body: Body) -> g.ArtifactReply:
        return await self._forward(lambda: self._jobs.put_artifact(upload, body), None)

    async def list_inputs(self, ask: g.InputListRequest) -> g.InputList:
        return await self._forward(lambda: self._jobs.list_inputs(ask))

    async def read_input(self, ask: g.InputRequest) -> Body:
        try:
            async for piece in self._jobs.read_input(ask):
                yield piece
        except (Unauthenticated, Forbidden) as error:
            raise _not_the_workers_fault(error) from None

    async def finish(self, ask: g.FinishRequest) -> g.FinishReply:
        return await self._forward(lambda: self._jobs.finish(ask))

    # -- the hop ------------------------------------------------------------------------------

    async def _forward(self, call: Callable[[], Awaitable[T]], limit_s: float | None = CALL_S) -> T:
        """The job service's answer. Unavailable: there is none, for whatever reason."""
        try:
            async with asyncio.timeout(limit_s):
                return await call()
        except TimeoutError:
            raise Unavailable("the job service does not answer", service="jobstore") from None
        except (Unauthenticated, Forbidden) as error:
            raise _not_the_workers_fault(error) from None

    def _log_outage(self, error: ServiceError) -> None:
        now = self._runtime.mono()
        if now - self._logged_at >= LOG_EVERY_S:
            self._logged_at = now
            log.warning("jobstore.failed", error=error.code, message=error.message)


def _not_the_workers_fault(error: ServiceError) -> Unavailable:
    """The job service turned down the gateway's own token: no worker can do anything about it."""
    log.error("gateway.turned_away", error=error.code, message=error.message, **error.facts)
    return Unavailable("the job service does not accept this gateway's token", service="jobstore")
