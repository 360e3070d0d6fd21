"""Real jobs, end to end, in one process: submitted, claimed, run, recorded."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from drawbar.embedded import Embedded
from jobstore.settings import JobStoreSettings
from shared.errors import StoreUnusable
from shared.ids import JobId
from shared.protocol.components import ComponentFilter, ComponentView
from shared.protocol.gateway import ClaimRequest
from shared.protocol.jobs import CancelRequest, JobView, RunView
from shared.protocol.pipeline import JobSpec, PipelineSpec, RetryRule
from shared.protocol.states import JobStatus, RunStatus
from shared.runtime import SystemRuntime
from tests.support.cli import is_alive
from tests.support.embedded import a_job, a_pipeline, ended, log_of, until_event, until_it_wrote

Start = Callable[..., AbstractAsyncContextManager[Embedded]]
AT_ONCE = RetryRule(max=1, delay_s=0.0)


@pytest.fixture
def start(tmp_path: Path) -> Start:
    @asynccontextmanager
    async def started(slots: int = 4, **given: dict[str, str]) -> AsyncIterator[Embedded]:
        embedded = Embedded(
            tmp_path / "data",
            SystemRuntime(),
            slots=slots,
            base_dir=tmp_path,
            job_env={"PATH": "/usr/bin:/bin", **given.get("job_env", {})},
            labels=given.get("labels"),
        )
        try:
            await embedded.start()
            yield embedded
        finally:
            await embedded.stop()

    return started


@pytest.fixture
async def drawbar(start: Start) -> AsyncIterator[Embedded]:
    async with start() as embedded:
        yield embedded


async def run(
    drawbar: Embedded, *jobs: JobSpec, **more: object
) -> tuple[RunView, dict[str, JobView]]:
    view = await ended(drawbar, await drawbar.submit(a_pipeline(*jobs, **more)))
    return view, {job.id: job for job in view.jobs}


def test_it_imports_nothing_that_only_http_or_a_terminal_needs() -> None:
    program = (
        "import sys, drawbar.embedded;"
        "print([m for m in ('aiohttp', 'jwt', 'cryptography', 'typer') if m in sys.modules])"
    )

    found = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    assert found.stdout == "[]\n"


async def test_a_job_succeeds_with_its_log(drawbar: Embedded) -> None:
    view, jobs = await run(drawbar, a_job("a", "echo to stdout; echo to stderr >&2"))

    assert (view.status, view.exit_code, jobs["a"].exit_code) == (RunStatus.SUCCESS, 0, 0)
    assert await log_of(drawbar, view.run_id, "a") == "to stdout\nto stderr\n"


async def test_a_non_zero_exit_is_a_fact_and_the_run_has_failed(drawbar: Embedded) -> None:
    view, jobs = await run(drawbar, a_job("a", "exit 7"))

    assert (view.status, view.exit_code) == (RunStatus.FAILED, 1)
    assert (jobs["a"].status, jobs["a"].exit_code) == (JobStatus.FAILED, 7)
    assert jobs["a"].reason is not None
    assert (jobs["a"].reason.who, jobs["a"].reason.what) == ("job", "exit_code")


async def test_a_job_runs_after_all_that_it_needs(drawbar: Embedded, tmp_path: Path) -> None:
    view, _ = await run(
        drawbar,
        a_job("c", "echo c >> order", needs=["a", "b"]),
        a_job("a", "sleep 0.05; echo a >> order"),
        a_job("b", "echo b >> order", needs=["a"]),
    )

    assert view.status is RunStatus.SUCCESS
    assert (tmp_path / "order").read_text() == "a\nb\nc\n"


async def test_what_needs_a_failed_job_is_skipped_and_the_rest_goes_on(drawbar: Embedded) -> None:
    _, jobs = await run(
        drawbar,
        a_job("bad", "false"),
        a_job("child", needs=["bad"]),
        a_job("grandchild", needs=["child"]),
        a_job("stranger"),
    )

    assert [jobs[name].status.value for name in ("bad", "child", "grandchild", "stranger")] == [
        "failed",
        "skipped",
        "skipped",
        "success",
    ]


async def test_a_failure_that_is_allowed_does_not_fail_the_run(drawbar: Embedded) -> None:
    view, jobs = await run(drawbar, a_job("a", "false", allow_failure=True), a_job("b"))

    assert view.status is RunStatus.SUCCESS
    assert jobs["a"].status is JobStatus.FAILED


async def test_a_stage_starts_when_the_one_before_has_succeeded(
    drawbar: Embedded, tmp_path: Path
) -> None:
    view, _ = await run(
        drawbar,
        a_job("t", "echo t >> order", stage="test"),
        a_job("b", "sleep 0.05; echo b >> order", stage="build"),
        stages=["build", "test"],
    )

    assert view.status is RunStatus.SUCCESS
    assert (tmp_path / "order").read_text() == "b\nt\n"


async def test_a_failed_job_is_tried_again_and_may_succeed(drawbar: Embedded) -> None:
    _, jobs = await run(
        drawbar,
        a_job("a", "test $DRAWBAR_TRY = 2", retry=AT_ONCE),
        a_job("b", "false", retry=AT_ONCE),
    )

    assert (jobs["a"].status, jobs["a"].tries, jobs["a"].attempts) == (JobStatus.SUCCESS, 2, 2)
    assert (jobs["b"].status, jobs["b"].tries, jobs["b"].attempts) == (JobStatus.FAILED, 2, 2)


async def test_a_job_that_takes_too_long_is_stopped(drawbar: Embedded) -> None:
    view, jobs = await run(drawbar, a_job("a", "echo begun; sleep 60", timeout_s=0.2))

    assert jobs["a"].status is JobStatus.TIMEOUT
    assert view.status is RunStatus.FAILED
    assert await log_of(drawbar, view.run_id, "a") == "begun\n"


async def test_a_command_that_does_not_exist_fails_and_the_worker_goes_on(
    drawbar: Embedded,
) -> None:
    _, jobs = await run(
        drawbar, JobSpec(id="a", argv=("no-such-command-anywhere",)), a_job("b"), max_workers=1
    )

    assert jobs["a"].reason is not None
    assert (jobs["a"].status, jobs["a"].reason.what) == (JobStatus.FAILED, "spawn_error")
    assert "no-such-command-anywhere" in jobs["a"].reason.message
    assert jobs["b"].status is JobStatus.SUCCESS


async def test_cancelling_stops_what_runs_and_what_waits(drawbar: Embedded) -> None:
    run_id = await drawbar.submit(
        a_pipeline(a_job("long", "echo begun; sleep 60"), a_job("next", needs=["long"]))
    )
    await until_it_wrote(drawbar, run_id, "long")

    async with asyncio.timeout(5):
        await drawbar.jobs.cancel(CancelRequest(run_id=run_id, reason="enough"))
        view = await ended(drawbar, run_id)

    assert view.status is RunStatus.CANCELLED
    assert {job.status for job in view.jobs} == {JobStatus.CANCELLED}


async def test_one_job_can_be_cancelled_alone(drawbar: Embedded) -> None:
    run_id = await drawbar.submit(a_pipeline(a_job("long", "echo begun; sleep 60"), a_job("b")))
    await until_it_wrote(drawbar, run_id, "long")

    await drawbar.jobs.cancel(CancelRequest(run_id=run_id, job_id=JobId("long")))
    view = await ended(drawbar, run_id)

    assert [job.status for job in view.jobs] == [JobStatus.CANCELLED, JobStatus.SUCCESS]


async def test_with_one_worker_jobs_run_by_priority_and_then_in_document_order(
    drawbar: Embedded, tmp_path: Path
) -> None:
    await run(
        drawbar,
        *(
            a_job(name, f"echo {name} >> order", priority=priority, needs=["first"])
            for name, priority in (("low", -1), ("one", 0), ("two", 0), ("high", 5))
        ),
        a_job("first"),
        max_workers=1,
    )

    assert (tmp_path / "order").read_text().split() == ["high", "one", "two", "low"]


async def test_no_more_jobs_run_at_a_time_than_max_workers(
    drawbar: Embedded, tmp_path: Path
) -> None:
    both_at_once = "mkdir lock || exit 1; sleep 0.02; rmdir lock"

    view, _ = await run(drawbar, *(a_job(f"j{n}", both_at_once) for n in range(5)), max_workers=1)

    assert view.status is RunStatus.SUCCESS


async def test_jobs_see_their_own_environment_above_the_callers(start: Start) -> None:
    async with start(job_env={"A": "caller", "B": "caller", "C": "caller"}) as drawbar:
        view, _ = await run(
            drawbar,
            a_job("a", "echo $A $B $C $DRAWBAR_JOB_ID", env={"A": "job"}),
            env={"A": "pipeline", "B": "pipeline"},
        )

        assert await log_of(drawbar, view.run_id, "a") == "job pipeline caller a\n"


async def test_artifacts_of_a_dependency_are_inputs(drawbar: Embedded, tmp_path: Path) -> None:
    (tmp_path / "made").mkdir()
    (tmp_path / "used").mkdir()

    view, _ = await run(
        drawbar,
        a_job("make", "echo 42 > out.txt", working_dir="made", artifacts=["*.txt"]),
        a_job("use", "cat out.txt", working_dir="used", needs=["make"], inputs=["make"]),
    )

    assert await log_of(drawbar, view.run_id, "use") == "42\n"
    pieces = drawbar.jobs.read_artifact(view.run_id, JobId("make"), "out.txt")
    assert b"".join([piece async for piece in pieces]) == b"42\n"


async def test_a_job_waits_for_a_worker_with_its_labels(start: Start) -> None:
    async with start(labels={"os": "linux"}) as drawbar:
        run_id = await drawbar.submit(
            a_pipeline(
                a_job("here", requires={"os": "linux"}), a_job("nowhere", requires={"os": "beos"})
            )
        )
        await until_event(drawbar, run_id, "job.success")
        view = await drawbar.jobs.show_run(run_id)

    assert [job.status for job in view.jobs] == [JobStatus.SUCCESS, JobStatus.QUEUED]


async def test_its_parts_are_components_while_it_lasts(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.components.FIRST_S", 0.01)
    live: tuple[ComponentView, ...] = ()

    async with start() as drawbar, asyncio.timeout(5):
        while len(live) < 3:
            await SystemRuntime().sleep(0.01)
            live = (await drawbar.jobs.components.list_components(ComponentFilter())).components

    assert [(one.kind, one.name) for one in live] == [
        ("keeper", "embedded"),
        ("triggerer", "embedded"),
        ("worker", "embedded"),
    ]


async def test_history_outlasts_the_process(start: Start) -> None:
    async with start() as before:
        first, _ = await run(before, a_job("a", "echo kept"))
    async with start() as after:
        second, _ = await run(after, a_job("a"))
        again = await after.jobs.show_run(first.run_id)
        log = await log_of(after, first.run_id, "a")

    assert second.run_id > first.run_id
    assert (again, log) == (first, "kept\n")


async def test_stopping_in_the_middle_of_a_run_ends_job_and_run(
    start: Start, tmp_path: Path
) -> None:
    async with start() as drawbar:
        run_id = await drawbar.submit(
            a_pipeline(
                a_job("a", "echo $$ > pid; echo begun; sleep 60"),
                a_job("b", "touch ran", needs=["a"]),
            )
        )
        await until_it_wrote(drawbar, run_id, "a")
        pid = int((tmp_path / "pid").read_text())
    lives_on = is_alive(pid)
    async with start() as drawbar:
        view = await drawbar.jobs.show_run(run_id)
        log = await log_of(drawbar, run_id, "a")

    assert not lives_on
    assert view.status is RunStatus.CANCELLED
    assert [job.status for job in view.jobs] == [JobStatus.CANCELLED, JobStatus.CANCELLED]
    assert log == "begun\n"
    assert not (tmp_path / "ran").exists()


async def test_a_run_that_ended_is_forgotten(start: Start, tmp_path: Path) -> None:
    async with start() as drawbar:
        await run(drawbar, a_job("a"))
        drawbar.forget()

    assert not (tmp_path / "data" / "foreground-run").exists()


async def test_a_file_that_is_no_database_is_named(start: Start, tmp_path: Path) -> None:
    database = tmp_path / "data" / "jobstore" / "jobs.db"
    database.parent.mkdir(parents=True)
    database.write_text("this is not a database, but a text that is long enough for one\n" * 20)

    with pytest.raises(StoreUnusable, match=r"jobs\.db"):
        async with start():
            pass


async def test_an_idle_worker_waits_for_jobs_in_one_poll(drawbar: Embedded) -> None:
    asked: list[ClaimRequest] = []
    claim = drawbar.jobs.claim

    async def counted(ask: ClaimRequest) -> object:
        asked.append(ask)
        return await claim(ask)

    drawbar.jobs.claim = counted  # type: ignore[method-assign, assignment]  # only counts
    await run(drawbar, a_job("a"))
    await SystemRuntime().sleep(0.1)

    assert len(asked) <= 2


async def test_a_log_over_the_limit_costs_its_middle_but_not_the_result(tmp_path: Path) -> None:
    limited = JobStoreSettings(heartbeat_s=0.2, max_log_bytes=100_000)
    system = Embedded(tmp_path, SystemRuntime(), slots=1, settings=limited)
    await system.start()
    try:
        pipeline = PipelineSpec(
            name="loud", jobs=(JobSpec(id="loud", command="yes | head -c 300000"),)
        )
        run_id = await system.submit(pipeline)
        async for _ in system.jobs.follow_events(run_id, after=0):
            pass
        (attempt,) = (await system.jobs.list_attempts(run_id, JobId("loud"))).attempts
        log = await log_of(system, run_id, "loud")
    finally:
        await system.stop()

    assert attempt.exit_code == 0
    assert attempt.log_size_bytes <= 100_000
    assert log.endswith("y\n" * 12_500)
    assert f"{attempt.log_lost_bytes} bytes were left out here" in log
    assert log.count("y\n") * 2 + attempt.log_lost_bytes == 300_000
