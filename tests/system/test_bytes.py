"""Logs and artifacts between real daemons: followed at once, and carried through restarts."""

import asyncio
import random
import time
from hashlib import sha256

import pytest

from shared.ids import JobId, RunId
from shared.protocol.states import RunStatus
from tests.support.cluster import Cluster
from tests.support.jobstore import a_job

BYTES = 60_000_000


async def read(cluster: Cluster, run_id: RunId, path: str) -> bytes:
    pieces = cluster.jobs.read_artifact(run_id, JobId("big"), path)
    return b"".join([piece async for piece in pieces])


async def test_a_follower_sees_a_write_within_200_ms(cluster: Cluster) -> None:
    await cluster.start_worker("ann")
    command = "for i in 1 2 3 4 5 6 7 8; do sleep 0.23; date +%s%N; done"
    run_id = await cluster.submit(a_job("slow", command=command))
    late_ms = []

    pieces = cluster.jobs.read_log(run_id, JobId("slow"), attempt=None, offset=0, follow=True)
    async for piece in pieces:
        now = time.time_ns()
        late_ms += [(now - int(line)) / 1e6 for line in piece.split()]

    assert len(late_ms) == 8
    assert sorted(late_ms)[6] <= 200  # one may be late: the machine has other things to do


@pytest.mark.prove
@pytest.mark.parametrize("victim", ["gateway", "jobstore"])
async def test_an_artifact_and_a_log_go_on_where_a_restart_cut_them_off(
    cluster: Cluster, victim: str
) -> None:
    await cluster.start_worker("ann")
    chance = random.Random(victim)
    command = f"head -c {BYTES} /dev/urandom > big.bin; sha256sum big.bin > sum; base64 big.bin"
    run_id = await cluster.submit(a_job("big", command=command, artifacts=["big.bin", "sum"]))
    service = cluster.services[victim]

    async with asyncio.TaskGroup() as group:
        ending = group.create_task(cluster.until_ended(run_id))
        for _ in range(4):
            await asyncio.sleep(chance.uniform(0.05, 0.6))  # a random byte of the upload
            if ending.done():
                break
            await service.kill()
            await service.start()

    assert ending.result().status is RunStatus.SUCCESS
    big = await read(cluster, run_id, "big.bin")
    assert (await read(cluster, run_id, "sum")).startswith(sha256(big).hexdigest().encode())
    (attempt,) = await cluster.attempts(run_id, "big")
    assert attempt.log_lost_bytes == 0
