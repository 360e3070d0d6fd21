"""Checks, inherited environments and policies on real jobs, in one process."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from drawbar.embedded import Embedded
from shared.ids import JobId, RunId
from shared.protocol.jobs import CancelRequest, JobView
from shared.protocol.pipeline import SecuritySpec
from shared.protocol.states import JobStatus
from shared.runtime import SystemRuntime
from tests.support.embedded import a_job, a_pipeline, ended, log_of

Start = Callable[..., AbstractAsyncContextManager[Embedded]]
AGAIN = {"max": 1, "delay_s": 0.0, "on": ["precheck_failed", "postcheck_failed"]}


@pytest.fixture
def start(tmp_path: Path) -> Start:
    @asynccontextmanager
    async def started(**given: Any) -> AsyncIterator[Embedded]:
        env = {"PATH": "/usr/bin:/bin", "COLOUR": "green"}
        system = Embedded(
            tmp_path / "data", SystemRuntime(), slots=2, base_dir=tmp_path, job_env=env, **given
        )
        try:
            await system.start()
            yield system
        finally:
            await system.stop()

    return started


@pytest.fixture
async def drawbar(start: Start) -> AsyncIterator[Embedded]:
    async with start() as system:
        yield system


async def submit(drawbar: Embedded, job: dict[str, Any], **more: Any) -> RunId:
    return await drawbar.submit(a_pipeline(a_job("j", **job), **more))


async def run(drawbar: Embedded, job: dict[str, Any], **more: Any) -> tuple[JobView, str]:
    """What became of the job, and its last attempt's log."""
    run_id = await submit(drawbar, job, **more)
    return (await ended(drawbar, run_id)).jobs[0], await log_of(drawbar, run_id, "j")


def exists(path: str) -> dict[str, Any]:
    return {"name": "check_file_exists", "params": {"path": path}}


async def test_a_job_with_checks_succeeds_and_its_log_tells_of_each(
    drawbar: Embedded, tmp_path: Path
) -> None:
    (tmp_path / "in").touch()

    job, log = await run(
        drawbar,
        {
            "command": "echo done; touch out",
            "pre_checks": [exists("in")],
            "post_checks": [exists("out")],
        },
    )

    lines = log.splitlines()
    assert (job.status, job.exit_code) == (JobStatus.SUCCESS, 0)
    assert lines[0].startswith("[drawbar] pre-check check_file_exists passed (0.")
    assert lines[1] == "done"
    assert lines[2].startswith("[drawbar] post-check check_file_exists passed (0.")


async def test_a_failed_pre_check_starts_nothing(drawbar: Embedded, tmp_path: Path) -> None:
    job, log = await run(drawbar, {"command": "touch ran", "pre_checks": [exists("gone")]})

    assert (job.status, job.exit_code) == (JobStatus.PRECHECK_FAILED, None)
    assert job.reason is not None
    assert "nothing exists at 'gone'" in job.reason.message
    assert "nothing exists at 'gone'" in log
    assert not (tmp_path / "ran").exists()


async def test_a_job_that_makes_its_log_a_pipe_fails_and_holds_nobody_up(
    drawbar: Embedded,
) -> None:
    # Its stdout says where its log is.
    command = 'log=$(readlink /proc/$$/fd/1) && rm "$log" && mkfifo "$log"'

    async with asyncio.timeout(20):
        job, _ = await run(drawbar, {"command": command, "post_checks": [exists(".")]})

    assert job.status is JobStatus.POSTCHECK_FAILED
    assert job.reason is not None
    assert "cannot open the log: it is not a regular file" in job.reason.message


async def test_a_failed_post_check_was_never_a_success(drawbar: Embedded) -> None:
    run_id = await submit(drawbar, {"post_checks": [exists("gone")]})
    kinds = [event.kind async for event in drawbar.jobs.follow_events(run_id, after=0)]

    (job,) = (await drawbar.jobs.show_run(run_id)).jobs

    assert (job.status, job.exit_code) == (JobStatus.POSTCHECK_FAILED, 0)
    assert "job.success" not in kinds


async def test_a_failed_pre_check_is_tried_again_and_may_pass(
    drawbar: Embedded, tmp_path: Path
) -> None:
    made = {"name": "check_command", "params": {"command": "test -e in || ! touch in"}}

    job, _ = await run(drawbar, {"command": "rm in", "pre_checks": [made], "retry": AGAIN})

    assert (job.status, job.tries) == (JobStatus.SUCCESS, 2)
    assert not (tmp_path / "in").exists()


async def test_a_failed_post_check_is_tried_again_and_may_pass(drawbar: Embedded) -> None:
    job, _ = await run(
        drawbar,
        {
            "command": "test $DRAWBAR_TRY = 1 || touch out",
            "post_checks": [exists("out")],
            "retry": AGAIN,
        },
    )

    assert (job.status, job.tries) == (JobStatus.SUCCESS, 2)


async def test_a_post_check_can_read_what_the_job_wrote(drawbar: Embedded) -> None:
    check = {"name": "check_no_ora_errors", "params": {"log_file": "${DRAWBAR_LOG}"}}

    job, log = await run(drawbar, {"command": "echo ORA-00001", "post_checks": [check]})

    assert job.status is JobStatus.POSTCHECK_FAILED
    assert "line 1: ORA-00001" in log


