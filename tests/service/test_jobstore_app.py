"""The job service's daemon, in this process, told to stop by a real signal."""

import asyncio
import os
import signal
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from jobstore.app import serve
from shared.errors import Misconfigured, StoreUnusable
from shared.http.clients import JobsClient
from shared.http.transport import Transport
from shared.keys import load_keys
from shared.protocol import jobs as j
from shared.protocol.jobs import RunFilter
from shared.protocol.pipeline import JobSpec, PipelineSpec
from shared.runtime import SystemRuntime
from shared.tokens import Minter, Role

PIPELINE = PipelineSpec(name="demo", jobs=(JobSpec(id="one", command="true"),))
RUNTIME = SystemRuntime()


async def while_served(data: Path, use: Callable[[JobsClient], Awaitable[object]]) -> None:
    """`use` was called with a client of a fresh daemon, which then ended in good order."""
    keys = load_keys(data / "keys", RUNTIME)
    token = Minter(keys.signing, RUNTIME).client("ann", Role.ADMIN)
    url: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        group.create_task(
            serve(
                data / "jobstore", keys, RUNTIME, host="127.0.0.1", port=0, started=url.set_result
            )
        )
        transport = Transport(await url, RUNTIME, token=lambda: token, service="job service")
        try:
            await use(JobsClient(transport))
        finally:
            await transport.close()
            os.kill(os.getpid(), signal.SIGTERM)


async def test_a_run_that_was_submitted_is_there_after_a_restart(tmp_path: Path) -> None:
    async def submit(jobs: JobsClient) -> None:
        await jobs.submit(j.SubmitRequest(idempotency_key="k", pipeline=PIPELINE))

    async def look(jobs: JobsClient) -> None:
        assert [run.name for run in (await jobs.list_runs(RunFilter(limit=10))).runs] == ["demo"]

    await while_served(tmp_path, submit)
    await while_served(tmp_path, look)


async def test_a_port_in_use_stops_the_start_with_one_line(tmp_path: Path) -> None:
    keys = load_keys(tmp_path / "keys", RUNTIME)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        with pytest.raises(Misconfigured, match=f"cannot listen on 127.0.0.1:{port}: address"):
            await serve(tmp_path / "jobstore", keys, RUNTIME, host="127.0.0.1", port=port)


async def test_a_database_that_is_none_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "jobstore").mkdir()
    (tmp_path / "jobstore" / "jobs.db").write_bytes(b"this is no database" * 100)
    keys = load_keys(tmp_path / "keys", RUNTIME)

    with pytest.raises(StoreUnusable):
        await serve(tmp_path / "jobstore", keys, RUNTIME, host="127.0.0.1", port=0)
