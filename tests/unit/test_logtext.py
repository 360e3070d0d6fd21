"""What is made of a job's log on its way: no secrets, a middle left out, and nothing unsaid."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.ids import AttemptId
from tests.support.processes import MemoryFiles
from worker.logtext import LogText
from worker.tasks.masking import Masker

KEY = "-----BEGIN KEY-----\nMIIEvQIBADAN\nBgkqhkiG9w0B\n-----END KEY-----"
SECRETS = ("hunter2", "hunter2-and-more", KEY, "caf\u00e9")
LOG = (
    f"user hunter2, hunt\x1b[31mer\xff\nthen hunter2-and-more {KEY}\n"
    f"one line of it: MIIEvQIBADAN caf\u00e9 hunter"
).encode("utf-8", "surrogateescape")


def a_masker(*secrets: str) -> Masker:
    masker = Masker()
    masker.add(secrets)
    return masker


async def read_all(text: LogText) -> bytes:
    read = b""
    while piece := await text.read():
        read += piece
    return read


async def read_growing(log: bytes, splits: list[int], masker: Masker) -> bytes:
    files = MemoryFiles(AttemptId("a"))
    text = LogText(files, masker, None)
    shown = b""
    for end in [*splits, len(log)]:
        files.log_bytes = log[:end]
        await text.look()
        shown += await read_all(text)
    await text.end()
    return shown + await read_all(text)


async def test_no_split_of_the_log_lets_a_secret_through() -> None:
    masker = a_masker(*SECRETS)
    whole, _ = masker.split(LOG, is_end=True)

    for first in range(len(LOG)):
        assert await read_growing(LOG, [first], masker) == whole

    for secret in (*SECRETS, "MIIEvQIBADAN", "BgkqhkiG9w0B"):
        assert secret.encode() not in whole
    assert whole.endswith(b"hunter")  # which is no secret yet


@given(
    words=st.lists(
        st.sampled_from([*SECRETS, "hun", "ter2", "\n", "caf", "x", "MII"]), max_size=12
    ),
    splits=st.lists(st.integers(0, 400), max_size=6),
)
async def test_any_splits_of_any_log_show_the_same(words: list[str], splits: list[int]) -> None:
    log = "".join(words).encode()
    masker = a_masker(*SECRETS)

    shown = await read_growing(log, sorted(min(s, len(log)) for s in splits), masker)

    assert shown == masker.split(log, is_end=True)[0]


async def test_bytes_that_are_no_text_and_colours_stay_as_they_are() -> None:
    log = bytes(range(256)) + b"\x1b[1;31mred\x1b[0m\r\n"

    assert await read_growing(log, [3, 128, 200], a_masker("hunter2")) == log


@pytest.mark.parametrize("at", [0, 1, 5_000_000, 9_999_999])
async def test_it_can_be_read_again_from_anywhere(at: int) -> None:
    files = MemoryFiles(AttemptId("a"))
    files.log_bytes = b"".join(b"%9d hunter2\n" % n for n in range(600_000))
    text = LogText(files, a_masker("hunter2"), None)
    await text.end()
    whole = await read_all(text)

    text.seek(at)
    place = text.out

    assert place <= at
    assert at - place < 8 << 20
    assert await read_all(text) == whole[place:]


async def test_a_log_over_its_limit_keeps_its_head_and_its_tail_and_says_what_is_missing() -> None:
    files = MemoryFiles(AttemptId("a"))
    text = LogText(files, Masker(), 100_000)
    log = random.Random(1).randbytes(500_000).hex().encode()

    shown = b""
    for end in range(0, len(log) + 1, 50_000):
        files.log_bytes = log[:end]
        await text.look()
        shown += await read_all(text)
    live = len(shown)
    await text.end()
    shown += await read_all(text)

    assert len(shown) <= 100_000
    assert shown.endswith(log[-25_000:])
    assert b"[drawbar] the log has reached its limit of 100000 bytes" in shown[:live]
    left_out = text.lost_bytes
    assert f"[drawbar] {left_out} bytes were left out here\n".encode() in shown[live:]
    head = shown.index(b"\n[drawbar] the log has")
    assert head + left_out + 25_000 == len(log)


async def test_a_log_without_a_single_line_end_is_bounded_too() -> None:
    files = MemoryFiles(AttemptId("a"))
    files.log_bytes = b"x" * 5_000_000
    text = LogText(files, a_masker("xy"), 200_000)
    await text.end()

    assert len(await read_all(text)) <= 200_000


async def test_the_tail_of_a_long_log_begins_behind_a_secret_not_within() -> None:
    files = MemoryFiles(AttemptId("a"))
    text = LogText(files, a_masker("s" * 50 + "e" * 50), 100_000)
    files.log_bytes = b"x" * 150_000 + b"s" * 50 + b"e" * 50 + b"y" * 24_950  # the tail begins at e
    await text.end()

    shown = await read_all(text)

    assert b"e" * 10 not in shown.partition(b"left out here\n")[2]


async def test_a_job_that_empties_its_log_is_told_of_it_in_the_log() -> None:
    files = MemoryFiles(AttemptId("a"))
    text = LogText(files, Masker(), None)
    files.log_bytes = b"before\n"
    await text.look()
    shown = await read_all(text)
    files.log_bytes = b"before\nnot read"
    await text.look()

    files.log_bytes = b"new\n"
    await text.look()
    shown += await read_all(text)

    assert shown == (
        b"before\n[drawbar] the job emptied or replaced its log here; 8 bytes were not sent before"
        b"\nnew\n"
    )
    assert text.lost_bytes == 8
