"""Ten thousand deferred tasks in a job service that does nothing else: what they cost it."""

import asyncio
import hashlib
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, NamedTuple

from benchmarks.fleets import DRAWBAR
from benchmarks.memory import pss_mib
from jobstore.service import JobStoreService
from shared.files import DiskFiles
from shared.ids import ClaimId, WorkerId
from shared.protocol import gateway as g
from shared.protocol.execution import Defer, TriggerSpec
from shared.protocol.jobs import SubmitRequest
from shared.protocol.pipeline import PipelineSpec
from shared.runtime import SystemRuntime

TASKS: Final = 10_000
FILES: Final = 100  # that some of them wait for, looked at every 5 s
AT_ONCE: Final = 500
SETTLE_S: Final = 5.0
WATCH_S: Final = 10.0
WORKER: Final = WorkerId("bench")

runtime = SystemRuntime()


class Cost(NamedTuple):
    memory_mib: float  # more than without them
    core_percent: float


async def cost(folder: Path, tasks: int = TASKS) -> Cost:
    """Of a job service that was started anew, so that no memory of their making is counted."""
    before = await _watch(folder / "empty", folder)
    await put_to_sleep(folder / "full", folder, tasks)
    after = await _watch(folder / "full", folder)
    return Cost(after.memory_mib - before.memory_mib, after.core_percent)


async def put_to_sleep(data: Path, inbox: Path, tasks: int) -> None:
    """So many tasks of one run are deferred, for each kind of reason."""
    service = JobStoreService(
        data / "jobstore" / "jobs.db", DiskFiles(data / "jobstore" / "files", runtime), runtime
    )
    await service.start()
    try:
        task = {"module": "flow", "function": "go"}
        jobs = [{"id": f"t{n}", "task": task} for n in range(tasks + 1)]
        spec = PipelineSpec.model_validate({"name": "waits", "jobs": jobs})
        await service.submit(SubmitRequest(idempotency_key="waits", pipeline=spec))
        for start in range(0, tasks, AT_ONCE):
            some = min(AT_ONCE, tasks - start)
            ask = g.ClaimRequest(
                claim_id=ClaimId(f"c{start}"),
                worker_id=WORKER,
                labels={},
                free_slots=some,
                wait_s=0,
            )
            claims = (await service.claim(ask)).claims
            await asyncio.gather(
                *(
                    _defer(service, claim, _wait(start + n, inbox, tasks))
                    for n, claim in enumerate(claims)
                )
            )
    finally:
        await service.stop()


def _wait(n: int, inbox: Path, tasks: int) -> TriggerSpec:
    """The run's last job never ends: nobody runs it."""
    later = datetime.now(UTC) + timedelta(days=1, seconds=n)
    match n % 5:
        case 0:
            return TriggerSpec(kind="delta", params={"seconds": 86_400 + n})
        case 1:
            return TriggerSpec(kind="time", params={"at": later.isoformat()})
        case 2:
            return TriggerSpec(kind="job", params={"job_id": f"t{tasks}"})
        case 3:
            return TriggerSpec(kind="question", params={"question": f"go on with {n}?"})
        case _:
            return TriggerSpec(kind="file", params={"path": str(inbox / f"in{n // 5 % FILES}")})


async def _defer(service: JobStoreService, claim: g.Claim, trigger: TriggerSpec) -> None:
    named = {"attempt_id": claim.attempt_id, "worker_id": WORKER, "fence": claim.fence}
    await service.run(g.RunRequest(**named, host="bench", pid=1))
    await service.finish(
        g.FinishRequest(
            **named,
            result=g.Result(
                outcome=g.Outcome.TASK_ENDED,
                exit_code=0,
                task=Defer(trigger=trigger, next_method="go_on", timeout_s=86_400 * 2),
            ),
            log=g.LogSummary(
                size_bytes=0,
                sha256=hashlib.sha256().hexdigest(),
                tail_offset=0,
                tail=b"",
                lost_bytes=0,
            ),
            artifacts=(),
            usage=g.Usage(wall_s=0, cpu_s=None, max_rss_bytes=None),
        )
    )


async def _watch(data: Path, inbox: Path) -> Cost:
    """What a daemon on `data` takes when nobody asks it for anything."""
    words = ["jobstore", "--data", str(data), "--listen", "127.0.0.1:0"]
    daemon = await asyncio.create_subprocess_exec(
        DRAWBAR,
        *words,
        "--trigger-folder",
        str(inbox),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        await asyncio.sleep(SETTLE_S)
        began = _cpu_s(daemon.pid)
        await asyncio.sleep(WATCH_S)
        used = _cpu_s(daemon.pid) - began
        return Cost(pss_mib(daemon.pid), used / WATCH_S * 100)
    finally:
        daemon.terminate()
        await daemon.wait()


def _cpu_s(pid: int) -> float:
    """proc(5): fields 14 and 15 of stat, counted behind the name, which may hold spaces."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