async def test_a_cancellation_ends_a_check_and_what_it_started(
    drawbar: Embedded, tmp_path: Path
) -> None:
    slow = {"name": "check_command", "params": {"command": "echo begun; sleep 60"}}
    run_id = await submit(drawbar, {"pre_checks": [slow]})
    async for piece in drawbar.jobs.read_log(
        run_id, JobId("j"), attempt=None, offset=0, follow=True
    ):
        if piece:
            break

    async with asyncio.timeout(5):
        await drawbar.jobs.cancel(CancelRequest(run_id=run_id, reason="enough"))
        async for _ in drawbar.jobs.follow_events(run_id, after=0):
            pass

    (job,) = (await drawbar.jobs.show_run(run_id)).jobs
    assert job.status is JobStatus.CANCELLED
    assert "pre-checks were stopped: cancelled" in await log_of(drawbar, run_id, "j")


async def test_checks_are_within_the_jobs_timeout(drawbar: Embedded) -> None:
    slow = {"name": "check_command", "params": {"command": "sleep 60"}}

    job, log = await run(drawbar, {"post_checks": [slow], "timeout_s": 0.3})

    assert job.status is JobStatus.TIMEOUT
    assert "in its post-checks" in log


async def test_artifacts_of_a_job_whose_post_check_failed_are_kept(drawbar: Embedded) -> None:
    run_id = await submit(
        drawbar,
        {"command": "echo 42 > out.txt", "artifacts": ["*.txt"], "post_checks": [exists("gone")]},
    )
    async for _ in drawbar.jobs.follow_events(run_id, after=0):
        pass

    pieces = drawbar.jobs.read_artifact(run_id, JobId("j"), "out.txt")

    assert b"".join([piece async for piece in pieces]) == b"42\n"


async def test_own_checks_come_out_of_files_that_are_allowed(start: Start, tmp_path: Path) -> None:
    plugins = tmp_path / "plugins"
    plugins.mkdir()
    (plugins / "ours.py").write_text(
        "from drawbar.checks import Failed, Passed\n"
        "def check_colour(params, context):\n"
        "    found = context.env['COLOUR']\n"
        "    return Passed() if found == params['wanted'] else Failed(f'it is {found}')\n"
    )
    check = {"name": "check_colour", "params": {"wanted": "red"}}

    async with start() as careful:
        forbidden, _ = await run(careful, {"post_checks": [check]}, plugins=["ours.py"])
    async with start(plugin_dirs=(str(plugins),)) as open_minded:
        looked_at, _ = await run(open_minded, {"post_checks": [check]}, plugins=["ours.py"])

    assert forbidden.status is JobStatus.PRECHECK_FAILED
    assert forbidden.reason is not None
    assert "--allow-plugins" in forbidden.reason.message
    assert looked_at.status is JobStatus.POSTCHECK_FAILED
    assert looked_at.reason is not None
    assert "check_colour failed: it is green" in looked_at.reason.message


async def test_a_pipeline_says_what_it_inherits(drawbar: Embedded) -> None:
    command = {"command": "echo [$COLOUR]"}

    assert (await run(drawbar, command))[1] == "[green]\n"
    assert (await run(drawbar, command, inherit_env=["COLOUR"]))[1] == "[green]\n"
    assert (await run(drawbar, command, inherit_env=True))[1] == "[green]\n"
    assert (await run(drawbar, command, inherit_env=False))[1] == "[]\n"
    assert (await run(drawbar, command, inherit_env="default"))[1] == "[]\n"


async def test_references_that_no_document_could_fill_mean_what_is_inherited(
    drawbar: Embedded, tmp_path: Path
) -> None:
    (tmp_path / "green").mkdir()
    (tmp_path / "j").mkdir()

    _, log = await run(
        drawbar,
        {
            "command": "pwd; echo $COLOUR $ME",
            "working_dir": "${PWD_OF_TEST}/${DRAWBAR_JOB_ID}/../green",
            "env": {
                "COLOUR": "dark${COLOUR}",
                "ME": "${DRAWBAR_JOB_ID}",
                "PWD_OF_TEST": str(tmp_path),
            },
        },
    )

    assert log.splitlines()[1:] == ["darkgreen j"]


async def test_a_workers_policy_binds_whatever_the_pipeline_says(start: Start) -> None:
    async with start(security=SecuritySpec(policy="block")) as drawbar:
        job, log = await run(
            drawbar,
            {"command": "sudo true", "retry": {"max": 3, "delay_s": 0}},
            security={"policy": "off"},
        )

    assert job.reason is not None
    assert (job.status, job.reason.what, job.tries) == (JobStatus.FAILED, "forbidden", 1)
    assert "rule other-user" in log


@pytest.mark.parametrize(
    ("pattern", "status", "said"),
    [
        ("echo [a-z]+", "success", "hello"),
        ("echo", "failed", "matches none of the patterns that the pipeline allows"),
        ("(", "failed", "is no regular expression"),
    ],
)
async def test_a_command_matches_a_pattern_or_is_forbidden(
    drawbar: Embedded, pattern: str, status: str, said: str
) -> None:
    job, log = await run(
        drawbar, {"command": "echo hello"}, security={"allowed_patterns": [pattern]}
    )

    assert job.status.value == status
    assert said in log
