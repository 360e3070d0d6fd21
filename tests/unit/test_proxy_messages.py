"""Where messages begin and end, however the network cuts them."""

import struct
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faults.proxy.http1 import MAX_HEAD, Part, Splitter, is_data, path_of

REQUESTS = (
    b"POST /v1/claims?x=1 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"
    b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"
    b"PUT /v1/log HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nT: 1\r\n\r\n"
)
RESPONSES = (
    b"HTTP/1.1 100 Continue\r\n\r\n"
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    b"HTTP/1.1 204 No Content\r\n\r\n"
    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\nuntil the end"
)


def cut_up(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({min(cut, len(data)) for cut in cuts} | {0, len(data)})
    return [data[a:b] for a, b in pairwise(places)]


def split(data: bytes, cuts: list[int], *, is_response: bool) -> tuple[bytes, list[Part]]:
    splitter = Splitter(is_response=is_response)
    pieces = [piece for part in cut_up(data, cuts) for piece in splitter.feed(part)]
    marks: list[Part] = [p.part for p in pieces if p.part in (Part.HEAD, Part.END)]
    return b"".join(piece.data for piece in pieces), marks


@given(st.lists(st.integers(0, len(REQUESTS))))
def test_requests_are_handed_on_as_they_came_wherever_they_are_cut(cuts: list[int]) -> None:
    data, marks = split(REQUESTS, cuts, is_response=False)

    assert data == REQUESTS
    assert marks == [Part.HEAD, Part.END] * 3


@given(st.lists(st.integers(0, len(RESPONSES))))
def test_responses_are_handed_on_as_they_came_wherever_they_are_cut(cuts: list[int]) -> None:
    data, marks = split(RESPONSES, cuts, is_response=True)

    assert data == RESPONSES
    assert marks == [Part.HEAD, Part.END] * 3 + [Part.HEAD]  # the last ends with the connection


@pytest.mark.parametrize(
    ("said", "is_response"),
    [
        (struct.pack(">IHH", 41, 3, 0) + b"user\0ann\0", False),  # PostgreSQL, its first words
        (b"*1\r\n$4\r\nPING\r\n", False),  # Redis
        (b"\x16\x03\x01\x02\x00\x01", False),  # TLS
        (b"EHLO here\r\n", False),  # mail
        (b"GET key\r\n", False),
        (b"220 mail.example ESMTP\r\n", True),
        (b"\x4a\x00\x00\x00\x0a8.0.30", True),  # MySQL, which speaks first
        (b"+PONG\r\n", True),
    ],
)
def test_what_is_no_http_is_not_waited_for(said: bytes, *, is_response: bool) -> None:
    data, marks = split(said, [], is_response=is_response)

    assert (data, marks) == (said, [])


@given(st.binary(max_size=2_000), st.lists(st.integers(0, 2_000)))
def test_what_is_no_http_is_handed_on_or_waited_for(noise: bytes, cuts: list[int]) -> None:
    data, _ = split(noise, cuts, is_response=False)

    assert noise.startswith(data)


def test_a_head_without_an_end_is_not_kept_for_ever() -> None:
    noise = b"GET /" + b"x" * MAX_HEAD

    data, _ = split(noise, [100], is_response=False)

    assert data == noise


@given(st.lists(st.binary(max_size=70_000), max_size=3), st.lists(st.integers(0, 200_000)))
def test_frames_are_whole_wherever_they_are_cut(bodies: list[bytes], cuts: list[int]) -> None:
    frames = [framed(body) for body in bodies]
    splitter = Splitter(is_response=False)
    splitter.upgrade()

    pieces = [p for part in cut_up(b"".join(frames), cuts) for p in splitter.feed(part)]

    assert [piece.data for piece in pieces] == frames
    assert all(piece.part is Part.FRAME and is_data(piece.data) for piece in pieces)


def framed(body: bytes) -> bytes:
    size = len(body)
    if size < 126:
        head = bytes([0x82, 0x80 | size])
    elif size < 65_536:
        head = bytes([0x82, 0x80 | 126]) + struct.pack(">H", size)
    else:
        head = bytes([0x82, 0x80 | 127]) + struct.pack(">Q", size)
    return head + b"mask" + body


def test_a_path_is_told_without_its_query() -> None:
    assert path_of(b"GET /v1/runs?limit=3 HTTP/1.1") == "/v1/runs"
    assert path_of(b"nonsense") == ""
