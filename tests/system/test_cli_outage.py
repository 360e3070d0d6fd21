"""Commands that watch a run go on when the job service was away for a moment."""

import re

from shared.ids import RunId
from tests.support.cluster import Cluster
from tests.support.daemons import Daemon, until
from tests.support.jobstore import a_job


async def test_following_a_run_outlives_a_restart_of_the_job_service(cluster: Cluster) -> None:
    await cluster.start_worker("ann")
    gate = cluster.gate()
    run_id = await cluster.submit(a_job("quick"), a_job("long", command=gate.wait))
    watching = await watch(cluster, run_id)
    await until_said(watching, r"quick  success in")

    await cluster.jobstore.kill()
    await until_said(watching, r"the job service is away; asking again for 5 m 00 s")
    await cluster.jobstore.start()
    gate.open()

    assert await watching.ended() == 0
    assert re.search(r"long +✔ success", watching.said())


async def test_a_look_at_a_service_that_is_starting_waits_for_it(cluster: Cluster) -> None:
    run_id = await cluster.submit(a_job("a"))
    await cluster.run("cancel", str(run_id))
    await cluster.jobstore.kill()

    watching = await watch(cluster, run_id)
    await until_said(watching, "is away; asking again")
    await cluster.jobstore.start()

    assert await watching.ended() == 1
    assert "cancelled" in watching.said()


async def watch(cluster: Cluster, run_id: RunId) -> Daemon:
    """Somebody typed `drawbar show RUN --follow`."""
    watching = cluster.daemon("show", str(run_id), "--follow")
    await watching.launch()
    return watching


async def until_said(watching: Daemon, pattern: str) -> None:
    async def is_said() -> bool:
        assert watching.is_alive, watching.said()
        return re.search(pattern, watching.said()) is not None

    await until(is_said, f"it said {pattern!r}")
