"""Fetching what an attempt's dependencies left for it, before its process starts."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from hashlib import sha256

from shared.errors import ServiceError, Unavailable
from shared.ids import JobId
from shared.protocol.gateway import (
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
            wanted = InputRequest(
                attempt_id=ask.attempt_id,
                worker_id=ask.worker_id,
                fence=ask.fence,
                job_id=job_id,
                path=entry.path,
            )
            await files.place_input(entry, self._fetched(entry, wanted))

    async def _fetched(self, entry: ArtifactEntry, ask: InputRequest) -> AsyncIterator[bytes]:
        """The bytes of `entry`; where they break off, the rest is asked for.

        Unavailable: they were not those of `entry`; fetch them again. How long one piece may take
        is the carrier's business, how long all of it the job's timeout.
        """
        digest, came = sha256(), 0
        backoff = Backoff(self._runtime)
        while True:
            asked_from = came
            try:
                rest = ask.model_copy(update={"offset": came})
                async for piece in self._gateway.read_input(rest):
                    came += len(piece)
                    digest.update(piece)
                    yield piece
                break
            except ServiceError as error:
                if not error.retryable or self._is_stopped():
                    raise
                if came > asked_from:
                    backoff.reset()
                await self._runtime.sleep(backoff.next_s(error))
        if digest.hexdigest() != entry.sha256:
            raise Unavailable(f"input {entry.path!r} arrived damaged")
