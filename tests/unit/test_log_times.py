"""Times in front of the lines of a log."""

from datetime import UTC, datetime, timedelta

import pytest

from jobstore.log_times import Arrival, LineTimes, packed, unpacked

T0 = datetime(2026, 5, 1, 12, 0, 0, 123_000, tzinfo=UTC)
LOG = b"one\ntwo\r50%\r100%\nthree \xff\nfour"
# "one" and the beginning of "two" came first, the rest of it a second later.
ARRIVALS = [Arrival(0, T0), Arrival(6, T0 + timedelta(seconds=1))]
STAMPED = (
    b"2026-05-01T12:00:00.123Z one\n2026-05-01T12:00:00.123Z two\r50%\r100%\n"
    b"2026-05-01T12:00:01.123Z three \xff\n2026-05-01T12:00:01.123Z four"
)


@pytest.mark.parametrize("split", range(len(LOG)))
def test_a_line_has_the_time_at_which_its_first_byte_came_however_it_is_read(split: int) -> None:
    times = LineTimes(0)
    times.add(ARRIVALS)

    assert times.stamp(LOG[:split]) + times.stamp(LOG[split:]) == STAMPED


def test_a_log_that_is_read_from_its_middle_begins_with_the_rest_of_a_line() -> None:
    times = LineTimes(2)
    times.add(ARRIVALS)

    assert times.stamp(LOG[2:8]) == b"e\n2026-05-01T12:00:00.123Z two\r"


def test_what_came_again_after_a_loss_came_when_it_came_last() -> None:
    times = LineTimes(0)
    times.add([Arrival(0, T0), Arrival(2, T0), Arrival(4, T0)])

    times.add([Arrival(2, T0 + timedelta(hours=1))])

    assert times.stamp(b"a\nb\n") == b"2026-05-01T12:00:00.123Z a\n2026-05-01T13:00:00.123Z b\n"


async def test_a_record_that_was_torn_is_left_out() -> None:
    class Torn:
        async def read(self, path: str, offset: int, limit: int) -> bytes:
            return (packed(ARRIVALS[0]) + packed(ARRIVALS[1]))[offset : offset + limit][:-3]

    found = await unpacked(Torn(), "x", 0)  # type: ignore[arg-type]  # it is only read

    assert found == ARRIVALS[:1]
