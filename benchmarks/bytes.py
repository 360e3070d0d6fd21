"""Much to carry: a log and an artifact of a GiB, and the memory of the worker that carries them."""

import asyncio
import subprocess
import time
from pathlib import Path
from typing import Final, NamedTuple

from benchmarks.fleets import Fleet
from benchmarks.measures import submit, until_ended
from benchmarks.memory import pss_mib
from shared.ids import JobId, RunId
from shared.protocol.jobs import RunFilter
from shared.protocol.pipeline import JobSpec, PipelineSpec

GIB: Final = 1 << 30
LOOK_S: Final = 0.05
WRITE: Final = f"head -c {GIB} /dev/zero | tr '\\0' x"  # one line without an end


class Carried(NamedTuple):
    """Seconds, and the most that the worker needed meanwhile."""

    job_s: float  # from the start of the process to its end
    whole_s: float  # from the start to the receipt
    worker_mib: float


async def log_of_a_gib(fleet: Fleet) -> Carried:
    """The job writes it; every byte is there afterwards."""
    carried = await _carry(fleet, JobSpec(id="loud", command=WRITE))
    attempt = (await fleet.jobs.list_attempts(await _newest(fleet), JobId("loud"))).attempts[0]
    if (attempt.log_size_bytes, attempt.log_lost_bytes) != (GIB, 0):
        raise RuntimeError(f"of the log {attempt.log_size_bytes} bytes arrived")
    return carried


async def artifact_of_a_gib(fleet: Fleet, file: Path) -> Carried:
    """`file` is what the job leaves."""
    return await _carry(
        fleet,
        JobSpec(id="big", command="true", working_dir=str(file.parent), artifacts=(file.name,)),
    )


def write_s(file: Path) -> float:
    """What the same job takes when it writes into a file."""
    return _shell_s(f"{WRITE} > {file}")


def copy_s(file: Path) -> float:
    """`cp` and `sha256sum` of it, on the same disk."""
    return _shell_s(f"cp {file} {file}.copy && sha256sum {file}.copy && rm {file}.copy")


def make_file(folder: Path) -> Path:
    """A GiB that no two are the same of, so that none is known before."""
    file = folder / "big.bin"
    subprocess.run(["sh", "-c", f"head -c {GIB} /dev/urandom > {file}"], check=True)
    return file


async def _carry(fleet: Fleet, job: JobSpec) -> Carried:
    most = 0.0

    async def watch() -> None:
        nonlocal most
        while True:
            most = max(most, pss_mib(fleet.pids["worker"]))
            await asyncio.sleep(LOOK_S)

    async with asyncio.TaskGroup() as group:
        watching = group.create_task(watch())
        await submit(fleet, PipelineSpec(name="bytes", jobs=(job,)))
        run = await until_ended(fleet, look_every_s=LOOK_S)
        watching.cancel()
    (attempt,) = (await fleet.jobs.list_attempts(run.run_id, JobId(job.id))).attempts
    assert run.ended_at is not None
    assert attempt.started_at is not None
    assert attempt.usage is not None
    whole = (run.ended_at - attempt.started_at).total_seconds()
    return Carried(attempt.usage.wall_s, whole, most)


async def _newest(fleet: Fleet) -> RunId:
    return (await fleet.jobs.list_runs(RunFilter(limit=1))).runs[0].run_id


def _shell_s(command: str) -> float:
    began = time.perf_counter()
    subprocess.run(["sh", "-c", command], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began
