"""When schedules are due, also where clocks are changed."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.cron import BadSchedule, Cron


def times(cron: str, zone: str, since: str, count: int) -> list[str]:
    """The next ones after a local time of the zone, as local times with their offsets."""
    schedule = Cron(cron, zone)
    moment = datetime.fromisoformat(since).replace(tzinfo=schedule.zone)
    found = []
    for _ in range(count):
        due = schedule.after(moment)
        assert due is not None
        found.append(due.astimezone(schedule.zone).strftime("%m-%d %H:%M %z"))
        moment = due
    return found


def test_five_fields_are_minute_hour_day_month_and_weekday() -> None:
    assert times("30 3 * * MON", "UTC", "2026-11-01", 2) == [
        "11-02 03:30 +0000",
        "11-09 03:30 +0000",
    ]


@pytest.mark.parametrize(
    ("name", "second"),
    [
        ("@hourly", "11-01 02:00 +0000"),
        ("@daily", "11-03 00:00 +0000"),
        ("@weekly", "11-15 00:00 +0000"),
        ("@monthly", "01-01 00:00 +0000"),
        ("@yearly", "01-01 00:00 +0000"),
    ],
)
def test_names_stand_for_expressions(name: str, second: str) -> None:
    assert times(name, "UTC", "2026-11-01", 2)[1] == second


def test_a_time_that_does_not_exist_runs_at_the_next_moment_that_does() -> None:
    # On 2026-03-29 clocks in Berlin go from 02:00 to 03:00.
    assert times("30 2 * * *", "Europe/Berlin", "2026-03-28T00:00", 3) == [
        "03-28 02:30 +0100",
        "03-29 03:00 +0200",
        "03-30 02:30 +0200",
    ]


def test_times_that_do_not_exist_become_one_run_and_not_several() -> None:
    assert times("0,15,30,45 2,3 * * *", "Europe/Berlin", "2026-03-29T00:00", 4) == [
        "03-29 03:00 +0200",
        "03-29 03:15 +0200",
        "03-29 03:30 +0200",
        "03-29 03:45 +0200",
    ]


def test_a_time_that_happens_twice_runs_once_the_first_time() -> None:
    # On 2026-10-25 clocks in Berlin go from 03:00 back to 02:00.
    assert times("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00", 2) == [
        "10-25 02:30 +0200",
        "10-26 02:30 +0100",
    ]


def test_stars_in_the_minutes_make_no_difference_to_that() -> None:
    assert times("*/30 2 * * *", "Europe/Berlin", "2026-10-24T12:00", 3) == [
        "10-25 02:00 +0200",
        "10-25 02:30 +0200",
        "10-26 02:00 +0100",
    ]
    assert times("0 */2 * * *", "Europe/Berlin", "2026-10-25T00:30", 2) == [
        "10-25 02:00 +0200",
        "10-25 04:00 +0100",
    ]


@pytest.mark.parametrize("hours", ["*", "*/1", "0-23"])
def test_what_runs_in_every_hour_goes_by_elapsed_time(hours: str) -> None:
    assert times(f"0 {hours} * * *", "Europe/Berlin", "2026-10-25T00:30", 4) == [
        "10-25 01:00 +0200",
        "10-25 02:00 +0200",
        "10-25 02:00 +0100",
        "10-25 03:00 +0100",
    ]
    assert times(f"0 {hours} * * *", "Europe/Berlin", "2026-03-29T00:30", 3) == [
        "03-29 01:00 +0100",
        "03-29 03:00 +0200",
        "03-29 04:00 +0200",
    ]


def test_a_day_that_a_zone_skipped_runs_when_the_next_begins() -> None:
    # Samoa crossed the date line: 2011-12-30 did not happen there.
    assert times("0 12 * * *", "Pacific/Apia", "2011-12-29T00:00", 3) == [
        "12-29 12:00 -1000",
        "12-31 00:00 +1400",
        "12-31 12:00 +1400",
    ]


@given(
    cron=st.sampled_from(
        ["30 2 * * *", "*/20 1-3 * * *", "0 * * * *", "*/7 * * * *", "0 0 * * 0", "15 2,3 29 * *"]
    ),
    zone=st.sampled_from(["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "UTC"]),
    start=st.integers(0, 380 * 24 * 60),
    length=st.integers(1, 4 * 24 * 60),
)
@settings(max_examples=150, deadline=None)
def test_looking_back_finds_what_looking_ahead_finds(
    cron: str, zone: str, start: int, length: int
) -> None:
    schedule = Cron(cron, zone)
    after = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=start)
    until = after + timedelta(minutes=length)
    ahead = []
    moment = schedule.after(after)
    while moment is not None and moment <= until:
        ahead.append(moment)
        moment = schedule.after(moment)

    assert schedule.latest(after, until, 10_000) == ahead
    assert schedule.latest(after, until, 3) == ahead[-3:]
    minute = timedelta(minutes=1)
    assert schedule.between(after + minute, until + minute, 10_000) == ahead
    assert ahead == sorted(set(ahead))


def test_looking_back_over_ten_years_costs_no_more_than_over_a_day() -> None:
    schedule = Cron("* * * * *", "Europe/Berlin")
    now = datetime(2026, 11, 1, tzinfo=UTC)

    assert len(schedule.latest(now - timedelta(days=3_650), now, 100)) == 100


@pytest.mark.parametrize(
    ("cron", "said"),
    [
        ("61 * * * *", "minute field"),
        ("* * * *", "found 4"),
        ("* * * * * *", "found 6"),
        ("", "found 0"),
        ("@reboot", "@daily"),
        ("0 0 30 2 *", "day-of-month"),
        ("0 0 */20 * 1L", "never comes"),
        ("one two three four five", "minute field"),
        ("1-0 * * * *", "minute field"),
        ("*/0 * * * *", "minute field"),
        ("* * * * *" + " " * 500, "five fields"),
        ("0 0 1 1 \x00", "day-of-week"),
    ],
)
def test_a_bad_expression_is_told_by_its_field(cron: str, said: str) -> None:
    with pytest.raises(BadSchedule, match=said):
        Cron(cron, "UTC")


@pytest.mark.parametrize(
    "zone", ["", "Europe", "../etc/passwd", "/etc/passwd", "Nowhere", "a\x00b"]
)
def test_a_bad_zone_is_told(zone: str) -> None:
    with pytest.raises(BadSchedule, match="no time zone"):
        Cron("@daily", zone)


def test_a_misspelt_zone_is_told_the_nearest() -> None:
    with pytest.raises(BadSchedule, match="Europe/Berlin"):
        Cron("@daily", "Europe/Belrin")


def test_an_expression_can_be_put_in_words() -> None:
    assert Cron("0 3 * * *", "UTC").explain() == "At 03:00 every day"
