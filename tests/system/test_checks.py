"""Checks and policies on a worker that is a process of its own."""

from pathlib import Path

from shared.protocol.pipeline import CheckSpec
from shared.protocol.states import JobStatus
from tests.support.cluster import Cluster
from tests.support.jobstore import a_job


async def test_a_worker_checks_before_and_after_and_reports_success_last(
    cluster: Cluster,
) -> None:
    await cluster.start_worker("ann")
    marker = cluster.work / "made"
    exists = CheckSpec(name="check_file_exists", params={"path": str(marker)})
    opened = CheckSpec(name="check_command", params={"command": f"test ! -e {marker}"})

    run_id = await cluster.submit(
        a_job("job", command=f"touch {marker}", pre_checks=(opened,), post_checks=(exists,)),
        a_job("after", command="true", needs=("job",), pre_checks=(opened,)),
    )
    run = await cluster.until_ended(run_id)

    assert [job.status for job in run.jobs] == [JobStatus.SUCCESS, JobStatus.PRECHECK_FAILED]
    assert cluster.job_processes() == {}


async def test_a_check_outlives_its_worker_and_decides(cluster: Cluster) -> None:
    worker = await cluster.start_worker("ann")
    gate = cluster.gate()
    command = f"{cluster.trace()}; {gate.wait}; exit 3"
    slow = CheckSpec(name="check_command", params={"command": command})
    run_id = await cluster.submit(a_job("job", command=cluster.trace(), pre_checks=(slow,)))
    await cluster.until_traced(1)

    await worker.kill()
    await cluster.start_worker("ann")
    gate.open()
    run = await cluster.until_ended(run_id)

    assert [job.status for job in run.jobs] == [JobStatus.PRECHECK_FAILED]
    assert len(cluster.traces()) == 1  # neither the check again, nor the job
    assert cluster.job_processes() == {}


async def test_without_reattachment_a_worker_killed_in_a_check_leaves_no_process_of_it(
    cluster: Cluster,
) -> None:
    worker = await cluster.start_worker("ann", "--no-reattach")
    slow = CheckSpec(name="check_command", params={"command": f"{cluster.trace()}; sleep 600"})
    await cluster.submit(a_job("job", pre_checks=(slow,)))
    await cluster.until_traced(1)
    orphans = set(cluster.job_processes())

    await worker.kill()
    await cluster.start_worker("ann", "--no-reattach")

    assert orphans
    assert not orphans & set(cluster.job_processes())


async def test_flags_of_a_worker_say_what_may_run_there(cluster: Cluster, tmp_path: Path) -> None:
    plugins = tmp_path / "plugins"
    plugins.mkdir()
    (plugins / "ours.py").write_text("def ours(params, context):\n    return True\n")
    await cluster.start_worker(
        "ann", "--policy", "block", "--policy-level", "high", "--allow-plugins", str(plugins)
    )

    run_id = await cluster.submit(
        a_job("chained", command="true; true"),
        a_job("plain", command="true", pre_checks=(CheckSpec(name="ours"),)),
        plugins=("ours.py",),
    )
    run = await cluster.until_ended(run_id)

    chained, plain = run.jobs
    assert chained.reason is not None
    assert (chained.status, chained.reason.what) == (JobStatus.FAILED, "forbidden")
    assert "rule chaining" in chained.reason.message
    assert plain.status is JobStatus.SUCCESS
