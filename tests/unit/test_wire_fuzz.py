"""Whatever stands in a header or a frame, it is read as it was meant or refused: never a crash."""

from contextlib import suppress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import ValidationError

from shared.errors import BadRequest
from shared.http import wire
from shared.protocol.line import AnswerHead, CallHead, pack, unpack

# What a header can hold by the time that it is read: aiohttp keeps odd bytes as surrogates.
HEADER = st.text(st.characters(max_codepoint=0xFF)) | st.text()
NEAR_RANGE = st.from_regex(r"(bytes )?[*0-9]{0,20}-?[0-9]{0,20}/?[*0-9]{0,20}", fullmatch=True)
SIZE = st.integers(min_value=0, max_value=10**17)


@given(HEADER | NEAR_RANGE)
@example("bytes 5-4/*")
@example("bytes ٣-٤/*")
@example("bytes 0-4/4")
def test_a_range_is_understood_or_refused(text: str) -> None:
    for parse in (wire.parse_content_range, wire.parse_part_range):
        try:
            numbers = parse(text)
        except BadRequest:
            continue
        assert min(numbers) >= 0


@given(SIZE, SIZE)
def test_a_range_that_was_written_is_read_back(offset: int, size_bytes: int) -> None:
    assert wire.parse_content_range(wire.content_range(offset, size_bytes)) == (offset, size_bytes)


@given(HEADER | st.text(st.characters(categories=["Nd"]), max_size=20))
def test_a_fence_is_a_number_or_refused(text: str) -> None:
    try:
        fence = wire.fence_of({wire.FENCE: text})
    except BadRequest:
        return
    assert 0 <= fence < 10**18


@given(HEADER)
def test_a_key_is_taken_as_it_is_or_refused(text: str) -> None:
    try:
        key = wire.checked_key(text)
    except BadRequest:
        return
    assert (key, key.isascii(), key.isprintable()) == (text, True, True)


@given(st.binary() | st.binary().map(lambda tail: b'{"number": 1, "verb": "claim"' + tail))
@example(b"[" * 100_000)
@example(b'{"number": 1e400, "verb": "x"}\n')
@example(b'{"number": 1, "verb": "\\ud800"}\n')
def test_a_frame_of_a_line_is_understood_or_refused(frame: bytes) -> None:
    with suppress(ValidationError):
        unpack(frame, CallHead)
    with suppress(ValidationError):
        unpack(frame, AnswerHead)


@given(st.integers(0, 2**63 - 1), st.text(), st.none() | st.text(), st.binary())
def test_a_frame_that_was_packed_is_unpacked(
    number: int, verb: str, token: str | None, body: bytes
) -> None:
    head = CallHead(number=number, verb=verb, token=token)

    assert unpack(pack(head, body), CallHead) == (head, body)


def test_a_frame_without_a_head_is_none() -> None:
    with pytest.raises(ValidationError):
        unpack(b"\n{}", CallHead)
