"""What past runs tell: figures of jobs, two runs side by side, and the views for other programs."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from shared.errors import BadRequest, UnknownRun
from shared.ids import JobId, RunId
from shared.protocol.gateway import Outcome
from shared.protocol.jobs import MarkRequest, RetryRequest
from tests.support.jobstore import Hands, a_job, hands_on, retry_at_once

BUILD = JobId("build")
# The Executioner's, as its schema diagram has them.
COLUMNS = {
    "run_summary": [
        "run_id",
        "application_name",
        "start_time",
        "end_time",
        "status",
        "total_jobs",
        "completed_jobs",
        "failed_jobs",
        "skipped_jobs",
        "exit_code",
    ],
    "job_history": [
        "id",
        "run_id",
        "application_name",
        "job_id",
        "status",
        "start_time",
        "end_time",
        "command",
        "exit_code",
        "retry_count",
        "log_file",
    ],
    "retry_history": [
        "id",
        "run_id",
        "job_id",
        "attempt_number",
        "timestamp",
        "duration",
        "success",
        "exit_code",
        "status",
    ],
}


async def a_past_run(hands: Hands, took_s: float, exit_code: int = 0, **pipeline: Any) -> RunId:
    """A run of `build`, which took that long and ended so."""
    run_id = await hands.submit(a_job("build"), **pipeline)
    claim = await hands.start()
    await hands.runtime.advance(took_s)
    await hands.beat(claim)
    await hands.finish(claim, exit_code)
    return run_id


@contextmanager
def read_only(path: Path) -> Iterator[sqlite3.Connection]:
    """As any other program would look."""
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as conn:
        conn.row_factory = sqlite3.Row
        yield conn


# -- a job over time --------------------------------------------------------------------------


async def test_a_job_has_its_latest_runs_newest_first(hands: Hands) -> None:
    ids = [await a_past_run(hands, took_s) for took_s in (4, 2, 6)]

    found = await hands.service.job_history("test", BUILD, runs=2)

    assert [(job.run_id, job.duration_s) for job in found.jobs] == [(ids[2], 6), (ids[1], 2)]
    assert (found.runs, found.success_rate, found.median_s, found.flaky) == (2, 1.0, 4.0, 0)


async def test_runs_that_go_on_and_other_pipelines_are_left_out(hands: Hands) -> None:
    done = await a_past_run(hands, 1)
    await a_past_run(hands, 1, name="other")
    await hands.submit(a_job("build"))
    await hands.start()

    found = await hands.service.job_history("test", None, runs=9)

    assert [job.run_id for job in found.jobs] == [done]


async def test_every_job_of_a_pipeline_comes_in_the_order_of_its_document(hands: Hands) -> None:
    for _ in range(2):
        await hands.submit(a_job("z"), a_job("a", needs=["z"]))
        await hands.do()
        await hands.do()

    found = await hands.service.job_history("test", None, runs=9)

    assert [job.job_id for job in found.jobs] == ["z", "a", "z", "a"]


async def test_a_job_that_was_skipped_or_carried_over_has_no_duration(hands: Hands) -> None:
    run_id = await hands.submit(a_job("a"), a_job("b"), a_job("c", needs=["b"]))
    await hands.do()
    await hands.do(exit_code=1)
    retried = await hands.service.retry(
        RetryRequest(idempotency_key="again", run_id=run_id, failed_only=True)
    )
    await hands.do()
    await hands.do()

    found = await hands.service.job_history("test", None, runs=9)

    durations = {(job.run_id, job.job_id): job.duration_s for job in found.jobs}
    assert durations[retried.run_id, JobId("a")] is None
    assert durations[run_id, JobId("c")] is None
    assert durations[retried.run_id, JobId("b")] is not None


async def test_what_never_was_has_an_empty_history(hands: Hands) -> None:
    await a_past_run(hands, 1)

    no_pipeline = await hands.service.job_history("nothing", None, runs=9)
    no_job = await hands.service.job_history("test", JobId("nothing"), runs=9)

    assert (no_pipeline.jobs, no_pipeline.runs) == ((), 0)
    assert (no_job.jobs, no_job.runs, no_job.success_rate) == ((), 1, None)


@pytest.mark.parametrize("runs", [0, -1, 1_001])
async def test_a_history_of_no_or_too_many_runs_is_refused(hands: Hands, runs: int) -> None:
    with pytest.raises(BadRequest, match="from 1 to"):
        await hands.service.job_history("test", None, runs=runs)


# -- two runs side by side --------------------------------------------------------------------


async def test_jobs_that_differ_come_first(hands: Hands) -> None:
    before = await hands.submit(a_job("same"), a_job("gone"), a_job("broken"), a_job("changed"))
    for _ in range(4):
        await hands.do()
    after = await hands.submit(
        a_job("same"),
        a_job("broken"),
        a_job("changed", command="false", env={"A": "1"}),
        a_job("new"),
    )
    await hands.do()
    await hands.do(exit_code=1)
    await hands.do()
    await hands.do()

    found = await hands.service.diff(before, after)

    said = [(job.job_id, job.before, job.after, job.spec) for job in found.jobs]
    assert said == [
        ("broken", "success", "failed", ()),
        ("changed", "success", "success", ("command", "env")),
        ("new", None, "success", ()),
        ("gone", "success", None, ()),
        ("same", "success", "success", ()),
    ]
    assert (found.before.run_id, found.after.run_id) == (before, after)
    assert (found.before.status, found.after.status) == ("success", "failed")


async def test_a_difference_of_durations_alone_is_told_and_comes_last(hands: Hands) -> None:
    before, after = await a_past_run(hands, 2), await a_past_run(hands, 5)

    (job,) = (await hands.service.diff(before, after)).jobs

    assert (job.before_s, job.after_s, job.spec) == (2, 5, ())


async def test_a_run_that_goes_on_can_be_compared(hands: Hands) -> None:
    before = await a_past_run(hands, 2)
    after = await hands.submit(a_job("build"))

    (job,) = (await hands.service.diff(before, after)).jobs

    assert (job.before, job.after, job.after_s) == ("success", "queued", None)


@pytest.mark.parametrize("pair", [(1, 9), (9, 1), (0, 1)])
async def test_a_run_that_never_was_cannot_be_compared(
    hands: Hands, pair: tuple[RunId, RunId]
) -> None:
    await a_past_run(hands, 1)

    with pytest.raises(UnknownRun):
        await hands.service.diff(*pair)


# -- the views --------------------------------------------------------------------------------


@pytest.mark.parametrize("view", COLUMNS)
async def test_a_view_has_the_columns_of_the_executioners_table(
    hands: Hands, tmp_path: Path, view: str
) -> None:
    with read_only(tmp_path / "jobs.db") as conn:
        columns = [row["name"] for row in conn.execute(f"PRAGMA table_info({view})")]

    assert columns == COLUMNS[view]


async def test_the_views_tell_of_a_run_while_the_service_runs(hands: Hands, tmp_path: Path) -> None:
    run_id = await hands.submit(
        a_job("flaky", retry=retry_at_once(2)),
        a_job("lines", command=None, script=["one", "two"], needs=["flaky"]),
        a_job("words", command=None, argv=["a", "b c"], needs=["lines"]),
        name="release",
    )
    claim = await hands.start()
    await hands.runtime.advance(2.5)
    await hands.finish(claim, 3)
    await hands.runtime.advance(10.2)
    await hands.until(run_id, "job.queued", times=2)
    await hands.do()
    await hands.finish(await hands.start(), None, outcome=Outcome.TIMEOUT)

    with read_only(tmp_path / "jobs.db") as conn:
        (run,) = map(dict, conn.execute("SELECT * FROM run_summary"))
        jobs = list(map(dict, conn.execute("SELECT * FROM job_history ORDER BY id")))
        tries = list(map(dict, conn.execute("SELECT * FROM retry_history ORDER BY id")))

    assert run == {
        "run_id": run_id,
        "application_name": "release",
        "start_time": "2026-01-01T12:00:00.000Z",
        "end_time": "2026-01-01T12:00:12.700Z",
        "status": "failed",
        "total_jobs": 3,
        "completed_jobs": 1,
        "failed_jobs": 1,
        "skipped_jobs": 1,
        "exit_code": 1,
    }
    assert [(job["job_id"], job["status"], job["retry_count"]) for job in jobs] == [
        ("flaky", "success", 1),
        ("lines", "timeout", 0),
        ("words", "skipped", 0),
    ]
    assert [job["command"] for job in jobs] == ["true", "one\ntwo", "a b c"]
    assert [job["start_time"] is None for job in jobs] == [False, False, True]
    assert [
        (t["job_id"], t["attempt_number"], t["status"], t["success"], t["exit_code"], t["duration"])
        for t in tries
    ] == [
        ("flaky", 1, "failed", 0, 3, 2.5),
        ("flaky", 2, "success", 1, 0, 0),
        ("lines", 1, "timeout", 0, None, 0),
    ]
    assert len({row["id"] for row in tries}) == 3


async def test_the_views_can_be_joined_and_read_after_the_service_has_stopped(
    tmp_path: Path,
) -> None:
    async with hands_on(tmp_path) as hands:
        await a_past_run(hands, 1)

    with read_only(tmp_path / "jobs.db") as conn:
        rows = conn.execute(
            "SELECT * FROM run_summary JOIN job_history USING (run_id)"
            " JOIN retry_history USING (run_id, job_id)"
        ).fetchall()

    assert len(rows) == 1


async def test_a_run_that_goes_on_has_no_end_and_no_exit_code_in_the_views(
    hands: Hands, tmp_path: Path
) -> None:
    await hands.submit(a_job("a"), a_job("b"))
    await hands.start()

    with read_only(tmp_path / "jobs.db") as conn:
        (run,) = conn.execute("SELECT * FROM run_summary")
        (tried,) = conn.execute("SELECT * FROM retry_history")

    assert (run["status"], run["end_time"], run["exit_code"]) == ("running", None, None)
    assert (tried["status"], tried["success"], tried["duration"]) == ("running", 0, None)


async def test_a_job_that_was_marked_is_a_success_in_the_views_and_its_try_stays_a_failure(
    hands: Hands, tmp_path: Path
) -> None:
    run_id = await hands.submit(a_job("build"))
    await hands.do(exit_code=1)
    await hands.service.mark(MarkRequest(run_id=run_id, job_id=BUILD, by="ann"))

    with read_only(tmp_path / "jobs.db") as conn:
        (job,) = conn.execute("SELECT status FROM job_history")
        (tried,) = conn.execute("SELECT status FROM retry_history")

    assert (job["status"], tried["status"]) == ("success", "failed")
