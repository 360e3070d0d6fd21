"""A run of its own has one worker: a job that can never fit into it is told at once."""

import pytest

from drawbar.cli.failures import Usage
from drawbar.cli.labels import check_slots
from tests.support.jobstore import a_job


def test_a_job_with_more_slots_than_the_only_worker_is_told_with_what_to_type() -> None:
    with pytest.raises(
        Usage, match=r"'big' takes 8 slots, and this worker has 4: give --workers 8"
    ):
        check_slots([a_job("small"), a_job("big", slots=8)], 4)


def test_a_job_may_take_all_that_there_is() -> None:
    check_slots([a_job("big", slots=4)], 4)
