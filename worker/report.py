"""Telling the job service how an attempt ended, until it says that it knows."""

import asyncio
import hashlib
from collections.abc import Callable

import structlog

from shared.errors import BadRequest, Conflict, Forbidden, NotFound, ServiceError, TooLarge
from shared.protocol.gateway import (
    ArtifactEntry,
    FinishRequest,
    Incomplete,
    LogSummary,
    Receipt,
    Result,
    Usage,
)
from shared.retry_budget import RetryBudget
from shared.runtime import Runtime
from shared.services import Gateway
from worker.artifacts.uploads import Uploads
from worker.backoff import Backoff
from worker.ending import spoiled
from worker.lease import Holder, is_anothers
from worker.logstream import LogStream
from worker.ports import AttemptFiles

CALL_TIMEOUT_S = 30.0
TRIES_WHEN_GONE = 3  # the result is evidence only; somebody else has the job

FINAL = (Conflict, NotFound, BadRequest, TooLarge)

EMPTY_LOG = LogSummary(
    size_bytes=0, sha256=hashlib.sha256().hexdigest(), tail_offset=0, tail=b"", lost_bytes=0
)

log = structlog.get_logger()


class Report:
    """One attempt's result, with its log and artifacts, on its way to a receipt."""

    def __init__(
        self,
        holder: Holder,
        gateway: Gateway,
        runtime: Runtime,
        budget: RetryBudget,
        is_gone: Callable[[], bool],
        part_bytes: int | None = None,
    ) -> None:
        """`part_bytes`: of an artifact, that the job service takes at once; None: all of it."""
        self._uploads = Uploads(holder, gateway)
        self._part_bytes = part_bytes
        self._attempt_id = holder.attempt_id
        self._worker_id = holder.worker_id
        self._fence = holder.fence
        self._gateway = gateway
        self._runtime = runtime
        self._budget = budget
        self._is_gone = is_gone

    async def deliver(
        self,
        result: Result,
        usage: Usage,
        artifacts: tuple[ArtifactEntry, ...],
        files: AttemptFiles | None,
        stream: LogStream | None,
    ) -> Receipt | None:
        """The receipt, however long it takes; None when there will never be one."""
        backoff = Backoff(self._runtime)
        last: Incomplete | None = None
        while True:
            try:
                try:
                    summary = EMPTY_LOG if stream is None else await stream.settle()
                    reply = await self._finish(result, usage, artifacts, summary)
                    self._budget.succeeded(is_repeated=backoff.failures > 0)
                except TooLarge as error:
                    if error.facts.get("what") == "log" and stream is not None:
                        stream.fill()
                    elif artifacts:
                        result, artifacts = spoiled(result, f"too many artifacts: {error}"), ()
                    else:
                        raise
                    continue
                if isinstance(reply, Receipt):
                    return reply
                if reply.resend_log_from is not None and stream is not None:
                    stream.rewind(reply.resend_log_from)
                assert files is not None or not reply.missing_artifacts
                if files is not None and reply.missing_artifacts:
                    missing = set(reply.missing_artifacts)
                    wanted = [entry for entry in artifacts if entry.path in missing]
                    flaws = await self._uploads.send(wanted, files, self._part_bytes)
                    artifacts = tuple(entry for entry in artifacts if entry.path not in flaws)
                    for flaw in flaws.values():
                        result = spoiled(result, flaw)
                if reply == last:  # we sent what was missing, and it is missing still
                    await self._runtime.sleep(backoff.next_s())
                last = reply
            except FINAL as error:
                log.warning("attempt.dropped", attempt_id=self._attempt_id, error=error.code)
                return None
            except (ServiceError, TimeoutError) as error:
                if isinstance(error, Forbidden) and is_anothers(error):
                    log.warning("attempt.dropped", attempt_id=self._attempt_id, error=error.code)
                    return None
                if self._is_gone() and backoff.failures >= TRIES_WHEN_GONE:
                    log.warning("attempt.dropped", attempt_id=self._attempt_id, error="gone")
                    return None
                if backoff.failures == 0:
                    log.warning("report.delayed", attempt_id=self._attempt_id, error=repr(error))
                await self._runtime.sleep(backoff.next_s(error))
                await self._budget.spend()

    async def _finish(
        self,
        result: Result,
        usage: Usage,
        artifacts: tuple[ArtifactEntry, ...],
        summary: LogSummary,
    ) -> Receipt | Incomplete:
        ask = FinishRequest(
            attempt_id=self._attempt_id,
            worker_id=self._worker_id,
            fence=self._fence,
            result=result,
            log=summary,
            artifacts=artifacts,
            usage=usage,
        )
        async with asyncio.timeout(CALL_TIMEOUT_S):
            return await self._gateway.finish(ask)
