"""The Executioner's job lifecycle on a real worker: every edge of its state diagram.

The jobs are written as its JSON files have them and handed in as a person would. The table of edges
in docs/executioner.md names the tests of this file.
"""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from shared.protocol.jobs import CancelRequest
from shared.protocol.states import JobStatus, RunStatus
from tests.support.cluster import Cluster, cluster_in
from tests.support.executioner import Executioner, a_job, check, waits_at

pytestmark = pytest.mark.asyncio(loop_scope="module")

S = JobStatus


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def fleet(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cluster]:
    """The short lease makes heartbeats frequent, which tell the phases."""
    folder = tmp_path_factory.mktemp("fleet")
    async with cluster_in(folder, lease_s=3.0, silent_after_s=2.0) as cluster:
        await cluster.start_worker("ann", slots=2)
        yield cluster


@pytest_asyncio.fixture(loop_scope="module")
async def executioner(fleet: Cluster, tmp_path: Path) -> AsyncIterator[Executioner]:
    """On a fleet that all tests here share, with a work folder of its own and both slots free."""
    fleet.work = tmp_path
    executioner = Executioner(fleet)
    yield executioner
    for run_id in executioner.submitted:
        await fleet.jobs.cancel(CancelRequest(run_id=run_id, reason="its test is over"))
        await fleet.until_ended(run_id)


RETRIED = ["queued", "claimed", "running", "retrying", "queued", "claimed", "running"]


# -- from creation to success ---------------------------------------------------------------------


async def test_a_job_is_created_queued_run_and_succeeds(executioner: Executioner) -> None:
    run_id, statuses = await executioner.ran(a_job("a"))

    assert statuses == {"a": S.SUCCESS}
    assert await executioner.moves(run_id, "a") == ["queued", "claimed", "running", "success"]


async def test_a_job_is_blocked_until_its_dependencies_have_succeeded(
    executioner: Executioner,
) -> None:
    gate = executioner.cluster.gate()
    jobs = a_job("a", gate.wait), a_job("b", "true", "a")
    run_id = await executioner.submit(*jobs, parallel=True)
    await executioner.cluster.until_event(run_id, "job.running", "a")

    during = (await executioner.cluster.job(run_id, "b")).status
    gate.open()
    statuses = await executioner.ended(run_id)

    assert during is S.BLOCKED
    assert statuses == {"a": S.SUCCESS, "b": S.SUCCESS}
    assert await executioner.moves(run_id, "b") == ["queued", "claimed", "running", "success"]


async def test_a_job_goes_through_pre_checks_command_and_post_checks(
    executioner: Executioner,
) -> None:
    before, during, after = (executioner.cluster.gate() for _ in range(3))
    run_id = await executioner.submit(
        a_job("a", during.wait, pre_checks=waits_at(before), post_checks=waits_at(after))
    )

    seen = []
    for phase, gate in (("pre_checks", before), ("executing", during), ("post_checks", after)):
        seen.append(await executioner.until_phase(run_id, "a", phase))
        gate.open()
    statuses = await executioner.ended(run_id)

    assert seen == [S.RUNNING] * 3  # never a success before the last check has passed
    assert statuses == {"a": S.SUCCESS}


# -- ends that are no success ---------------------------------------------------------------------


async def test_a_pre_check_that_fails_ends_the_job_and_nothing_of_it_is_run(
    executioner: Executioner,
) -> None:
    trace = executioner.cluster.trace()
    run_id, statuses = await executioner.ran(
        a_job("a", trace, pre_checks=check("check_file_exists", path="/nonexistent/file"))
    )

    job = await executioner.cluster.job(run_id, "a")
    assert statuses == {"a": S.PRECHECK_FAILED}
    assert job.reason is not None
    assert "/nonexistent/file" in job.reason.message
    assert executioner.cluster.traces() == []


async def test_a_command_that_fails_ends_the_job_as_failed_with_its_exit_code(
    executioner: Executioner,
) -> None:
    run_id, statuses = await executioner.ran(a_job("a", "exit 7"))

    assert statuses == {"a": S.FAILED}
    assert (await executioner.cluster.job(run_id, "a")).exit_code == 7
    assert await executioner.moves(run_id, "a") == ["queued", "claimed", "running", "failed"]


async def test_a_command_that_takes_too_long_ends_the_job_as_timed_out(
    executioner: Executioner,
) -> None:
    run_id, statuses = await executioner.ran(a_job("a", "sleep 60", timeout=0.3))

    assert statuses == {"a": S.TIMEOUT}
    assert await executioner.moves(run_id, "a") == ["queued", "claimed", "running", "timeout"]
    assert executioner.cluster.job_processes() == {}


