"""A job service with a clock that a test moves, and hands that play its workers and people."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from jobstore.execution_data.vault import Vault, keys_from
from jobstore.service import JobStoreService
from jobstore.settings import JobStoreSettings
from jobstore.triggers.ports import Outside
from shared.files import DiskFiles
from shared.ids import ClaimId, JobId, RunId, WorkerId
from shared.protocol import execution as e
from shared.protocol import gateway as g
from shared.protocol import jobs as j
from shared.protocol.pipeline import JobSpec, PipelineSpec, RetryRule
from tests.support.runtime import ManualRuntime

ANN, BEN = WorkerId("ann"), WorkerId("ben")


def a_job(job_id: str, **fields: object) -> JobSpec:
    return JobSpec.model_validate({"id": job_id, "command": "true", **fields})


def retry_at_once(times: int, **fields: object) -> RetryRule:
    return RetryRule.model_validate({"max": times, "delay_s": 10, "jitter": 0, **fields})


@dataclass
class Hands:
    """Short words for what workers and people do. `seen` is what the store must never lose."""

    service: JobStoreService
    runtime: ManualRuntime
    _numbers: "count[int]" = field(default_factory=lambda: count(1))

    async def submit(
        self,
        *jobs: JobSpec,
        skip: tuple[str, ...] = (),
        resume: j.Resume | None = None,
        **pipeline: object,
    ) -> RunId:
        spec = PipelineSpec.model_validate({"name": "test", "jobs": jobs, **pipeline})
        ask = j.SubmitRequest(
            idempotency_key=f"key-{next(self._numbers)}",
            pipeline=spec,
            skip=tuple(JobId(job) for job in skip),
            resume=resume,
        )
        return (await self.service.submit(ask)).run_id

    async def approve(self, run_id: RunId, job_id: str, *, is_granted: bool = True) -> None:
        await self.service.approve(
            j.ApproveRequest(run_id=run_id, job_id=JobId(job_id), by="eve", is_granted=is_granted)
        )

    async def mark(self, run_id: RunId, job_id: str) -> None:
        await self.service.mark(
            j.MarkRequest(run_id=run_id, job_id=JobId(job_id), by="eve", reason="seen")
        )

    async def cancel(self, run_id: RunId, job_id: str | None = None) -> None:
        await self.service.cancel(
            j.CancelRequest(run_id=run_id, job_id=None if job_id is None else JobId(job_id))
        )

    async def claim(
        self,
        worker: WorkerId = ANN,
        *,
        slots: int = 1,
        of: int | None = None,
        wait_s: float = 0,
        claim_id: str | None = None,
        **labels: str,
    ) -> list[g.Claim]:
        ask = g.ClaimRequest(
            claim_id=ClaimId(claim_id or f"claim-{next(self._numbers)}"),
            worker_id=worker,
            labels=labels,
            free_slots=slots,
            total_slots=of,
            wait_s=wait_s,
        )
        return list((await self.service.claim(ask)).claims)

    async def until_asked(self) -> None:
        """Claims that tasks have made so far are with the store, which takes them in order."""
        await asyncio.sleep(0)
        await self.service._store.database.write(lambda tx: None)

    async def run(self, claim: g.Claim, worker: WorkerId = ANN) -> g.RunContext:
        return await self.service.run(
            g.RunRequest(
                attempt_id=claim.attempt_id, worker_id=worker, fence=claim.fence, host="h", pid=1
            )
        )

    async def start(self, worker: WorkerId = ANN) -> g.Claim:
        """The next job is claimed and runs."""
        (claim,) = await self.claim(worker)
        await self.run(claim, worker)
        return claim

    async def refuse(self, claim: g.Claim, worker: WorkerId = ANN) -> None:
        await self.service.refuse(
            g.RefuseRequest(
                attempt_id=claim.attempt_id, worker_id=worker, fence=claim.fence, reason="test"
            )
        )

    async def beat(
        self, claim: g.Claim, worker: WorkerId = ANN, *, phase: str = "executing"
    ) -> g.LeaseVerdict:
        beat = g.LeaseBeat(attempt_id=claim.attempt_id, fence=claim.fence, phase=phase)
        ask = g.HeartbeatRequest(worker_id=worker, leases=(beat,))
        return (await self.service.heartbeat(ask)).leases[0]

    async def finish(
        self,
        claim: g.Claim,
        exit_code: int | None = 0,
        worker: WorkerId = ANN,
        *,
        outcome: g.Outcome = g.Outcome.EXITED,
        log: bytes = b"",
        tail_offset: int = 0,
        artifacts: tuple[g.ArtifactEntry, ...] = (),
        task: e.AttemptState | None = None,
    ) -> g.FinishReply:
        return await self.service.finish(
            g.FinishRequest(
                attempt_id=claim.attempt_id,
                worker_id=worker,
                fence=claim.fence,
                result=g.Result(outcome=outcome, exit_code=exit_code, task=task),
                log=g.LogSummary(
                    size_bytes=len(log),
                    sha256=hashlib.sha256(log).hexdigest(),
                    tail_offset=tail_offset,
                    tail=log[tail_offset:],
                    lost_bytes=0,
                ),
                artifacts=artifacts,
                usage=g.Usage(wall_s=1, cpu_s=None, max_rss_bytes=None),
            )
        )

    async def do(self, exit_code: int = 0, worker: WorkerId = ANN) -> g.FinishReply:
        """The next job runs and ends."""
        return await self.finish(await self.start(worker), exit_code, worker)

    async def play(self, *failing: str) -> list[str]:
        """Jobs run one by one until none may be claimed; those in `failing` fail. Their order."""
        order: list[str] = []
        while claims := await self.claim():
            await self.run(claims[0])
            await self.finish(claims[0], int(claims[0].job_id in failing))
            order.append(claims[0].job_id)
        return order

    async def stages(self, run_id: RunId) -> list[str]:
        return [stage.status.value for stage in (await self.service.show_run(run_id)).stages]

    async def reason(self, run_id: RunId, job_id: str) -> str | None:
        """What the job ended for."""
        reason = (await self.job(run_id, job_id)).reason
        return None if reason is None else reason.what

    async def status(self, run_id: RunId) -> dict[str, str]:
        """Job id → status, and "run" → the run's."""
        view = await self.service.show_run(run_id)
        return {"run": view.status.value} | {job.id: job.status.value for job in view.jobs}

    async def job(self, run_id: RunId, job_id: str) -> j.JobView:
        view = await self.service.show_run(run_id)
        return next(job for job in view.jobs if job.id == job_id)

    async def attempts(self, run_id: RunId, job_id: str) -> list[j.AttemptView]:
        return list((await self.service.list_attempts(run_id, JobId(job_id))).attempts)

    async def until(self, run_id: RunId, kind: str, *, times: int = 1) -> j.Event:
        """The event has happened `times` times: it is on disk, followers have it."""
        async with asyncio.timeout(10):
            async for event in self.service.follow_events(run_id, after=0):
                times -= event.kind == kind
                if times == 0:
                    return event
        raise AssertionError(f"the run ended without {kind}")


@asynccontextmanager
async def hands_on(
    folder: Path,
    runtime: ManualRuntime | None = None,
    settings: JobStoreSettings | None = None,
    outside: Outside | None = None,
) -> AsyncIterator[Hands]:
    """A job service on `folder`, started, and stopped afterwards."""
    runtime = runtime or ManualRuntime()
    files = DiskFiles(folder / "files", runtime)
    vault = Vault(keys_from(folder / "keys", runtime, {}))
    service = JobStoreService(folder / "jobs.db", files, runtime, settings, vault, outside)
    await service.start()
    try:
        yield Hands(service, runtime)
    finally:
        await service.stop()
