"""What can travel from one task to another."""

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drawbar.sdk.durations import seconds_of
from drawbar.sdk.values import BadValue, encode


class Odd(dict[str, int]):
    pass


CIRCLE: list[Any] = []
CIRCLE.append(CIRCLE)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        ((1, 2.5, "ä"), '[1,2.5,"ä"]'),
        ({"a": [True]}, '{"a":[true]}'),
        (Odd(a=1), '{"a":1}'),
        (2**63, str(2**63)),
    ],
)
def test_what_json_can_say_travels(value: object, text: str) -> None:
    assert encode(value) == text


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (object(), "the value is of type object"),
        ({"rows": [1, {2}]}, r"the value\['rows'\]\[1\] is of type set"),
        (b"bytes", "is of type bytes"),
        (lambda: None, "is of type function"),
        ({1: 2}, "has the key '1', which is not text"),
        (float("nan"), "is nan, which JSON cannot say"),
        ([float("inf")], r"the value\[0\] is inf"),
        (2**70, "more than 64 bits"),
        ("\ud800", "half of a surrogate pair"),
        ({"\ud800": 1}, "half of a surrogate pair"),
        (CIRCLE, "nested deeper than 100 levels"),
    ],
)
def test_what_json_cannot_say_is_named_with_its_place(value: object, says: str) -> None:
    with pytest.raises(BadValue, match=says):
        encode(value)


@pytest.mark.parametrize("value", ["x" * 2_000, [0] * 2_000, {"ä" * 600: 1}, "ä" * 600])
def test_what_is_too_large_is_told_what_to_do(value: object) -> None:
    with pytest.raises(BadValue, match="more than 1000 bytes as JSON; keep it as an artifact"):
        encode(value, 1_000)


def test_a_gigabyte_is_refused_at_once() -> None:
    gigabyte = ["x" * 1_000_000] * 1_000
    began = time.perf_counter()

    with pytest.raises(BadValue):
        encode(gigabyte)

    assert time.perf_counter() - began < 0.5


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(2**63), 2**63)
        | st.floats()
        | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
        ),
        max_leaves=6,
    )
)
def test_a_value_arrives_as_it_was_or_is_refused(value: object) -> None:
    try:
        text = encode(value)
    except BadValue:
        return
    assert json.loads(text) == value


@pytest.mark.parametrize(
    ("duration", "seconds"),
    [(90, 90.0), ("90", 90.0), ("1.5m", 90.0), ("2h", 7200.0), ("50ms", 0.05)],
)
def test_durations_are_read_as_in_documents(duration: Any, seconds: float) -> None:
    assert seconds_of(duration) == seconds


@pytest.mark.parametrize("duration", ["soon", "", "-1s", -1, True, "1w", float("nan"), "9999d"])
def test_what_is_no_duration_says_so(duration: Any) -> None:
    with pytest.raises(ValueError, match="expected a duration such as"):
        seconds_of(duration)