async def test_a_post_check_that_fails_ends_the_job_and_success_was_never_written(
    executioner: Executioner,
) -> None:
    run_id, statuses = await executioner.ran(
        a_job(
            "a",
            "echo 'ORA-00942: no such table' > load.log",
            post_checks=check("check_no_ora_errors", log_file="load.log"),
        ),
        a_job("b", "true", "a"),
    )

    job = await executioner.cluster.job(run_id, "a")
    assert statuses == {"a": S.POSTCHECK_FAILED, "b": S.SKIPPED}
    assert "success" not in await executioner.moves(run_id, "a")
    assert job.exit_code == 0
    assert job.reason is not None
    assert "ORA-00942" in job.reason.message


async def test_what_depends_on_a_failed_job_is_skipped_and_so_is_what_depends_on_that(
    executioner: Executioner,
) -> None:
    _, statuses = await executioner.ran(
        a_job("a", "exit 1"),
        a_job("b", "true", "a"),
        a_job("c", "true", "b"),
        a_job("free"),
        continue_on_error=True,
    )

    assert statuses == {"a": S.FAILED, "b": S.SKIPPED, "c": S.SKIPPED, "free": S.SUCCESS}


async def test_an_unknown_check_fails_the_job(executioner: Executioner) -> None:
    run_id, statuses = await executioner.ran(a_job("a", pre_checks=check("check_nonsense")))

    job = await executioner.cluster.job(run_id, "a")
    assert statuses == {"a": S.PRECHECK_FAILED}
    assert job.reason is not None
    assert "check_nonsense" in job.reason.message


# -- retries --------------------------------------------------------------------------------------


async def test_a_failed_command_is_retried_and_succeeds(executioner: Executioner) -> None:
    mended = executioner.cluster.work / "mended"
    command = f"test -e '{mended}' || {{ touch '{mended}'; exit 1; }}"

    run_id, statuses = await executioner.ran(a_job("a", command, max_retries=2))

    attempts = await executioner.cluster.attempts(run_id, "a")
    assert statuses == {"a": S.SUCCESS}
    assert await executioner.moves(run_id, "a") == [*RETRIED, "success"]
    assert [attempt.exit_code for attempt in attempts] == [1, 0]


async def test_a_timeout_is_retried_and_succeeds(executioner: Executioner) -> None:
    mended = executioner.cluster.work / "mended"
    command = f"test -e '{mended}' || {{ touch '{mended}'; sleep 60; }}"

    run_id, statuses = await executioner.ran(a_job("a", command, max_retries=1, timeout=0.5))

    assert statuses == {"a": S.SUCCESS}
    assert await executioner.moves(run_id, "a") == [*RETRIED, "success"]
    assert await executioner.outcomes(run_id, "a") == ["timeout", None]


async def test_a_failed_pre_check_is_retried_and_the_command_runs_once(
    executioner: Executioner,
) -> None:
    arrived = executioner.cluster.work / "arrived"
    run_id = await executioner.submit(
        a_job(
            "a",
            executioner.cluster.trace(),
            pre_checks=check("check_file_exists", path=str(arrived)),
            max_retries=50,
            retry_on_status=["PRECHECK_FAILED"],
            retry_backoff=1,
        )
    )
    await executioner.cluster.until_event(run_id, "job.retrying", "a")

    arrived.touch()
    statuses = await executioner.ended(run_id)

    outcomes = await executioner.outcomes(run_id, "a")
    assert statuses == {"a": S.SUCCESS}
    assert set(outcomes[:-1]) == {"precheck"}
    assert outcomes[-1] is None
    assert len(executioner.cluster.traces()) == 1


async def test_a_failed_post_check_is_retried_and_succeeds(executioner: Executioner) -> None:
    made = executioner.cluster.work / "made"
    command = f"test -e '{made}.first' && touch '{made}'; touch '{made}.first'"
    run_id, statuses = await executioner.ran(
        a_job(
            "a",
            command,
            post_checks=check("check_file_exists", path=str(made)),
            max_retries=1,
            retry_on_status=["POSTCHECK_FAILED"],
        )
    )

    assert statuses == {"a": S.SUCCESS}
    assert await executioner.moves(run_id, "a") == [*RETRIED, "success"]
    assert await executioner.outcomes(run_id, "a") == ["postcheck", None]


async def test_a_job_that_fails_every_time_is_failed_when_its_retries_are_spent(
    executioner: Executioner,
) -> None:
    run_id, statuses = await executioner.ran(
        a_job("a", "echo try $DRAWBAR_ATTEMPT_ID; exit 1", max_retries=2)
    )

    attempts = await executioner.cluster.attempts(run_id, "a")
    assert statuses == {"a": S.FAILED}
    assert (await executioner.moves(run_id, "a")).count("retrying") == 2
    assert [attempt.exit_code for attempt in attempts] == [1, 1, 1]
    assert len({attempt.attempt_id for attempt in attempts}) == 3
    assert all(attempt.log_size_bytes > 0 for attempt in attempts)


