"""Artifacts that come in parts: where they go on, and what becomes of what was begun."""

import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from shared.errors import BadRequest, PartOffsetMismatch
from shared.protocol import gateway as g
from tests.support.jobstore import ANN, Hands, a_job, hands_on

DATA = bytes(range(256)) * 20_000  # 5 MB
HALF = 2_500_000


async def body(data: bytes, *, breaks: bool = False) -> AsyncIterator[bytes]:
    for start in range(0, len(data), 65_536):
        yield data[start : start + 65_536]
    if breaks:
        raise ConnectionResetError


def an_entry(data: bytes, path: str = "out.bin") -> g.ArtifactEntry:
    return g.ArtifactEntry(path=path, size_bytes=len(data), sha256=hashlib.sha256(data).hexdigest())


async def put(
    hands: Hands,
    claim: g.Claim,
    entry: g.ArtifactEntry,
    data: bytes,
    offset: int,
    *,
    breaks: bool = False,
) -> int:
    upload = g.ArtifactUpload(
        attempt_id=claim.attempt_id,
        worker_id=ANN,
        fence=claim.fence,
        entry=entry,
        offset=offset,
        part_bytes=len(data),
    )
    return (await hands.service.put_artifact(upload, body(data, breaks=breaks))).next_offset


async def test_parts_make_a_whole_and_the_receipt_says_what_was_stored(hands: Hands) -> None:
    await hands.submit(a_job("a"))
    claim = await hands.start()
    entry = an_entry(DATA)

    assert await put(hands, claim, entry, DATA[:HALF], 0) == HALF
    assert await put(hands, claim, entry, DATA[HALF:], HALF) == len(DATA)
    receipt = await hands.finish(claim, artifacts=(entry,))

    assert isinstance(receipt, g.Receipt)
    assert receipt.artifacts is not None
    assert (receipt.artifacts.count, receipt.artifacts.size_bytes) == (1, len(DATA))


async def test_what_came_before_a_connection_broke_is_not_sent_again(hands: Hands) -> None:
    await hands.submit(a_job("a"))
    claim = await hands.start()
    entry = an_entry(DATA)
    with pytest.raises(ConnectionResetError):
        await put(hands, claim, entry, DATA[:1_234_567], 0, breaks=True)

    with pytest.raises(PartOffsetMismatch) as told:
        await put(hands, claim, entry, DATA, 0)

    assert told.value.facts == {"resume_at": 1_234_567}
    assert await put(hands, claim, entry, DATA[1_234_567:], 1_234_567) == len(DATA)


async def test_parts_survive_the_service_while_their_attempt_lives(tmp_path: Path) -> None:
    entry = an_entry(DATA)
    async with hands_on(tmp_path) as hands:
        await hands.submit(a_job("a"))
        claim = await hands.start()
        await put(hands, claim, entry, DATA[:HALF], 0)

    async with hands_on(tmp_path) as hands:
        assert await put(hands, claim, entry, DATA[HALF:], HALF) == len(DATA)


async def test_parts_of_an_attempt_that_is_over_are_swept_away(
    hands: Hands, tmp_path: Path
) -> None:
    await hands.submit(a_job("a"))
    claim = await hands.start()
    await put(hands, claim, an_entry(DATA), DATA[:HALF], 0)
    incoming = tmp_path / "files" / "incoming"
    assert len(list(incoming.iterdir())) == 1

    await hands.finish(claim)
    await hands.service._sweep_once()

    assert list(incoming.iterdir()) == []


async def test_parts_that_are_not_what_was_announced_are_thrown_away(hands: Hands) -> None:
    await hands.submit(a_job("a"))
    claim = await hands.start()
    entry = an_entry(DATA)
    await put(hands, claim, entry, b"x" * HALF, 0)

    with pytest.raises(BadRequest, match="not what was announced"):
        await put(hands, claim, entry, DATA[HALF:], HALF)
    with pytest.raises(BadRequest, match="more bytes than were announced"):
        await put(hands, claim, an_entry(b"abc"), b"abcd", 0)

    assert await put(hands, claim, entry, DATA, 0) == len(DATA)


async def test_bytes_that_are_known_are_not_asked_for_again(hands: Hands) -> None:
    await hands.submit(a_job("a"), a_job("b"))
    first, second = await hands.start(), await hands.start()
    await put(hands, first, an_entry(DATA), DATA, 0)

    receipt = await hands.finish(second, artifacts=(an_entry(DATA, "elsewhere"),))

    assert isinstance(receipt, g.Receipt)
