"""Components of real daemons: listed while they live, and told apart from those that died."""

from shared.protocol.components import ComponentFilter, ComponentView
from tests.support.cluster import Cluster
from tests.support.daemons import until


async def listed(cluster: Cluster) -> list[ComponentView]:
    ask = ComponentFilter(with_ended=True)
    return list((await cluster.jobs.components.list_components(ask)).components)


async def until_live(cluster: Cluster, kind: str, pid: int) -> None:
    """It is in its place, as its record says."""

    async def is_live() -> bool:
        return any(
            (one.kind, one.pid, one.state, one.status) == (kind, pid, "live", "running")
            for one in await listed(cluster)
        )

    await until(is_live, f"the {kind} of process {pid} is listed as running")


async def test_every_long_running_part_is_listed_with_its_process(cluster: Cluster) -> None:
    worker = await cluster.start_worker("ann")
    await until_live(cluster, "worker", worker.pid)

    found = {(one.kind, one.name, one.pid) for one in await listed(cluster)}

    inside = {(kind, "jobstore") for kind in ("keeper", "notifier", "scheduler", "triggerer")}
    assert {(k, n, cluster.jobstore.pid) for k, n in inside} <= found
    assert ("worker", "ann", worker.pid) in found


async def test_a_drained_worker_has_ended_and_a_killed_one_is_replaced(cluster: Cluster) -> None:
    drained = await cluster.start_worker("ann")
    await until_live(cluster, "worker", drained.pid)
    await drained.stop()
    killed = await cluster.start_worker("ben")
    await until_live(cluster, "worker", killed.pid)
    await killed.kill()

    successor = await cluster.start_worker("ben")
    await until_live(cluster, "worker", successor.pid)

    of_pid = {one.pid: one for one in await listed(cluster)}
    assert (of_pid[drained.pid].state, of_pid[drained.pid].status) == ("ended", "completed")
    assert (of_pid[killed.pid].state, of_pid[killed.pid].status) == ("ended", "replaced")
    assert of_pid[successor.pid].fence == of_pid[killed.pid].fence + 1


async def test_a_job_service_that_was_killed_leaves_records_that_say_so(cluster: Cluster) -> None:
    before = cluster.jobstore.pid
    await cluster.jobstore.kill()

    await cluster.jobstore.start()
    await until_live(cluster, "scheduler", cluster.jobstore.pid)

    ends = {one.kind: one.status for one in await listed(cluster) if one.pid == before}
    assert ends["scheduler"] == "replaced"
