"""How soon all is well again after a crash, a lost worker, an outage: in numbers, each printed."""

import asyncio
from collections import Counter
from itertools import pairwise
from pathlib import Path
from time import monotonic
from typing import Final

import pytest

from tests.support.cluster import Cluster, cluster_in
from tests.support.jobstore import a_job
from tests.support.player import Player

QUEUED: Final = 100_000
A_RUN: Final = 10_000
ANSWERS_WITHIN_S: Final = 10.0
LEASE_S: Final = 30.0
LATE_S: Final = 5.0  # after its lease, an orphan is back in the queue
AWAY_S: Final = 45.0
REST_S: Final = 10.0  # a job is refused by one worker once in so long

pytestmark = [pytest.mark.prove, pytest.mark.system, pytest.mark.timeout(600)]


def tell(line: str) -> None:
    print(line)  # noqa: T201  # the numbers are what was asked for


async def test_a_job_service_that_was_killed_with_a_long_queue_answers_soon(
    tmp_path: Path,
) -> None:
    cluster = Cluster(tmp_path)
    try:
        await cluster.start_services()
        for _ in range(QUEUED // A_RUN):
            await cluster.submit(*(a_job(f"j{n}") for n in range(A_RUN)))
        player = await Player.enrolled(cluster)
        await cluster.jobstore.kill()

        began = monotonic()
        await cluster.jobstore.start()
        ready_s = monotonic() - began
        claims = await player.claim(slots=4)
        claimed_s = monotonic() - began
    finally:
        await cluster.end()

    tell(f"{QUEUED} queued: ready after {ready_s:.1f} s, a claim served after {claimed_s:.1f} s")
    assert len(claims) == 4
    assert claimed_s <= ANSWERS_WITHIN_S


async def test_an_orphaned_job_is_back_in_the_queue_soon_after_its_lease(tmp_path: Path) -> None:
    async with cluster_in(tmp_path, lease_s=LEASE_S) as cluster:
        gone, other = await Player.enrolled(cluster, "gone"), await Player.enrolled(cluster, "ben")
        await cluster.submit(a_job("orphan"))
        (claim,) = await gone.claim()
        await gone.run(claim)

        began = monotonic()  # from here on nothing is heard of it
        while not (again := await other.claim(wait_s=10)):
            assert monotonic() - began < 2 * LEASE_S
        took_s = monotonic() - began

    tell(f"orphan claimed anew after {took_s:.1f} s, with a lease of {LEASE_S:g} s")
    assert again[0].job_id == "orphan"
    assert again[0].fence == claim.fence + 1
    assert took_s <= LEASE_S + LATE_S


async def test_while_the_registry_is_away_a_job_is_refused_once_in_ten_seconds_at_most(
    tmp_path: Path,
) -> None:
    async with cluster_in(tmp_path, lease_s=LEASE_S) as cluster:
        await cluster.start_worker("ann", slots=2)
        await cluster.registry.kill()
        run_id = await cluster.submit(*(a_job(f"job-{n}") for n in range(8)))
        await asyncio.sleep(AWAY_S)  # an outage takes as long as it takes
        events = await cluster.events(run_id)
        await cluster.registry.start()
        run = await cluster.until_ended(run_id)

    refused = [event for event in events if event.kind == "job.refused"]
    times = Counter(event.job_id for event in refused)
    tell(f"{len(refused)} refusals of {len(run.jobs)} jobs in {AWAY_S:g} s: {dict(times)}")
    for job_id in times:
        moments = [event.at for event in refused if event.job_id == job_id]
        assert all((b - a).total_seconds() >= REST_S for a, b in pairwise(moments))
    assert sum(job.tries for job in run.jobs) == len(run.jobs)
