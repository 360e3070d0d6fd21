"""While the registry is away nothing starts, nothing is spent, nobody spins (flow 6, P4, P5)."""

import asyncio
import signal
from collections import Counter
from pathlib import Path

from shared.protocol.states import JobStatus, RunStatus
from tests.support.cluster import cluster_in
from tests.support.history import assert_sound
from tests.support.jobstore import a_job

LEASE_S = 12.0  # so a claim may wait 6 s for its start, and a refused job rests for 4 s
AWAY_S = 6.0  # longer than that rest, so that whoever spins has time to


async def test_while_the_registry_is_away_no_job_starts_and_nobody_spins(tmp_path: Path) -> None:
    """In two installations at a time, for the test mostly waits."""
    async with asyncio.TaskGroup() as group:
        for how in ("killed", "frozen"):
            folder = tmp_path / how
            folder.mkdir()
            group.create_task(outlast(folder, how), name=how)


async def outlast(folder: Path, how: str) -> None:
    """The registry was away like that for a while, and all that is promised of it held."""
    async with cluster_in(folder, lease_s=LEASE_S, silent_after_s=4.0) as cluster:
        await cluster.start_worker("ann", slots=2)
        if how == "killed":
            await cluster.registry.kill()
        else:
            cluster.registry.send(signal.SIGSTOP)
        run_id = await cluster.submit(*(a_job(f"job-{n}", command=cluster.trace()) for n in "abcd"))
        await cluster.until_event(run_id, "job.refused", times=2)
        await asyncio.sleep(AWAY_S)
        away = await cluster.jobs.show_run(run_id)
        events = Counter(event.kind for event in await cluster.events(run_id))
        traces = cluster.traces()

        if how == "killed":
            await cluster.registry.start()
        else:
            cluster.registry.send(signal.SIGCONT)
        run = await cluster.until_ended(run_id)

        assert {job.status for job in away.jobs} <= {JobStatus.QUEUED, JobStatus.CLAIMED}
        assert sum(job.tries for job in away.jobs) == 0
        assert traces == []
        assert events["job.claimed"] <= 4
        assert run.status is RunStatus.SUCCESS
        assert [job.tries for job in run.jobs] == [1, 1, 1, 1]
        assert len(cluster.traces()) == 4
        await assert_sound(cluster, [run_id])


async def test_a_running_job_does_not_notice_that_the_registry_is_away(tmp_path: Path) -> None:
    async with cluster_in(tmp_path) as cluster:
        await cluster.start_worker("ann")
        gate = cluster.gate()
        run_id = await cluster.submit(a_job("long", command=f"{cluster.trace()}; {gate.wait}"))
        await cluster.until_traced(1)

        await cluster.registry.kill()
        gate.open()
        run = await cluster.until_ended(run_id)

        assert run.status is RunStatus.SUCCESS
        assert not cluster.registry.is_alive
