"""Commands that watch a run go on when the job service was away for a moment."""

import asyncio
import re

from tests.support.cluster import Cluster
from tests.support.jobstore import a_job


async def test_following_a_run_outlives_a_restart_of_the_job_service(cluster: Cluster) -> None:
    await cluster.start_worker("ann")
    gate = cluster.gate()
    run_id = await cluster.submit(a_job("long", command=gate.wait))
    await cluster.until_event(run_id, "job.running")

    watching = asyncio.create_task(cluster.run("show", str(run_id), "-f"))
    await asyncio.sleep(1.5)  # it follows; nothing tells when
    await cluster.jobstore.kill()
    await asyncio.sleep(1.5)
    await cluster.jobstore.start()
    gate.open()
    done = await watching

    said = done.out.decode()
    assert done.code == 0
    assert "the job service is away; asking again for 5 m 00 s" in said
    assert re.search(r"long +✔ success", said)


async def test_a_look_at_a_service_that_is_starting_waits_for_it(cluster: Cluster) -> None:
    run_id = await cluster.submit(a_job("a"))
    await cluster.run("cancel", str(run_id))
    await cluster.jobstore.kill()

    watching = asyncio.create_task(cluster.run("show", str(run_id), "-f"))
    await asyncio.sleep(3)
    await cluster.jobstore.start()
    done = await watching

    assert "is away; asking again" in done.err
    assert "cancelled" in done.out.decode()
