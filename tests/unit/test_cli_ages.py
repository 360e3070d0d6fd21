"""Spans and moments as people write them."""

from datetime import UTC, datetime

import pytest

from drawbar.cli.ages import moment, span_s
from drawbar.cli.failures import Usage
from tests.support.views import at


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0s", 0),
        ("45m", 2_700),
        ("1.5h", 5_400),
        ("90d", 7_776_000),
        ("1d12h", 129_600),
        (" 2W ", 1_209_600),
    ],
)
def test_a_span_is_a_number_with_a_unit(text: str, seconds: float) -> None:
    assert span_s("--keep", text) == seconds


@pytest.mark.parametrize(
    "text", ["", "90", "d", "-1d", "1y", "1 d", "1d 2", "inf", "9" * 400 + "d"]
)
def test_anything_else_is_told_what_to_write(text: str) -> None:
    with pytest.raises(Usage, match="--keep takes"):
        span_s("--keep", text)


def test_a_moment_is_an_age_or_a_date() -> None:
    assert moment("--since", "90s", at(100)) == at(10)
    assert moment("--since", "2026-01-31T10:00+02:00", at(0)) == datetime(
        2026, 1, 31, 8, tzinfo=UTC
    )
    assert moment("--since", "2026-01-31", at(0)).tzinfo is not None


@pytest.mark.parametrize("text", ["yesterday", "2026-13-01", "", "12:00"])
def test_a_moment_that_is_none_is_told_what_to_write(text: str) -> None:
    with pytest.raises(Usage, match="--since takes"):
        moment("--since", text, at(0))
