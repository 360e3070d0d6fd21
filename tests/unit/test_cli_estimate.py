"""How long a run is expected to take."""

from datetime import timedelta

import pytest

from drawbar.cli.estimate import estimate, typical
from shared.ids import JobId, RunId
from shared.protocol.history import PastJob
from shared.protocol.pipeline import JobSpec, PipelineSpec
from shared.protocol.states import JobStatus
from tests.support.runtime import T0


def a_job(name: str, *needs: str, **more: object) -> JobSpec:
    return JobSpec.model_validate({"id": name, "command": "true", "needs": needs, **more})


def a_pipeline(*jobs: JobSpec, **more: object) -> PipelineSpec:
    return PipelineSpec.model_validate({"name": "p", "jobs": jobs, **more})


def in_the_past(job: str, duration_s: float | None, status: JobStatus) -> PastJob:
    return PastJob(
        run_id=RunId(1),
        pipeline="p",
        job_id=JobId(job),
        status=status,
        exit_code=None,
        tries=1,
        started_at=T0,
        ended_at=T0 + timedelta(seconds=duration_s or 0),
        duration_s=duration_s,
    )


DIAMOND = a_pipeline(a_job("a"), a_job("b", "a"), a_job("c", "a"), a_job("d", "b", "c"))
TOOK = {"a": 1.0, "b": 10.0, "c": 4.0, "d": 2.0}


def test_jobs_side_by_side_cost_as_much_as_the_longest_way() -> None:
    found = estimate(DIAMOND, TOOK)

    assert (found.total_s, found.path) == (13.0, ("a", "b", "d"))


@pytest.mark.parametrize("limited_by", ["document", "machine"])
def test_one_at_a_time_costs_the_sum(limited_by: str) -> None:
    if limited_by == "document":
        found = estimate(DIAMOND.model_copy(update={"max_workers": 1}), TOOK)
    else:
        found = estimate(DIAMOND, TOOK, at_once=1)

    assert (found.total_s, found.path) == (17.0, ("a", "b", "c", "d"))


def test_a_stage_waits_for_all_of_the_stage_before() -> None:
    spec = a_pipeline(
        a_job("quick", stage="one"),
        a_job("slow", stage="one"),
        a_job("last", stage="two"),
        stages=["one", "two"],
    )

    found = estimate(spec, {"quick": 1.0, "slow": 5.0, "last": 1.0})

    assert (found.total_s, found.path) == (6.0, ("slow", "last"))


def test_what_is_left_out_takes_no_time_and_holds_nothing_up() -> None:
    found = estimate(DIAMOND, TOOK, left_out={"a", "b"})

    assert (found.total_s, found.path) == (6.0, ("c", "d"))
    assert "b" not in found.jobs


def test_jobs_that_never_ran_are_counted_and_cost_nothing() -> None:
    found = estimate(DIAMOND, {"a": 1.0})

    assert (found.total_s, found.unknown) == (1.0, 3)


def test_without_a_past_there_is_no_estimate() -> None:
    assert estimate(DIAMOND, {}).total_s is None


def test_of_higher_priority_comes_first_where_places_are_few() -> None:
    spec = a_pipeline(
        a_job("low"), a_job("high", priority=1), a_job("after", "high"), max_workers=1
    )

    found = estimate(spec, {"low": 5.0, "high": 1.0, "after": 1.0})

    assert found.path[0] == "high"


def test_a_job_takes_what_its_successes_took() -> None:
    past = [in_the_past("a", s, JobStatus.SUCCESS) for s in (1.0, 2.0, 90.0)]
    past += [in_the_past("a", 0.1, JobStatus.FAILED), in_the_past("b", 3.0, JobStatus.FAILED)]
    past += [in_the_past("c", None, JobStatus.SKIPPED)]

    assert typical(past) == {"a": 2.0, "b": 3.0}


def test_a_job_that_was_cancelled_tells_nothing() -> None:
    past = [in_the_past("a", 0.5, JobStatus.CANCELLED), in_the_past("b", 1.0, JobStatus.SKIPPED)]

    assert typical(past) == {}


def test_ten_thousand_jobs_are_estimated_at_once() -> None:
    spec = a_pipeline(*(a_job(f"j{n}", *([f"j{n - 1}"] if n else [])) for n in range(10_000)))

    found = estimate(spec, {f"j{n}": 1.0 for n in range(10_000)})

    assert found.total_s == 10_000.0
