"""Who stopped a job, and how: told apart in what `drawbar show` prints."""

from shared.ids import RunId
from tests.support.cluster import Cluster
from tests.support.jobstore import a_job


async def test_cancel_timeout_drain_and_preemption_are_told_apart(cluster: Cluster) -> None:
    worker = await cluster.start_worker("ann")
    late = await cluster.submit(a_job("late", command="exec sleep 600", timeout_s=1))
    unwanted = await begin(cluster, "unwanted")
    patient = await begin(cluster, "patient")

    await cluster.run("cancel", str(unwanted), "--reason", "wrong branch")
    await cluster.until_ended(unwanted)
    await cluster.until_ended(late)
    await cluster.run("worker-drain", "ann", "--reason", "new disk", "--deadline", "0")
    assert await worker.ended() == 0
    drained = await reason(cluster, patient)
    second = cluster.worker("bob")
    await second.start()
    await cluster.until_traced(3)
    await cluster.run("worker-stop", "bob", "--reason", "it is on fire", "--now")
    assert await second.ended() == 0

    assert "cancelled" in await reason(cluster, unwanted)
    assert "timed out after 1 s" in await reason(cluster, late)
    assert "drained: the worker had to leave" in drained
    assert "preempted: the worker was stopped at once" in await reason(cluster, patient)


async def begin(cluster: Cluster, job: str) -> RunId:
    before = len(cluster.traces())
    run_id = await cluster.submit(a_job(job, command=f"{cluster.trace()}; exec sleep 600"))
    await cluster.until_traced(before + 1)
    return run_id


async def reason(cluster: Cluster, run_id: RunId) -> str:
    said = await cluster.run("show", str(run_id), COLUMNS="200")
    assert said.code == 0, said.err
    return said.out.decode()
