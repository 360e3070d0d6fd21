"""How workers leave: by a signal, by two, and when an operator says so."""

import signal

from shared.protocol.states import AttemptStatus, JobStatus, RunStatus, WorkerStatus
from tests.support.cluster import Cluster
from tests.support.daemons import until
from tests.support.history import assert_sound
from tests.support.jobstore import a_job


async def test_a_worker_told_to_end_finishes_what_runs_and_claims_nothing(
    cluster: Cluster,
) -> None:
    worker = await cluster.start_worker("ann")
    gate = cluster.gate()
    begun = await cluster.submit(a_job("begun", command=f"{cluster.trace()}; {gate.wait}"))
    await cluster.until_traced(1)

    worker.send(signal.SIGTERM)
    await until_status(cluster, WorkerStatus.DRAINING)
    later = await cluster.submit(a_job("later"))
    gate.open()
    code = await worker.ended()

    run = await cluster.jobs.show_run(begun)
    left = await cluster.find_worker("ann")
    assert code == 0
    assert "waiting for 1 running job to end; Ctrl-C again stops now" in worker.said()
    assert run.status is RunStatus.SUCCESS
    assert (await cluster.attempts(begun, "begun"))[0].receipt_id is not None
    assert (await cluster.job(later, "later")).status is JobStatus.QUEUED
    assert await cluster.attempts(later, "later") == []
    assert left is not None
    assert left.status is WorkerStatus.OFFLINE
    assert cluster.job_processes() == {}


async def test_a_second_signal_ends_a_worker_at_once_and_no_process_is_left(
    cluster: Cluster,
) -> None:
    worker = await cluster.start_worker("ann")
    command = f"(trap '' TERM; sleep 600) & trap '' TERM; {cluster.trace()}; sleep 600"
    await cluster.submit(a_job("stubborn", command=command))
    await cluster.until_traced(1)

    worker.send(signal.SIGTERM)
    await until_status(cluster, WorkerStatus.DRAINING)
    worker.send(signal.SIGTERM)
    code = await worker.ended()

    assert code != 0
    assert "Traceback" not in worker.said()
    assert cluster.job_processes() == {}


async def test_a_drain_from_the_command_line_lets_jobs_end_and_then_the_worker_leaves(
    cluster: Cluster,
) -> None:
    worker = await cluster.start_worker("ann")
    gate = cluster.gate()
    begun = await cluster.submit(a_job("begun", command=f"{cluster.trace()}; {gate.wait}"))
    await cluster.until_traced(1)

    said = await cluster.run("worker-drain", "ann", "--reason", "new disk")
    await until_status(cluster, WorkerStatus.DRAINING)
    gate.open()
    code = await worker.ended()

    assert said.code == 0, said.err
    assert code == 0
    assert (await cluster.jobs.show_run(begun)).status is RunStatus.SUCCESS


async def test_a_paused_worker_takes_no_job_until_it_is_resumed(cluster: Cluster) -> None:
    worker = await cluster.start_worker("ann")

    paused = await cluster.run("worker-pause", "ann", "--reason", "looking at it")
    await until_status(cluster, WorkerStatus.PAUSED)
    run_id = await cluster.submit(a_job("job"))
    waiting = await cluster.job(run_id, "job")
    resumed = await cluster.run("worker-resume", "ann", "--reason", "all is well")
    run = await cluster.until_ended(run_id)

    assert (paused.code, resumed.code) == (0, 0), paused.err + resumed.err
    assert waiting.status is JobStatus.QUEUED
    assert run.status is RunStatus.SUCCESS
    assert worker.is_alive


async def test_a_worker_stopped_from_the_command_line_gives_its_job_back_at_no_cost(
    cluster: Cluster,
) -> None:
    worker = await cluster.start_worker("ann")
    gate = cluster.gate()
    run_id = await cluster.submit(a_job("job", command=f"{cluster.trace()}; {gate.wait}"))
    await cluster.until_traced(1)

    said = await cluster.run("worker-stop", "ann", "--reason", "it smells of smoke")
    code = await worker.ended()
    waiting = await cluster.job(run_id, "job")
    processes = cluster.job_processes()
    gate.open()
    await cluster.start_worker("ben")
    run = await cluster.until_ended(run_id)

    first, _ = await cluster.attempts(run_id, "job")
    assert said.code == 0, said.err
    assert code == 0
    assert processes == {}
    assert (waiting.status, waiting.tries) == (JobStatus.QUEUED, 0)
    assert first.status is AttemptStatus.REPORTED
    assert (run.status, run.jobs[0].tries) == (RunStatus.SUCCESS, 1)
    await assert_sound(cluster, [run_id])


async def until_status(cluster: Cluster, status: WorkerStatus) -> None:
    async def is_so() -> bool:
        worker = await cluster.find_worker("ann")
        return worker is not None and worker.status is status

    await until(is_so, f"the worker is {status}")
