"""The six flows of the design, between real processes."""

from collections.abc import AsyncIterator

from shared.http import wire
from shared.ids import JobId, RunId
from shared.protocol.registry import WorkerView
from shared.protocol.states import AttemptStatus, JobStatus, RunStatus, WorkerStatus
from tests.support.cluster import Cluster
from tests.support.daemons import until
from tests.support.history import assert_sound
from tests.support.jobstore import a_job, retry_at_once
from tests.support.player import Player


async def test_flow_1_a_job_is_claimed_announced_run_reported_and_receipted(
    cluster: Cluster,
) -> None:
    await cluster.start_worker("ann")
    gate = cluster.gate()
    command = f"echo begun; {gate.wait}; printf made > made.txt; echo done; exit 0"
    run_id = await cluster.submit(a_job("build", command=command, artifacts=["*.txt"]))

    started = await cluster.until_event(run_id, "job.running")
    during = await until_status(cluster, WorkerStatus.WORKING)
    gate.open()
    run = await cluster.until_ended(run_id)
    after = await until_status(cluster, WorkerStatus.READY)

    (attempt,) = await cluster.attempts(run_id, "build")
    log = await log_of(cluster, run_id, "build")
    made = await read(cluster.jobs.read_artifact(run_id, JobId("build"), "made.txt"))
    assert (run.status, run.exit_code, attempt.exit_code) == (RunStatus.SUCCESS, 0, 0)
    assert during.attempts == (started.attempt_id,)
    assert (after.attempts, after.free_slots) == ((), after.slots)
    assert (log, made) == (b"begun\ndone\n", b"made")
    assert attempt.log_size_bytes == len(log)
    assert attempt.receipt_id is not None
    await assert_sound(cluster, [run_id])


async def test_flow_2_a_worker_without_a_job_is_told_so_when_its_poll_ends(
    cluster: Cluster,
) -> None:
    player = await Player.enrolled(cluster)

    answer = await player.claim_raw(wait_s=0.3)

    assert answer.status == 204
    assert answer.headers[wire.REASON] == "no_job"
    assert wire.RETRY_AFTER not in answer.headers


async def test_flow_3_an_outage_of_the_job_service_is_no_job_with_a_reason(
    cluster: Cluster,
) -> None:
    player = await Player.enrolled(cluster)
    await cluster.jobstore.stop()

    answer = await player.claim_raw(wait_s=0.3)

    assert answer.status == 204
    assert answer.headers[wire.REASON] == "jobstore_unavailable"
    assert int(answer.headers[wire.RETRY_AFTER]) >= 1


async def test_flow_3_workers_go_on_when_the_job_service_is_back(cluster: Cluster) -> None:
    worker = await cluster.start_worker("ann")
    await cluster.jobstore.stop()
    await cluster.jobstore.start()

    run = await cluster.until_ended(await cluster.submit(a_job("later")))

    assert run.status is RunStatus.SUCCESS
    assert worker.is_alive


async def test_flow_4_a_job_outlives_the_gateway_and_its_result_arrives(cluster: Cluster) -> None:
    await cluster.start_worker("ann")
    gate = cluster.gate()
    command = f"{cluster.trace('began')}; {gate.wait}; echo whole; {cluster.trace('ended')}"
    run_id = await cluster.submit(a_job("long", command=command))
    await cluster.until_traced(1, "began")

    await cluster.gateway.kill()
    gate.open()
    await cluster.until_traced(1, "ended")
    before = await cluster.job(run_id, "long")
    await cluster.gateway.start()
    run = await cluster.until_ended(run_id)

    log = await log_of(cluster, run_id, "long")
    assert before.status is JobStatus.RUNNING
    assert run.status is RunStatus.SUCCESS
    assert log == b"whole\n"
    assert len(cluster.traces("began")) == 1
    await assert_sound(cluster, [run_id])


async def test_flow_5_an_exit_code_is_a_fact_and_the_retry_rule_decides(cluster: Cluster) -> None:
    await cluster.start_worker("ann")
    rule = retry_at_once(2, delay_s=0.1)
    run_id = await cluster.submit(
        a_job("flaky", command="test $DRAWBAR_TRY = 2 || exit 7", retry=rule),
        a_job("broken", command="exit 9", allow_failure=True),
    )

    run = await cluster.until_ended(run_id)

    tries = [a.exit_code for a in await cluster.attempts(run_id, "flaky")]
    broken = await cluster.job(run_id, "broken")
    assert tries == [7, 0]
    assert (broken.status, broken.exit_code, broken.tries) == (JobStatus.FAILED, 9, 1)
    assert broken.reason is not None
    assert (broken.reason.who, broken.reason.what) == ("job", "exit_code")
    assert run.status is RunStatus.SUCCESS
    await assert_sound(cluster, [run_id])


async def test_flow_6_without_the_registry_a_claimed_job_is_refused_and_costs_nothing(
    cluster: Cluster,
) -> None:
    await cluster.start_worker("ann")
    await cluster.registry.kill()
    run_id = await cluster.submit(a_job("wanted", command=cluster.trace()))

    refused = await cluster.until_event(run_id, "job.refused")
    job = await cluster.job(run_id, "wanted")
    (attempt,) = await cluster.attempts(run_id, "wanted")
    traces = cluster.traces()
    ben = cluster.worker("ben", "--registry-policy", "off")
    await cluster.registry.start()
    await ben.start()
    run = await cluster.until_ended(run_id)

    assert attempt.status is AttemptStatus.REFUSED
    assert "registry" in refused.facts["reason"]
    assert refused.facts["worker_id"] == attempt.worker_id
    assert (job.status, job.tries, job.refusals) == (JobStatus.QUEUED, 0, 1)
    assert traces == []
    assert run.status is RunStatus.SUCCESS
    assert run.jobs[0].tries == 1
    await assert_sound(cluster, [run_id])


async def until_status(cluster: Cluster, status: WorkerStatus) -> WorkerView:
    found: list[WorkerView] = []

    async def is_so() -> bool:
        worker = await cluster.find_worker("ann")
        found[:] = [worker] if worker is not None else []
        return worker is not None and worker.status is status

    await until(is_so, f"the worker is {status}")
    return found[0]


async def log_of(cluster: Cluster, run_id: RunId, job_id: str) -> bytes:
    return await read(
        cluster.jobs.read_log(run_id, JobId(job_id), attempt=None, offset=0, follow=False)
    )


async def read(pieces: AsyncIterator[bytes]) -> bytes:
    return b"".join([piece async for piece in pieces])
