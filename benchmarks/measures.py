"""The measurements (a) to (d) on a running fleet. Each gives one number per repetition."""

import asyncio
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from statistics import quantiles
from typing import NamedTuple

from benchmarks.fleets import Fleet
from benchmarks.shapes import stamping
from benchmarks.stamps import Stamps
from shared.protocol.jobs import RunFilter, RunSummary, SubmitRequest
from shared.protocol.pipeline import PipelineSpec
from shared.protocol.states import RunStatus
from shared.runtime import SystemRuntime

END_S = 300.0
PAUSE_S = 0.02  # the worker's next poll is waiting again by then

runtime = SystemRuntime()


class Latency(NamedTuple):
    """Milliseconds from before the submit until the job's own first act."""

    p50_ms: float
    p99_ms: float

    @classmethod
    def of(cls, samples_ms: Sequence[float]) -> "Latency":
        cuts = quantiles(samples_ms, n=100, method="inclusive")
        return cls(cuts[49], cuts[98])


async def latency(fleet: Fleet, stamps: Stamps, samples: int, *, first: int) -> Latency:
    """One job at a time, into an idle system."""
    taken_ms = []
    for sample in range(first, first + samples):
        pipeline = stamping(sample, stamps.fifo)
        began = time.monotonic_ns()
        await submit(fleet, pipeline)
        started = await asyncio.to_thread(stamps.wait_for, sample)
        taken_ms.append((started - began) / 1e6)
        await until_ended(fleet, look_every_s=0.005)
        await asyncio.sleep(PAUSE_S)
    return Latency.of(taken_ms)


async def duration_s(fleet: Fleet, pipeline: PipelineSpec) -> float:
    """Seconds from the acknowledgement of the submit to the end of the run, as stored."""
    await submit(fleet, pipeline)
    acknowledged = datetime.now(UTC)
    run = await until_ended(fleet, look_every_s=0.1)
    assert run.ended_at is not None
    return (run.ended_at - acknowledged).total_seconds()


async def submit(fleet: Fleet, pipeline: PipelineSpec) -> None:
    """The run is stored."""
    await fleet.jobs.submit(SubmitRequest(idempotency_key=runtime.new_id(), pipeline=pipeline))


async def until_ended(fleet: Fleet, *, look_every_s: float) -> RunSummary:
    """The newest run, which has ended well."""
    async with asyncio.timeout(END_S):
        while True:
            run = (await fleet.jobs.list_runs(RunFilter(limit=1))).runs[0]
            if run.status.is_ended:
                break
            await asyncio.sleep(look_every_s)
    if run.status is not RunStatus.SUCCESS:
        raise RuntimeError(f"the run ended as {run.status}: {run.counts}")
    return run
