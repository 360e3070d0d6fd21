"""How long a pause lasts, and which labels change: what a person types, right or wrong."""

from datetime import UTC, datetime

import pytest

from drawbar.cli.ages import pause_s
from drawbar.cli.failures import Usage
from drawbar.cli.labels import changed_labels

NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)


def test_a_pause_lasts_as_long_as_it_says_until_a_moment_or_for_good() -> None:
    assert pause_s("30m", None, NOW) == 1_800
    assert pause_s(None, "2026-01-31T12:10:00+00:00", NOW) == 600
    assert pause_s(None, None, NOW) is None


@pytest.mark.parametrize(
    ("for_", "until", "said"),
    [
        ("0s", None, "over before it begins"),
        (None, "2026-01-31T11:59:00+00:00", "over before it begins"),
        (None, "tomorrow", "--until takes a time like"),
        ("soon", None, "--for takes a time like"),
        ("400d", None, "at most a year"),
        ("1h", "2026-02-01", "not both"),
    ],
)
def test_a_pause_that_makes_no_sense_is_refused(
    for_: str | None, until: str | None, said: str
) -> None:
    with pytest.raises(Usage, match=said):
        pause_s(for_, until, NOW)


def test_labels_are_set_and_taken_away_in_one_go() -> None:
    assert changed_labels(["gpu=1", "os=x=y"], ["spare"]) == {
        "gpu": "1",
        "os": "x=y",
        "spare": None,
    }


@pytest.mark.parametrize(
    ("given", "removed", "said"),
    [
        (["gpu"], [], "--label takes NAME=VALUE"),
        (["gpu=1"], ["gpu"], "both name 'gpu'"),
        (["a/b=1"], [], "cannot be in a label"),
        (["a=" + "x" * 201], [], "cannot be in a label"),
        (["a="], [], "cannot be in a label"),
        ([], ["\n"], "cannot be in a label"),
    ],
)
def test_what_cannot_be_a_label_is_refused(given: list[str], removed: list[str], said: str) -> None:
    with pytest.raises(Usage, match=said):
        changed_labels(given, removed)
