"""What it costs a job to outlive its worker: below a keeper, and as a child of the worker's own."""

import asyncio
import os
import time
from pathlib import Path
from typing import Final

from shared.ids import AttemptId
from worker.joblog import open_log
from worker.ports import Launch
from worker.runners.kept import KeptRunner

JOBS: Final = 500
ARGV: Final = ["/bin/true"]


async def extra_ms(folder: Path, times: int) -> list[float]:
    """Milliseconds a job, one after the other, in so many rounds; the first is a warm-up."""
    runner = KeptRunner(folder / "launcher")
    launch = Launch(
        argv=ARGV, env={}, cwd=folder, log=folder / "log", attempt_id=AttemptId("bench")
    )
    extra = []
    try:
        for _ in range(times + 1):
            began = time.perf_counter()
            for _ in range(JOBS):
                process = await runner.start(launch)
                await process.wait()
                await process.reap()
                process.release()
            kept_s = time.perf_counter() - began
            began = time.perf_counter()
            for _ in range(JOBS):
                await _as_a_child(folder / "log")
            extra.append((kept_s - (time.perf_counter() - began)) / JOBS * 1_000)
    finally:
        runner.close()
    return extra[1:]


async def _as_a_child(log: Path) -> None:
    """The least that a worker can do: start it, be told of its end, wait for it."""
    output = open_log(log, os.O_WRONLY)
    actions = [(os.POSIX_SPAWN_DUP2, output, n) for n in (1, 2)]
    pid = os.posix_spawn(ARGV[0], ARGV, {}, file_actions=actions, setsid=True)  # noqa: ASYNC221 - measured
    os.close(output)
    ended = asyncio.get_running_loop().create_future()
    pidfd = os.pidfd_open(pid)
    asyncio.get_running_loop().add_reader(pidfd, ended.set_result, None)
    await ended
    asyncio.get_running_loop().remove_reader(pidfd)
    os.close(pidfd)
    os.waitpid(pid, 0)  # noqa: ASYNC222 - it has ended
