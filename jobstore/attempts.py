"""What a worker may do with an attempt that runs: beat, log, artifacts, inputs, finish.

Each verb takes the fence with it; an attempt whose lease is another's is refused.
"""

import hashlib
from contextlib import suppress

from jobstore.artifacts import Artifacts, entry_at, manifest_of, one_piece
from jobstore.leases import Lease, LeaseBook
from jobstore.logs import Logs
from jobstore.store.finish import Late
from jobstore.store.sqlite import SqliteJobStore
from jobstore.watchers import Watchers
from shared.errors import (
    BadRequest,
    LogOffsetMismatch,
    StaleFence,
    UnknownAttempt,
    UnknownJob,
)
from shared.ids import AttemptId
from shared.protocol import gateway as g
from shared.protocol.states import AttemptStatus
from shared.runtime import Runtime
from shared.services import Body


class RunningAttempts:
    """Attempts between their run and their receipt."""

    def __init__(
        self,
        store: SqliteJobStore,
        leases: LeaseBook,
        logs: Logs,
        artifacts: Artifacts,
        watchers: Watchers,
        runtime: Runtime,
        *,
        max_lost: int,
    ) -> None:
        self._store = store
        self._leases = leases
        self._logs = logs
        self._artifacts = artifacts
        self._watchers = watchers
        self._runtime = runtime
        self._max_lost = max_lost

    async def heartbeat(self, ask: g.HeartbeatRequest) -> g.HeartbeatReply:
        now = self._runtime.mono()
        verdicts = []
        for beat in ask.leases:
            verdict = self._leases.beat(ask.worker_id, beat, now)
            reason = await self._why_gone(beat.attempt_id) if verdict is g.Verdict.GONE else None
            verdicts.append(
                g.LeaseVerdict(attempt_id=beat.attempt_id, verdict=verdict, reason=reason)
            )
        return g.HeartbeatReply(leases=tuple(verdicts))

    async def append_log(self, chunk: g.LogChunk, body: Body) -> g.LogReply:
        lease = await self._holder(chunk.attempt_id, chunk.worker_id, chunk.fence)
        size = await self._logs.append(chunk.attempt_id, chunk.offset, chunk.size_bytes, body)
        self._watchers.notify(("log", chunk.attempt_id))
        return g.LogReply(
            next_offset=size,
            attempt_status=AttemptStatus.RUNNING,
            cancel_requested=lease.is_cancelled,
        )

    async def put_artifact(self, upload: g.ArtifactUpload, body: Body) -> g.ArtifactReply:
        await self._holder(upload.attempt_id, upload.worker_id, upload.fence)
        if upload.part_bytes is not None:
            return g.ArtifactReply(next_offset=await self._artifacts.put_part(upload, body))
        await self._artifacts.put(upload.entry, body)
        return g.ArtifactReply(next_offset=upload.entry.size_bytes)

    async def list_inputs(self, ask: g.InputListRequest) -> g.InputList:
        await self._holder(ask.attempt_id, ask.worker_id, ask.fence)
        run_id = await self._store.find_dependency(ask.attempt_id, ask.job_id)
        if run_id is None:
            raise UnknownJob(f"{ask.job_id!r} is not a dependency of this job", job_id=ask.job_id)
        found = await self._store.list_artifacts(run_id, ask.job_id)
        return g.InputList(artifacts=tuple(item.artifact for item in found))

    async def read_input(self, ask: g.InputRequest) -> Body:
        listed = await self.list_inputs(
            g.InputListRequest(
                attempt_id=ask.attempt_id,
                worker_id=ask.worker_id,
                fence=ask.fence,
                job_id=ask.job_id,
            )
        )
        entry = entry_at(listed.artifacts, ask.path)
        async for piece in self._artifacts.read(entry.sha256, ask.offset):
            yield piece

    async def finish(self, ask: g.FinishRequest) -> g.FinishReply:
        lease = self._leases.get(ask.attempt_id)
        if lease is None or (lease.worker_id, lease.fence) != (ask.worker_id, ask.fence):
            return await self._settle(ask, None)  # a repeat, or too late: the store knows which
        tail = ask.log.tail
        if ask.log.tail_offset + len(tail) not in (ask.log.size_bytes, ask.log.tail_offset):
            raise BadRequest("the log's tail does not end where the log does")
        inline = tail if ask.log.tail_offset == 0 and len(tail) == ask.log.size_bytes else None
        resend_from = None
        if inline is None:
            resend_from = await self._take_tail(ask)
        elif hashlib.sha256(inline).hexdigest() != ask.log.sha256:
            resend_from = 0  # a job may write over what its worker has read of the log
        with self._artifacts.keep(artifact.sha256 for artifact in ask.artifacts):
            missing = await self._artifacts.missing(ask.artifacts)
            if resend_from is not None or missing:
                return g.Incomplete(resend_log_from=resend_from, missing_artifacts=missing)
            return await self._settle(ask, inline)

    # -- details -------------------------------------------------------------------------------

    async def _holder(self, attempt_id: AttemptId, worker_id: str, fence: int) -> Lease:
        """The attempt's lease. UnknownAttempt; StaleFence: it is not this worker's to write to."""
        lease = self._leases.get(attempt_id)
        if lease is None:
            raise StaleFence(state=await self._store.attempt_state(attempt_id))
        if lease.worker_id != worker_id or lease.fence != fence or not lease.is_running:
            raise StaleFence(state="running elsewhere" if lease.is_running else "claimed")
        return lease

    async def _why_gone(self, attempt_id: AttemptId) -> str:
        try:
            return await self._store.attempt_state(attempt_id)
        except UnknownAttempt:
            return "unknown"

    async def _take_tail(self, ask: g.FinishRequest) -> int | None:
        """None: the whole log is here, verified and durable. Else: where to send it from."""
        if ask.log.tail:
            with suppress(LogOffsetMismatch):  # it came before, or bytes before it are missing
                tail = ask.log.tail
                await self._logs.append(
                    ask.attempt_id, ask.log.tail_offset, len(tail), one_piece(tail)
                )
        return await self._logs.complete(ask.attempt_id, ask.log.size_bytes, ask.log.sha256)

    async def _settle(self, ask: g.FinishRequest, inline: bytes | None) -> g.FinishReply:
        accepted = await self._store.finish(ask, log_inline=inline, max_lost=self._max_lost)
        self._logs.close(ask.attempt_id)
        if isinstance(accepted, Late):
            raise accepted.error
        return g.Receipt(
            receipt_id=accepted.receipt_id,
            attempt_id=ask.attempt_id,
            fence=ask.fence,
            job_status=accepted.job_status,
            artifacts=manifest_of(ask.artifacts),
        )
