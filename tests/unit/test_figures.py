"""What a row of past jobs adds up to."""

import pytest

from shared.figures import figures, quantile
from shared.ids import JobId, RunId
from shared.protocol.history import PastJob
from shared.protocol.states import JobStatus
from tests.support.views import at


def past(status: str, took_s: float | None = 1.0, *, tries: int = 1, job: str = "a") -> PastJob:
    return PastJob(
        run_id=RunId(1),
        pipeline="test",
        job_id=JobId(job),
        status=JobStatus(status),
        exit_code=0,
        tries=tries,
        started_at=None if took_s is None else at(0),
        ended_at=at(took_s or 0),
        duration_s=took_s,
    )


def test_of_nothing_there_are_no_figures() -> None:
    assert figures([]) == (None, None, None, 0)


def test_jobs_that_never_ran_do_not_count() -> None:
    jobs = [past("success"), past("skipped", None, tries=0), past("success", None, tries=0)]

    found = figures(jobs)

    assert (found.success_rate, found.median_s) == (1.0, 1.0)


def test_only_successes_say_how_long_it_takes() -> None:
    jobs = [past("success", 2), past("timeout", 900), past("success", 4), past("failed", 0.1)]

    found = figures(jobs)

    assert found.success_rate == 0.5
    assert found.median_s == 3
    assert found.p95_s == pytest.approx(3.9)


@pytest.mark.parametrize(
    ("newest_first", "flaky"),
    [
        (["success", "success"], 0),
        (["failed", "success"], 0),  # it broke, and may stay broken
        (["success", "failed"], 1),
        (["success", "skipped", "timeout"], 1),
        (["success", "success", "failed", "success", "precheck_failed"], 2),
    ],
)
def test_a_success_after_a_failure_is_flaky(newest_first: list[str], flaky: int) -> None:
    jobs = [past(status, tries=status != "skipped") for status in newest_first]

    assert figures(jobs).flaky == flaky


def test_a_success_that_took_several_tries_is_flaky() -> None:
    assert figures([past("success", tries=2), past("failed", tries=3)]).flaky == 1


def test_a_failure_of_another_job_makes_nothing_flaky() -> None:
    assert figures([past("success", job="a"), past("failed", job="b")]).flaky == 0


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [([], 0.5, None), ([7], 0.95, 7), ([1, 3], 0.5, 2), ([1, 2, 3], 0.5, 2), ([0, 10], 1, 10)],
)
def test_a_quantile_lies_between_its_neighbours(
    values: list[float], share: float, expected: float | None
) -> None:
    assert quantile(values, share) == expected
