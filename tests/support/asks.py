"""What workers ask of the job service for an attempt, in the words of the protocol."""

from collections.abc import AsyncIterator
from hashlib import sha256

from shared.ids import ClaimId, WorkerId
from shared.protocol import gateway as g
from shared.protocol.pipeline import JobSpec, PipelineSpec

ANN, BEN = WorkerId("worker-ann"), WorkerId("worker-ben")
USAGE = g.Usage(wall_s=0.5, cpu_s=None, max_rss_bytes=None)


async def body(data: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(data), 65_536):
        yield data[start : start + 65_536]


async def collect(pieces: AsyncIterator[bytes]) -> bytes:
    return b"".join([piece async for piece in pieces])


def a_pipeline(*jobs: JobSpec) -> PipelineSpec:
    return PipelineSpec(name="demo", jobs=jobs or (JobSpec(id="one", command="true"),))


def a_claim(
    worker: WorkerId, claim_id: str, *, slots: int = 1, wait_s: float = 0
) -> g.ClaimRequest:
    return g.ClaimRequest(
        claim_id=ClaimId(claim_id), worker_id=worker, labels={}, free_slots=slots, wait_s=wait_s
    )


def a_run(claim: g.Claim, worker: WorkerId = ANN) -> g.RunRequest:
    return g.RunRequest(
        attempt_id=claim.attempt_id, worker_id=worker, fence=claim.fence, host="here", pid=1
    )


def a_beat(claim: g.Claim, worker: WorkerId = ANN) -> g.HeartbeatRequest:
    beat = g.LeaseBeat(attempt_id=claim.attempt_id, fence=claim.fence, phase="executing")
    return g.HeartbeatRequest(worker_id=worker, leases=(beat,))


def a_chunk(claim: g.Claim, data: bytes, offset: int = 0) -> g.LogChunk:
    return g.LogChunk(
        attempt_id=claim.attempt_id,
        worker_id=ANN,
        fence=claim.fence,
        offset=offset,
        size_bytes=len(data),
    )


def an_upload(claim: g.Claim, path: str, data: bytes) -> g.ArtifactUpload:
    return g.ArtifactUpload(
        attempt_id=claim.attempt_id, worker_id=ANN, fence=claim.fence, entry=an_entry(path, data)
    )


def an_entry(path: str, data: bytes) -> g.ArtifactEntry:
    return g.ArtifactEntry(path=path, size_bytes=len(data), sha256=sha256(data).hexdigest())


def a_finish(
    claim: g.Claim,
    *,
    worker: WorkerId = ANN,
    exit_code: int = 0,
    log: bytes = b"",
    tail_offset: int = 0,
    artifacts: tuple[g.ArtifactEntry, ...] = (),
) -> g.FinishRequest:
    return g.FinishRequest(
        attempt_id=claim.attempt_id,
        worker_id=worker,
        fence=claim.fence,
        result=g.Result(outcome=g.Outcome.EXITED, exit_code=exit_code),
        log=g.LogSummary(
            size_bytes=len(log),
            sha256=sha256(log).hexdigest(),
            tail_offset=tail_offset,
            tail=log[tail_offset:],
            lost_bytes=0,
        ),
        artifacts=artifacts,
        usage=USAGE,
    )
