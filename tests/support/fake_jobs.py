"""A job service that fits in the head: memory only, no leases that run out, no retries.

For tests of what stands before the job service. It passes the same contract as the real one.
"""

import asyncio
from collections.abc import AsyncIterator
from hashlib import sha256

from shared import errors
from shared.ids import AttemptId, ClaimId, JobId, RunId, WorkerId
from shared.protocol import gateway as g
from shared.protocol import jobs as j
from shared.protocol.pipeline import PipelineSpec
from shared.protocol.states import AttemptStatus, JobStatus, RunStatus
from shared.runtime import Runtime
from shared.services import Body
from tests.support.fake_job import FakeAttempt, FakeJob
from tests.support.unasked import Unasked


class FakeJobs(Unasked):
    """`JobService` in memory."""

    def __init__(self, runtime: Runtime) -> None:
        self.claimed_by: list[WorkerId] = []  # every claim that came through, in order
        self.decided_by: list[str] = []  # who approved or marked, in order
        self.waiting = asyncio.Event()  # a long poll waits
        self.gone = asyncio.Event()  # whoever waited has left
        self._runtime = runtime
        self._runs: dict[RunId, tuple[str, PipelineSpec, dict[JobId, FakeJob]]] = {}
        self._attempts: dict[AttemptId, FakeAttempt] = {}
        self._claims: dict[ClaimId, g.ClaimReply] = {}
        self._events: list[j.Event] = []
        self._changed = asyncio.Condition()

    # -- Gateway --------------------------------------------------------------------------------

    async def claim(self, ask: g.ClaimRequest) -> g.ClaimReply:
        self.claimed_by.append(ask.worker_id)
        if ask.claim_id in self._claims:
            return self._claims[ask.claim_id]
        try:
            async with asyncio.timeout(ask.wait_s), self._changed:
                self.waiting.set()
                await self._changed.wait_for(self._queued)
        except TimeoutError:
            return g.ClaimReply(claims=(), reason="no_job")
        except asyncio.CancelledError:
            self.gone.set()
            raise
        found = []
        left = ask.free_slots
        for job in self._queued():
            if job.spec.slots > left:
                continue
            left -= job.spec.slots
            job.fence += 1
            job.status = JobStatus.CLAIMED
            attempt = FakeAttempt(AttemptId(self._runtime.new_id()), ask.worker_id, job.fence, job)
            job.attempts.append(attempt)
            self._attempts[attempt.attempt_id] = attempt
            found.append(
                g.Claim(
                    attempt_id=attempt.attempt_id,
                    fence=job.fence,
                    run_id=job.run_id,
                    job_id=JobId(job.spec.id),
                    start_ttl_s=15.0,
                    slots=job.spec.slots,
                )
            )
            await self._record("job.claimed", job)
        self._claims[ask.claim_id] = g.ClaimReply(claims=tuple(found))
        return self._claims[ask.claim_id]

    async def refuse(self, ask: g.RefuseRequest) -> None:
        attempt = self._own(ask.attempt_id, ask.worker_id, ask.fence)
        if attempt.status is AttemptStatus.CLAIMED:
            attempt.status = AttemptStatus.REFUSED
            attempt.job.status = JobStatus.QUEUED
            await self._record("job.refused", attempt.job)

    async def run(self, ask: g.RunRequest) -> g.RunContext:
        attempt = self._own(ask.attempt_id, ask.worker_id, ask.fence)
        job = attempt.job
        if attempt.status not in (AttemptStatus.CLAIMED, AttemptStatus.RUNNING):
            raise errors.Conflict(state=attempt.status.value)
        if attempt.status is AttemptStatus.CLAIMED:
            attempt.status = AttemptStatus.RUNNING
            job.status = JobStatus.RUNNING
            job.tries += 1
            await self._record("job.started", job)
        return g.RunContext(
            attempt_id=attempt.attempt_id,
            fence=attempt.fence,
            run_id=job.run_id,
            job_id=JobId(job.spec.id),
            pipeline=self._runs[job.run_id][1].name,
            argv=("sh", "-c", job.spec.command or ""),
            env={},
            working_dir=None,
            timeout_s=60.0,
            artifacts=job.spec.artifacts,
            inputs=tuple(JobId(name) for name in job.spec.inputs),
            dependencies=(),
            tries=job.tries,
            tries_left=0,
            should_retry=False,
            lease_s=30.0,
            heartbeat_s=2.0,
        )

    async def heartbeat(self, ask: g.HeartbeatRequest) -> g.HeartbeatReply:
        return g.HeartbeatReply(leases=tuple(self._beat(ask, beat) for beat in ask.leases))

    async def append_log(self, chunk: g.LogChunk, body: Body) -> g.LogReply:
        attempt = self._own(chunk.attempt_id, chunk.worker_id, chunk.fence)
        if chunk.offset > len(attempt.log):
            raise errors.LogOffsetMismatch(resume_at=len(attempt.log), state=attempt.status.value)
        data = b"".join([piece async for piece in body])
        attempt.log = attempt.log[: chunk.offset] + data
        await self._tell()
        return g.LogReply(
            next_offset=len(attempt.log), attempt_status=attempt.status, cancel_requested=False
        )

    async def put_artifact(self, upload: g.ArtifactUpload, body: Body) -> g.ArtifactReply:
        attempt = self._own(upload.attempt_id, upload.worker_id, upload.fence)
        data = b"".join([piece async for piece in body])
        if upload.part_bytes is not None:
            known = attempt.blobs.get(f"part {upload.entry.sha256}", b"")
            if upload.offset != len(known):
                raise errors.PartOffsetMismatch(resume_at=len(known))
            attempt.blobs[f"part {upload.entry.sha256}"] = data = known + data
            if len(data) < upload.entry.size_bytes:
                return g.ArtifactReply(next_offset=len(data))
        if sha256(data).hexdigest() != upload.entry.sha256:
            raise errors.BadRequest("the bytes have another hash", path=upload.entry.path)
        attempt.blobs[upload.entry.sha256] = data
        return g.ArtifactReply(next_offset=len(data))

    async def list_inputs(self, ask: g.InputListRequest) -> g.InputList:
        attempt = self._own(ask.attempt_id, ask.worker_id, ask.fence)
        source = self._job(attempt.job.run_id, ask.job_id)
        return g.InputList(artifacts=source.attempts[-1].artifacts if source.attempts else ())

    async def read_input(self, ask: g.InputRequest) -> Body:
        attempt = self._own(ask.attempt_id, ask.worker_id, ask.fence)
        async for piece in self.read_artifact(attempt.job.run_id, ask.job_id, ask.path):
            yield piece[ask.offset :]

    async def finish(self, ask: g.FinishRequest) -> g.FinishReply:
        attempt = self._own(ask.attempt_id, ask.worker_id, ask.fence)
        if attempt.receipt is not None:
            if attempt.result != ask.result:
                raise errors.ResultConflict(state=attempt.status.value)
            return attempt.receipt
        if attempt.status is not AttemptStatus.RUNNING:
            raise errors.Conflict(state=attempt.status.value)
        missing = tuple(a.path for a in ask.artifacts if a.sha256 not in attempt.blobs)
        log = attempt.log[: ask.log.tail_offset] + ask.log.tail
        resend = None if len(log) == ask.log.size_bytes else len(attempt.log)
        if missing or resend is not None:
            return g.Incomplete(resend_log_from=resend, missing_artifacts=missing)
        ok = ask.result.outcome is g.Outcome.EXITED and ask.result.exit_code == 0
        attempt.job.status = JobStatus.SUCCESS if ok else JobStatus.FAILED
        attempt.status = AttemptStatus.REPORTED
        attempt.log, attempt.artifacts, attempt.result = log, ask.artifacts, ask.result
        attempt.receipt = g.Receipt(
            receipt_id=self._runtime.new_id(),
            attempt_id=ask.attempt_id,
            fence=ask.fence,
            job_status=attempt.job.status,
        )
        await self._record("job.ended", attempt.job)
        return attempt.receipt

    # -- people ---------------------------------------------------------------------------------

    async def submit(self, ask: j.SubmitRequest) -> j.SubmitReply:
        for run_id, (key, pipeline, _) in self._runs.items():
            if key == ask.idempotency_key:
                if pipeline != ask.pipeline:
                    raise errors.KeyReused(run_id=run_id)
                return j.SubmitReply(run_id=run_id)
        run_id = RunId(len(self._runs) + 1)
        jobs = {
            JobId(spec.id): FakeJob(
                run_id, spec, JobStatus.HELD if spec.approve else JobStatus.QUEUED
            )
            for spec in ask.pipeline.jobs
        }
        self._runs[run_id] = ask.idempotency_key, ask.pipeline, jobs
        await self._record("run.submitted", next(iter(jobs.values())))
        return j.SubmitReply(run_id=run_id)

    async def retry(self, ask: j.RetryRequest) -> j.SubmitReply:
        pipeline = self._run(ask.run_id)[1]
        return await self.submit(
            j.SubmitRequest(idempotency_key=ask.idempotency_key, pipeline=pipeline)
        )

    async def cancel(self, ask: j.CancelRequest) -> None:
        jobs = self._run(ask.run_id)[2]
        for job in [self._job(ask.run_id, ask.job_id)] if ask.job_id else jobs.values():
            if not job.status.is_ended:
                job.status = JobStatus.CANCELLED
                await self._record("job.cancelled", job)

    async def approve(self, ask: j.ApproveRequest) -> None:
        self.decided_by.append(ask.by)
        job = self._job(ask.run_id, ask.job_id)
        if job.status is not JobStatus.HELD:
            raise errors.Conflict(state=job.status.value)
        job.status = JobStatus.QUEUED if ask.is_granted else JobStatus.CANCELLED
        await self._record("job.approved", job)

    async def mark(self, ask: j.MarkRequest) -> None:
        self.decided_by.append(ask.by)
        job = self._job(ask.run_id, ask.job_id)
        if job.status in (JobStatus.CLAIMED, JobStatus.RUNNING):
            raise errors.Conflict(state=job.status.value)
        job.status = JobStatus.SUCCESS
        await self._record("job.marked", job)

    async def list_runs(self, ask: j.RunFilter) -> j.RunList:
        newest = sorted(self._runs, reverse=True)[: ask.limit]
        return j.RunList(runs=tuple([await self.show_run(run_id) for run_id in newest]))

    async def show_run(self, run_id: RunId) -> j.RunView:
        _, pipeline, jobs = self._run(run_id)
        ended = all(job.status.is_ended for job in jobs.values())
        return j.RunView(
            run_id=run_id,
            name=pipeline.name,
            status=RunStatus.SUCCESS if ended else RunStatus.RUNNING,
            exit_code=None,
            created_at=self._runtime.now(),
            started_at=None,
            ended_at=None,
            counts={},
            retry_of=None,
            stages=(),
            jobs=tuple(job.view() for job in jobs.values()),
        )

    async def list_attempts(self, run_id: RunId, job_id: JobId) -> j.AttemptList:
        return j.AttemptList(
            attempts=tuple(
                attempt.view(self._runtime.now()) for attempt in self._job(run_id, job_id).attempts
            )
        )

    async def list_artifacts(self, run_id: RunId, job_id: JobId | None) -> j.ArtifactList:
        jobs = self._run(run_id)[2]
        chosen = [self._job(run_id, job_id)] if job_id else jobs.values()
        return j.ArtifactList(
            artifacts=tuple(
                j.JobArtifact(job_id=JobId(job.spec.id), artifact=artifact)
                for job in chosen
                for attempt in job.attempts[-1:]
                for artifact in attempt.artifacts
            )
        )

    async def read_artifact(self, run_id: RunId, job_id: JobId, path: str) -> Body:
        for attempt in self._job(run_id, job_id).attempts[-1:]:
            for artifact in attempt.artifacts:
                if artifact.path == path:
                    yield attempt.blobs[artifact.sha256]
                    return
        raise errors.UnknownArtifact(path=path)

    async def read_log(
        self,
        run_id: RunId,
        job_id: JobId,
        *,
        attempt: AttemptId | None,
        offset: int,
        follow: bool,
        timestamps: bool = False,
    ) -> Body:
        job = self._job(run_id, job_id)
        while True:
            chosen = [a for a in job.attempts if attempt in (None, a.attempt_id)]
            if attempt is not None and not chosen:
                raise errors.UnknownAttempt(attempt_id=attempt)
            ended = job.status.is_ended
            data = chosen[-1].log[offset:] if chosen else b""
            if data:
                yield data
                offset += len(data)
            elif ended or not follow:
                return
            else:
                async with self._changed:
                    await self._changed.wait()

    async def list_events(self, run_id: RunId, *, after: int, limit: int) -> j.EventList:
        self._run(run_id)
        found = [e for e in self._events if e.run_id == run_id and e.seq > after]
        return j.EventList(events=tuple(found[:limit]))

    async def follow_events(self, run_id: RunId, *, after: int) -> AsyncIterator[j.Event]:
        while True:
            ended = (await self.show_run(run_id)).status.is_ended
            page = await self.list_events(run_id, after=after, limit=1_000)
            for event in page.events:
                yield event
                after = event.seq
            if not page.events:
                if ended:
                    return
                async with self._changed:
                    await self._changed.wait()

    # -- inside ---------------------------------------------------------------------------------

    def _queued(self) -> list[FakeJob]:
        return [
            job
            for _, _, jobs in self._runs.values()
            for job in jobs.values()
            if job.status is JobStatus.QUEUED
            and all(jobs[JobId(name)].status is JobStatus.SUCCESS for name in job.spec.needs)
        ]

    def _own(self, attempt_id: AttemptId, worker_id: WorkerId, fence: int) -> FakeAttempt:
        attempt = self._attempts.get(attempt_id)
        if attempt is None:
            raise errors.UnknownAttempt(attempt_id=attempt_id)
        if attempt.worker_id != worker_id or fence != attempt.job.fence:
            raise errors.StaleFence(attempt_id=attempt_id, state=attempt.status.value)
        return attempt

    def _beat(self, ask: g.HeartbeatRequest, beat: g.LeaseBeat) -> g.LeaseVerdict:
        try:
            attempt = self._own(beat.attempt_id, ask.worker_id, beat.fence)
        except errors.ServiceError as error:
            return g.LeaseVerdict(
                attempt_id=beat.attempt_id, verdict=g.Verdict.GONE, reason=error.code
            )
        if attempt.status is not AttemptStatus.RUNNING:
            verdict, reason = g.Verdict.GONE, attempt.status.value
        elif attempt.job.status is JobStatus.CANCELLED:
            verdict, reason = g.Verdict.CANCEL, "cancelled"
        else:
            return g.LeaseVerdict(
                attempt_id=beat.attempt_id, verdict=g.Verdict.RENEWED, reason=None
            )
        return g.LeaseVerdict(attempt_id=beat.attempt_id, verdict=verdict, reason=reason)

    def _run(self, run_id: RunId) -> tuple[str, PipelineSpec, dict[JobId, FakeJob]]:
        if run_id not in self._runs:
            raise errors.UnknownRun(run_id=run_id)
        return self._runs[run_id]

    def _job(self, run_id: RunId, job_id: JobId) -> FakeJob:
        jobs = self._run(run_id)[2]
        if job_id not in jobs:
            raise errors.UnknownJob(run_id=run_id, job_id=job_id)
        return jobs[job_id]

    async def _record(self, kind: str, job: FakeJob) -> None:
        self._events.append(
            j.Event(
                seq=len(self._events) + 1,
                at=self._runtime.now(),
                kind=kind,
                run_id=job.run_id,
                job_id=JobId(job.spec.id),
            )
        )
        await self._tell()

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()
