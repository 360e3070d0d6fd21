"""Artifacts on their way: in parts, several at a time, and never the same bytes twice."""

import asyncio
import random
from collections.abc import AsyncIterator
from hashlib import sha256

import pytest

from shared.errors import PartOffsetMismatch, Unavailable
from shared.ids import AttemptId
from shared.protocol import gateway as g
from tests.support.processes import MemoryFiles
from worker.artifacts.uploads import AT_A_TIME, Uploads

PART = 1_000


class Holder:
    attempt_id, worker_id, fence, phase = AttemptId("a"), "w", 1, "reporting"


class Service:
    """Takes parts, and loses its connection in the middle of some."""

    def __init__(self, chance: random.Random | None = None) -> None:
        self.blobs: dict[str, bytes] = {}
        self.received = 0
        self.at_once = self.most_at_once = 0
        self._chance = chance

    async def put_artifact(
        self, upload: g.ArtifactUpload, body: AsyncIterator[bytes]
    ) -> g.ArtifactReply:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await asyncio.sleep(0)
            return await self._put(upload, body)
        finally:
            self.at_once -= 1

    async def _put(self, upload: g.ArtifactUpload, body: AsyncIterator[bytes]) -> g.ArtifactReply:
        known = self.blobs.get(upload.entry.sha256, b"")
        if upload.offset != len(known):
            raise PartOffsetMismatch(resume_at=len(known))
        data = b"".join([piece async for piece in body])
        if self._chance is not None and self._chance.random() < 0.5:
            data = data[: self._chance.randrange(len(data) + 1)]
            self.blobs[upload.entry.sha256] = known + data
            self.received += len(data)
            raise Unavailable("the gateway was restarted")
        self.received += len(data)
        self.blobs[upload.entry.sha256] = data = known + data
        if len(data) == upload.entry.size_bytes:
            assert sha256(data).hexdigest() == upload.entry.sha256
        return g.ArtifactReply(next_offset=len(data))


def entries_of(files: MemoryFiles) -> list[g.ArtifactEntry]:
    return [
        g.ArtifactEntry(path=path, size_bytes=len(data), sha256=sha256(data).hexdigest())
        for path, data in files.found.items()
    ]


@pytest.fixture
def files() -> MemoryFiles:
    files = MemoryFiles(AttemptId("a"))
    chance = random.Random(7)
    files.found = {f"f{n}": chance.randbytes(n * 700) for n in range(10)}
    return files


@pytest.mark.parametrize("seed", range(20))
async def test_a_connection_that_breaks_anywhere_costs_no_byte_twice(
    files: MemoryFiles, seed: int
) -> None:
    service = Service(random.Random(seed))
    uploads = Uploads(Holder(), service)  # type: ignore[arg-type]  # what it needs of them
    entries = [entry for entry in entries_of(files) if entry.size_bytes > PART]

    for _ in range(1_000):
        try:
            assert await uploads.send(entries, files, PART) == {}
        except Unavailable:
            continue
        break

    assert {sha256(d).hexdigest(): d for d in files.found.values() if len(d) > PART} == (
        service.blobs
    )
    assert service.received == sum(entry.size_bytes for entry in entries)


async def test_several_are_sent_at_a_time_and_not_more(files: MemoryFiles) -> None:
    service = Service()
    uploads = Uploads(Holder(), service)  # type: ignore[arg-type]  # what it needs of them

    await uploads.send(entries_of(files), files, PART)

    assert service.most_at_once == AT_A_TIME


async def test_the_same_bytes_under_two_names_are_sent_once() -> None:
    files = MemoryFiles(AttemptId("a"))
    files.found = {"one": b"same" * 1_000, "two": b"same" * 1_000}
    service = Service()
    uploads = Uploads(Holder(), service)  # type: ignore[arg-type]  # what it needs of them

    await uploads.send(entries_of(files), files, PART)

    assert service.received == 4_000


async def test_a_file_that_changed_is_named_and_holds_up_no_other(files: MemoryFiles) -> None:
    entries = entries_of(files)
    files.found["f9"] = files.found["f9"][:-1]
    files.found["f1"] += b"x"
    service = Service()
    uploads = Uploads(Holder(), service)  # type: ignore[arg-type]  # what it needs of them

    flaws = await uploads.send(entries, files, PART)

    assert flaws == {
        "f1": "artifact 'f1': it changed while it was sent",
        "f9": "artifact 'f9': it changed while it was sent",
    }
    assert len(service.blobs) >= 8


async def test_a_service_that_knows_no_parts_is_sent_whole_artifacts(files: MemoryFiles) -> None:
    asked: list[g.ArtifactUpload] = []

    class Old(Service):
        async def _put(
            self, upload: g.ArtifactUpload, body: AsyncIterator[bytes]
        ) -> g.ArtifactReply:
            asked.append(upload)
            return await super()._put(upload, body)

    uploads = Uploads(Holder(), Old())  # type: ignore[arg-type]  # what it needs of them

    await uploads.send(entries_of(files), files, None)

    assert {upload.part_bytes for upload in asked} == {None}
