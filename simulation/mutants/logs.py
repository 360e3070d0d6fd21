"""Bugs in logs and artifacts: bytes that are missing, doubled, or not what was announced.

A log is compared with its hash at the end, so a worker's mistake alone mends itself. The bugs of
this kind take that comparison away as well.
"""

from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from unittest import mock

from jobstore.artifacts import Artifacts
from jobstore.incoming import Incoming
from jobstore.logs import Logs, path_of
from shared.errors import ServiceError
from shared.ids import AttemptId
from shared.protocol.gateway import ArtifactEntry, LogChunk
from shared.services import Body
from worker.logstream import LogStream


@contextmanager
def log_offset_moved_before_upload() -> Iterator[None]:
    """A chunk of the log counts as sent before it was, and the log as whole however it is."""

    async def send(self: LogStream, chunk: Sequence[bytes]) -> None:
        offset, size = self._sent, sum(map(len, chunk))
        self._sent += size
        ask = LogChunk(
            attempt_id=self._attempt_id,
            worker_id=self._worker_id,
            fence=self._fence,
            offset=offset,
            size_bytes=size,
        )
        with suppress(ServiceError, TimeoutError):
            await self._gateway.append_log(ask, _each(chunk))

    with mock.patch.object(LogStream, "_send", send), _unverified():
        yield


@contextmanager
def log_chunk_appended_twice() -> Iterator[None]:
    """A chunk that comes again is appended again, and the log counts as whole however it is."""
    append = Logs.append

    async def at_the_end(
        self: Logs, attempt_id: AttemptId, offset: int, size_bytes: int, body: Body
    ) -> int:
        log = await self._find(attempt_id)
        return await append(self, attempt_id, max(offset, log.size), size_bytes, body)

    with mock.patch.object(Logs, "append", at_the_end), _unverified():
        yield


@contextmanager
def torn_log_served_as_whole() -> Iterator[None]:
    """Nobody looks whether all of a log is there when its attempt is reported."""
    with _unverified():
        yield


@contextmanager
def log_not_synced() -> Iterator[None]:
    """A result is acknowledged while its log may yet be lost with the power."""

    async def complete(self: Logs, attempt_id: AttemptId, size: int, sha256: str) -> int | None:
        log = await self._find(attempt_id)
        return log.size if log.size < size else None

    with mock.patch.object(Logs, "complete", complete):
        yield


@contextmanager
def artifact_listed_before_it_is_here() -> Iterator[None]:
    """A report may list artifacts whose bytes have not come."""

    async def none_missing(self: Artifacts, entries: Iterable[ArtifactEntry]) -> tuple[str, ...]:
        return ()

    with mock.patch.object(Artifacts, "missing", none_missing):
        yield


@contextmanager
def half_an_artifact_taken_for_whole() -> Iterator[None]:
    """An upload that breaks off in the middle is published under the hash of the whole."""

    async def store(self: Artifacts, entry: ArtifactEntry, body: Body) -> None:
        temporary = f"incoming/{self._runtime.new_id()}"
        size = 0
        await self._files.append(temporary, 0, b"")
        try:
            async for piece in body:
                size = await self._files.append(temporary, size, piece)
        finally:
            await self._files.publish(temporary, f"blobs/{entry.sha256[:2]}/{entry.sha256}")

    async def append(
        self: Incoming, attempt_id: AttemptId, entry: ArtifactEntry, offset: int, body: Body
    ) -> int:
        with suppress(ServiceError, ConnectionError):
            await whole(self, attempt_id, entry, offset, body)
        return entry.size_bytes

    async def publish(
        self: Incoming, attempt_id: AttemptId, entry: ArtifactEntry, target: str
    ) -> None:
        await self._files.publish(f"incoming/{attempt_id}.{entry.sha256}", target)

    whole = Incoming.append
    with (
        mock.patch.object(Artifacts, "_store", store),
        mock.patch.object(Incoming, "append", append),
        mock.patch.object(Incoming, "publish", publish),
    ):
        yield


@contextmanager
def _unverified() -> Iterator[None]:
    async def complete(self: Logs, attempt_id: AttemptId, size: int, sha256: str) -> int | None:
        await self._find(attempt_id)
        await self._files.sync(path_of(attempt_id))
        return None

    with mock.patch.object(Logs, "complete", complete):
        yield


async def _each(chunk: Sequence[bytes]) -> AsyncIterator[bytes]:
    for piece in chunk:
        yield piece


MUTANTS = (
    log_offset_moved_before_upload,
    log_chunk_appended_twice,
    torn_log_served_as_whole,
    log_not_synced,
    artifact_listed_before_it_is_here,
    half_an_artifact_taken_for_whole,
)
