"""Jobs that ask for a container, on a worker that has none."""

from pathlib import Path

import pytest

from drawbar.embedded import Embedded
from shared.protocol.jobs import JobView
from shared.protocol.pipeline import JobSpec, PipelineSpec
from shared.protocol.states import JobStatus
from shared.runtime import SystemRuntime
from tests.support.embedded import ended, log_of
from worker.settings import Images


async def run(folder: Path, images: Images, job: JobSpec) -> tuple[JobView, str]:
    """What became of the job, and its log."""
    system = Embedded(
        folder / "data", SystemRuntime(), slots=1, base_dir=folder, images=images, job_env={}
    )
    try:
        await system.start()
        run_id = await system.submit(PipelineSpec(name="p", jobs=(job,)))
        return (await ended(system, run_id)).jobs[0], await log_of(system, run_id, "j")
    finally:
        await system.stop()


@pytest.mark.parametrize("working_dir", [None, "/only/in/the/image"])
async def test_a_job_with_an_image_is_refused_before_anything_of_it_starts(
    tmp_path: Path, working_dir: str | None
) -> None:
    made = JobSpec(id="j", command="touch made", image="debian:12", working_dir=working_dir)
    job, _ = await run(tmp_path, "refuse", made)

    assert job.reason is not None
    assert (job.status, job.reason.what, job.tries) == (JobStatus.FAILED, "forbidden", 1)
    assert job.reason.message == (
        "the job asks for image 'debian:12', and this worker was started with --images refuse; "
        "--images ignore runs such jobs on the machine itself"
    )
    assert not (tmp_path / "made").exists()


async def test_an_ignored_image_is_told_in_the_log_and_the_job_runs(tmp_path: Path) -> None:
    job, log = await run(
        tmp_path, "ignore", JobSpec(id="j", command="echo hello", image="debian:12")
    )

    assert job.status is JobStatus.SUCCESS
    assert log == "[drawbar] image 'debian:12' ignored: runs on the machine\nhello\n"


@pytest.mark.parametrize("images", ["refuse", "ignore"])
async def test_a_job_without_an_image_runs_and_its_log_is_its_own(
    tmp_path: Path, images: Images
) -> None:
    job, log = await run(tmp_path, images, JobSpec(id="j", command="echo hello"))

    assert (job.status, log) == (JobStatus.SUCCESS, "hello\n")
