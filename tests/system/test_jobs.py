"""Jobs that are hard on their worker: it reports what became of them and goes on."""

import hashlib

from shared.ids import JobId
from shared.protocol.jobs import CancelRequest
from shared.protocol.states import JobStatus, RunStatus
from tests.support.cluster import Cluster
from tests.support.history import assert_sound
from tests.support.jobstore import a_job


async def test_a_command_that_does_not_exist_is_a_spawn_error_and_the_worker_goes_on(
    cluster: Cluster,
) -> None:
    worker = await cluster.start_worker("ann")
    run_id = await cluster.submit(
        a_job("missing", command=None, argv=["/no/such/command"], allow_failure=True),
        a_job("nowhere", working_dir="/no/such/folder", allow_failure=True),
        a_job("fine"),
    )

    run = await cluster.until_ended(run_id)

    missing, nowhere, fine = run.jobs
    for job in (missing, nowhere):
        assert job.status is JobStatus.FAILED
        assert job.reason is not None
        assert job.reason.what == "spawn_error"
        assert "/no/such/" in job.reason.message
        assert job.exit_code is None
    assert fine.status is JobStatus.SUCCESS
    assert worker.is_alive
    await assert_sound(cluster, [run_id])


async def test_a_job_that_ends_is_gone_with_everything_that_it_started(cluster: Cluster) -> None:
    await cluster.start_worker("ann")
    command = "(trap '' TERM HUP; sleep 600) & nohup sleep 600 & true"

    run = await cluster.until_ended(await cluster.submit(a_job("parent", command=command)))

    assert run.status is RunStatus.SUCCESS
    assert cluster.job_processes() == {}


async def test_a_cancelled_run_stops_what_runs_and_starts_nothing_more(
    hasty: Cluster,
) -> None:
    await hasty.start_worker("ann")
    run_id = await hasty.submit(
        a_job("polite", command=f"trap 'exit 4' TERM; {hasty.trace()}; sleep 600 & wait"),
        a_job("next", needs=["polite"]),
    )
    await hasty.until_traced(1)

    await hasty.jobs.cancel(CancelRequest(run_id=run_id, reason="enough"))
    run = await hasty.until_ended(run_id)

    assert run.status is RunStatus.CANCELLED
    assert {job.status for job in run.jobs} == {JobStatus.CANCELLED}
    assert hasty.job_processes() == {}


async def test_a_large_log_and_a_large_artifact_arrive_whole(cluster: Cluster) -> None:
    await cluster.start_worker("ann")
    command = "seq 1 400000; head -c 5000000 /dev/zero > big.bin"
    run_id = await cluster.submit(a_job("loud", command=command, artifacts=["big.bin"]))

    run = await cluster.until_ended(run_id)

    log, artifact = hashlib.sha256(), hashlib.sha256()
    job_id = JobId("loud")
    async for piece in cluster.jobs.read_log(run_id, job_id, attempt=None, offset=0, follow=False):
        log.update(piece)
    async for piece in cluster.jobs.read_artifact(run_id, job_id, "big.bin"):
        artifact.update(piece)
    lines = "".join(f"{n}\n" for n in range(1, 400_001)).encode()
    assert run.status is RunStatus.SUCCESS
    assert log.hexdigest() == hashlib.sha256(lines).hexdigest()
    assert artifact.hexdigest() == hashlib.sha256(bytes(5_000_000)).hexdigest()


async def test_a_job_that_spoils_its_own_log_harms_nobody_else(cluster: Cluster) -> None:
    worker = await cluster.start_worker("ann")
    log, others, gate = "../$DRAWBAR_ATTEMPT_ID.log", cluster.gate(), cluster.gate()
    run_id = await cluster.submit(
        a_job("other", command=f"{cluster.trace()}; {gate.wait}; echo fine"),
        a_job("folder", command=f"echo hi; rm {log}; mkdir {log}; {cluster.trace()}; {gate.wait}"),
        a_job("pipe", command=f"echo hi; rm {log}; mkfifo {log}; {cluster.trace()}; {gate.wait}"),
        a_job("all", command=f"{others.wait}; rm -rf ../*; {cluster.trace()}; {gate.wait}"),
    )
    await cluster.until_traced(3)
    others.open()  # not before they have begun: without its folder none can
    await cluster.until_traced(4)

    gate.open()
    run = await cluster.until_ended(run_id)

    assert run.status is RunStatus.SUCCESS
    assert worker.is_alive


async def test_no_job_is_given_a_secret_of_the_installation(cluster: Cluster) -> None:
    await cluster.start_worker("ann")
    run_id = await cluster.submit(
        a_job("nosy", command="env; tr '\\0' '\\n' < /proc/$PPID/cmdline")
    )

    await cluster.until_ended(run_id)

    pieces = cluster.jobs.read_log(run_id, JobId("nosy"), attempt=None, offset=0, follow=False)
    log = b"".join([piece async for piece in pieces]).decode()
    named = {line.partition("=")[0] for line in log.splitlines() if line.startswith("DRAWBAR_")}
    assert named == {
        f"DRAWBAR_{name}" for name in ("RUN_ID", "JOB_ID", "ATTEMPT_ID", "FENCE", "TRY")
    }
    assert cluster._keys.enrolment_secret not in log
    assert "eyJ" not in log
