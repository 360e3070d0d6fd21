"""What `drawbar logs` shows of a job that waited without a worker: the whole of its latest try."""

import pytest

from drawbar.cli.reading import latest_try
from tests.support.views import an_attempt


@pytest.mark.parametrize(
    ("outcomes", "shown"),
    [
        (["success"], [0]),
        (["failed", "success"], [1]),
        (["deferred", "rescheduled", "success"], [0, 1, 2]),
        (["deferred", "failed", "deferred", "success"], [2, 3]),
        (["deferred", "drained", "lost", "success"], [0, 3]),
        (["failed", "lost", "success"], [2]),
        (["deferred"], [0]),
        ([], []),
    ],
)
def test_the_latest_try_is_shown_from_its_beginning(outcomes: list[str], shown: list[int]) -> None:
    attempts = [
        an_attempt(n, 10 * n, 10 * n + 5, outcome=outcome) for n, outcome in enumerate(outcomes)
    ]

    assert [attempt.fence for attempt in latest_try(attempts)] == shown


def test_an_attempt_that_never_started_has_nothing_to_show() -> None:
    lapsed = an_attempt(2, 20, 21, status="lapsed", started_at=None)

    assert [a.fence for a in latest_try([an_attempt(1, 0, 5), lapsed])] == [1]
