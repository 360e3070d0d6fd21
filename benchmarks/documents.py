"""A large document: how long until it is a pipeline, and until that is stored."""

import json
import time
from pathlib import Path
from typing import Any, Final

from benchmarks.fleets import embedded
from benchmarks.measures import runtime
from drawbar.document import load
from shared.protocol.jobs import SubmitRequest
from shared.protocol.pipeline import PipelineSpec

JOBS: Final = 10_000
NEEDS: Final = 3  # of each job, but for the first layer: 29,997 in all
WIDTH: Final = 3

SYNTAXES: Final = ("YAML", "JSON")


def write_large(folder: Path, syntax: str) -> Path:
    """The document is written; its jobs wait for a worker that there is not."""
    document = {"name": "large", "jobs": [_job(n) for n in range(JOBS)]}
    path = folder / f"large.{syntax.lower()}"
    if syntax == "JSON":
        path.write_text(json.dumps(document, indent=2))
    else:
        path.write_text("name: large\njobs:\n" + "".join(map(_as_yaml, document["jobs"])))
    return path


def load_s(path: Path) -> float:
    """Seconds from the file to the pipeline, every rule checked."""
    began = time.perf_counter()
    pipeline = load(path).spec
    taken = time.perf_counter() - began
    assert (len(pipeline.jobs), needs_of(pipeline)) == (JOBS, (JOBS - WIDTH) * NEEDS)
    return taken


def needs_of(pipeline: PipelineSpec) -> int:
    return sum(len(job.needs) for job in pipeline.jobs)


async def submit_s(path: Path, folder: Path) -> float:
    """Seconds from the pipeline to the acknowledgement that it is stored."""
    request = SubmitRequest(idempotency_key=runtime.new_id(), pipeline=load(path).spec)
    async with embedded(folder, 1) as fleet:
        began = time.perf_counter()
        await fleet.jobs.submit(request)
        return time.perf_counter() - began


def _job(n: int) -> dict[str, Any]:
    """One of a layer of three, which needs all of the layer before."""
    before = n // WIDTH * WIDTH - WIDTH
    return {
        "id": f"job-{n}",
        "command": f"make target-{n} --quiet",
        "needs": [f"job-{before + i}" for i in range(NEEDS)] if n >= WIDTH else [],
        "requires": {"rack": "none"},
        "timeout": "10m",
        "env": {"TARGET": str(n)},
    }


def _as_yaml(job: Any) -> str:
    needs = "".join(f"\n      - {need}" for need in job["needs"])
    return (
        f"  - id: {job['id']}\n    command: {job['command']}\n    requires: {{rack: none}}\n"
        f"    timeout: {job['timeout']}\n    env:\n      TARGET: '{job['env']['TARGET']}'\n"
        f"    needs:{needs or ' []'}\n"
    )
