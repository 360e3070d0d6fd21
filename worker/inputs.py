"""Fetching what an attempt's dependencies left for it, before its process starts."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from hashlib import sha256

from shared.errors import ServiceError, Unavailable
from shared.ids import JobId
from shared.protocol.gateway import (
    MIN_BYTES_PER_S,
    ArtifactEntry,
    InputListRequest,
    InputRequest,
)
from shared.runtime import Runtime
from shared.services import Gateway
from worker.backoff import Backoff
from worker.lease import Holder
from worker.ports import AttemptFiles, CannotCollect

CALL_TIMEOUT_S = 10.0


class Inputs:
    """The artifacts of one attempt's dependencies, on their way into its working directory."""

    def __init__(
        self,
        holder: Holder,
        gateway: Gateway,
        runtime: Runtime,
        is_stopped: Callable[[], bool],
    ) -> None:
        self._holder = holder
        self._gateway = gateway
        self._runtime = runtime
        self._is_stopped = is_stopped

    async def place(self, jobs: Sequence[JobId], files: AttemptFiles) -> None:
        """All are there; or the attempt was stopped meanwhile. CannotCollect: never will be."""
        for job_id in jobs:
            backoff = Backoff(self._runtime)
            while not self._is_stopped():
                try:
                    await self._place_all(job_id, files)
                    break
                except (ServiceError, TimeoutError) as error:
                    if isinstance(error, ServiceError) and not error.retryable:
                        raise CannotCollect(f"inputs of {job_id!r}: {error}") from error
                    await self._runtime.sleep(backoff.next_s(error))

    async def _place_all(self, job_id: JobId, files: AttemptFiles) -> None:
        ask = InputListRequest(
            attempt_id=self._holder.attempt_id,
            worker_id=self._holder.worker_id,
            fence=self._holder.fence,
            job_id=job_id,
        )
        async with asyncio.timeout(CALL_TIMEOUT_S):
            listed = await self._gateway.list_inputs(ask)
        for entry in listed.artifacts:
            if self._is_stopped():
                return
            if await files.place_known(entry):
                continue
            body = self._gateway.read_input(
                InputRequest(
                    attempt_id=ask.attempt_id,
                    worker_id=ask.worker_id,
                    fence=ask.fence,
                    job_id=job_id,
                    path=entry.path,
                )
            )
            async with asyncio.timeout(CALL_TIMEOUT_S + entry.size_bytes / MIN_BYTES_PER_S):
                await files.place_input(entry, _verified(entry, body))


async def _verified(entry: ArtifactEntry, body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The bytes of `body`. Unavailable: they were not those of `entry`; fetch them again."""
    digest = sha256()
    async for piece in body:
        digest.update(piece)
        yield piece
    if digest.hexdigest() != entry.sha256:
        raise Unavailable(f"input {entry.path!r} arrived damaged")