@pytest.mark.parametrize(
    "rule",
    [{"retry_on_exit_codes": [75]}, {"retry_on_status": ["TIMEOUT"]}],
    ids=["exit code", "status"],
)
async def test_a_failure_that_the_rule_does_not_name_is_not_retried(
    executioner: Executioner, rule: dict[str, Any]
) -> None:
    run_id, statuses = await executioner.ran(a_job("a", "exit 1", max_retries=3, **rule))

    assert statuses == {"a": S.FAILED}
    assert "retrying" not in await executioner.moves(run_id, "a")


async def test_waiting_for_a_retry_takes_no_place_of_the_worker(executioner: Executioner) -> None:
    gate = executioner.cluster.gate()
    run_id = await executioner.submit(
        a_job("waits", "exit 1", max_retries=1, retry_delay=600),
        a_job("also", "exit 1", max_retries=1, retry_delay=600),
        a_job("works", "true"),
        a_job("holds", gate.wait),
        parallel=True,
        continue_on_error=True,
    )

    await executioner.cluster.until_event(run_id, "job.success", "works")
    waiting = [(await executioner.cluster.job(run_id, name)).status for name in ("waits", "also")]
    gate.open()
    await executioner.cluster.run("cancel", str(run_id))
    await executioner.cluster.until_ended(run_id)

    assert waiting == [S.RETRYING, S.RETRYING]


# -- the run --------------------------------------------------------------------------------------


async def test_jobs_run_one_after_the_other_unless_the_file_says_parallel(
    executioner: Executioner,
) -> None:
    alone = "mkdir '{0}' && sleep 0.3 && rmdir '{0}'".format(executioner.cluster.work / "busy")

    _, one_by_one = await executioner.ran(a_job("a", alone), a_job("b", alone))
    _, side_by_side = await executioner.ran(
        a_job("a", alone), a_job("b", alone), parallel=True, max_workers=2, continue_on_error=True
    )

    assert set(one_by_one.values()) == {S.SUCCESS}
    assert sorted(side_by_side.values()) == [S.FAILED, S.SUCCESS]


async def test_a_failure_aborts_the_run_unless_it_is_to_continue(executioner: Executioner) -> None:
    jobs = a_job("a", "exit 1"), a_job("b"), a_job("c", "true", "b")

    aborted_id, aborted = await executioner.ran(*jobs)
    goes_on_id = await executioner.submit(*jobs, flags=("--continue-on-error",))
    goes_on = await executioner.ended(goes_on_id)

    reason = (await executioner.cluster.job(aborted_id, "b")).reason
    assert aborted == {"a": S.FAILED, "b": S.SKIPPED, "c": S.SKIPPED}
    assert reason is not None
    assert reason.what == "fail_fast"
    assert goes_on == {"a": S.FAILED, "b": S.SUCCESS, "c": S.SUCCESS}


async def test_a_resumed_run_runs_again_what_the_run_called_failed(
    executioner: Executioner,
) -> None:
    made = executioner.cluster.work / "made"
    jobs = (
        a_job("a"),
        a_job("b", "true", "a", post_checks=check("check_file_exists", path=str(made))),
        a_job("c", "true", "b"),
    )
    first, before = await executioner.ran(*jobs)
    made.touch()

    resumed = await executioner.submit(*jobs, flags=("--resume", str(first)))
    after = await executioner.ended(resumed)

    assert before == {"a": S.SUCCESS, "b": S.POSTCHECK_FAILED, "c": S.SKIPPED}
    assert set(after.values()) == {S.SUCCESS}
    assert [j.attempts for j in (await executioner.cluster.jobs.show_run(resumed)).jobs] == [
        0,
        1,
        1,
    ]


async def test_a_job_marked_as_success_is_not_run_again_by_a_resumed_run(
    executioner: Executioner,
) -> None:
    jobs = a_job("a", "exit 1"), a_job("b", "true", "a")
    first, _ = await executioner.ran(*jobs)

    marked = await executioner.cluster.run("mark", str(first), "a", "success", "--reason", "seen")
    resumed = await executioner.submit(*jobs, flags=("--resume", str(first)))
    after = await executioner.ended(resumed)

    assert marked.code == 0
    assert after == {"a": S.SUCCESS, "b": S.SUCCESS}
    assert (await executioner.cluster.job(resumed, "a")).attempts == 0


async def test_a_skipped_job_lets_what_depends_on_it_run(executioner: Executioner) -> None:
    run_id = await executioner.submit(
        a_job("a", "exit 1"), a_job("b", "true", "a"), flags=("--skip", "a")
    )

    statuses = await executioner.ended(run_id)

    run = await executioner.cluster.jobs.show_run(run_id)
    assert statuses == {"a": S.SKIPPED, "b": S.SUCCESS}
    assert run.status is RunStatus.SUCCESS
