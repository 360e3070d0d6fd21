"""A worker whose machine fails it: a full disk, no descriptors, a disk that takes nothing."""

import os
import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from shared.ids import JobId
from shared.protocol.states import JobStatus, RunStatus
from tests.support.cluster import Cluster
from tests.support.daemons import Daemon, until
from tests.support.history import assert_sound
from tests.support.jobstore import a_job


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[None]:
    """`folder` has a file system of its own, of so many bytes."""
    folder.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=700", "tmpfs", str(folder)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.prove  # health is looked at every ten seconds
@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a file system, for which it has to be root")
async def test_on_a_full_disk_what_ran_is_reported_and_nothing_new_is_begun(
    cluster: Cluster,
) -> None:
    folder = cluster.data / "workers" / "ann"
    with small_disk(folder, "24M"):
        await cluster.start_worker("ann", "--min-disk", "2M")
        gate = cluster.gate()
        ran = await cluster.submit(
            a_job("ran", command=f"echo begun; {cluster.trace()}; {gate.wait}; exit 7")
        )
        await cluster.until_traced(1)

        fill(folder / "filler")
        await until(lambda: is_unfit(cluster), "the worker says what is wrong")
        gate.open()
        ended = await cluster.until_ended(ran)
        waits = await cluster.submit(a_job("waits"))
        found = await cluster.find_worker("ann")
        still = (await cluster.job(waits, "waits")).status
        (folder / "filler").unlink()
        later = await cluster.until_ended(waits)

        log = cluster.jobs.read_log(ran, JobId("ran"), attempt=None, offset=0, follow=False)
        assert b"".join([piece async for piece in log]) == b"begun\n"
        assert (ended.jobs[0].exit_code, ended.jobs[0].tries) == (7, 1)
        assert found is not None
        assert "disk" in {bad.name for bad in found.health if not bad.is_good}
        assert (still, later.status) == (JobStatus.QUEUED, RunStatus.SUCCESS)
        await assert_sound(cluster, [ran, waits])
        await end_workers(cluster)


@pytest.mark.prove  # it rests for ten seconds
async def test_without_descriptors_jobs_go_back_at_no_cost_until_there_are_some(
    cluster: Cluster,
) -> None:
    worker = await cluster.start_worker("ann", slots=2)
    usual = resource.prlimit(worker.pid, resource.RLIMIT_NOFILE)
    used = len(os.listdir(f"/proc/{worker.pid}/fd"))

    resource.prlimit(worker.pid, resource.RLIMIT_NOFILE, (used, usual[1]))
    run_id = await cluster.submit(a_job("job"))
    await until(lambda: has_rested(worker), "the worker says what is wrong")
    resource.prlimit(worker.pid, resource.RLIMIT_NOFILE, usual)
    run = await cluster.until_ended(run_id)

    assert worker.is_alive
    assert (run.status, run.jobs[0].tries) == (RunStatus.SUCCESS, 1)
    assert "Too many open files" in worker.said()
    await assert_sound(cluster, [run_id])


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a file system, for which it has to be root")
async def test_a_worker_does_not_start_on_a_disk_that_takes_nothing(cluster: Cluster) -> None:
    folder = cluster.data / "workers" / "ann"
    with small_disk(folder, "8M"):
        make_read_only(folder)

        said = await cluster.run("worker", "--name", "ann")

    assert said.code != 0
    assert "read-only file system" in said.err.lower()
    assert str(folder) in said.err
    assert "Traceback" not in said.err


def make_read_only(folder: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)


def fill(path: Path) -> None:
    """Nothing more goes onto the disk."""
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * 65_536)
        except OSError:
            pass


async def is_unfit(cluster: Cluster) -> bool:
    found = await cluster.find_worker("ann")
    return found is not None and any(not finding.is_good for finding in found.health)


async def has_rested(worker: Daemon) -> bool:
    return "worker.rests" in worker.said()


async def end_workers(cluster: Cluster) -> None:
    """So that the file system can be taken away."""
    for daemon in cluster._daemons:
        if daemon.words[0] == "worker":
            await daemon.end()
