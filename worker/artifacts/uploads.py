"""Artifacts on their way to the job service: several at a time, each in parts that are resumed."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from typing import Final

from shared.errors import BadRequest, LogOffsetMismatch, ServiceError, TooLarge
from shared.protocol.gateway import MIN_BYTES_PER_S, ArtifactEntry, ArtifactUpload
from shared.services import Gateway
from worker.lease import Holder
from worker.ports import AttemptFiles, CannotCollect

CALL_TIMEOUT_S: Final = 30.0
AT_A_TIME: Final = 4


class Uploads:
    """The artifacts of one attempt. It remembers how far each has come."""

    def __init__(self, holder: Holder, gateway: Gateway) -> None:
        self._holder = holder
        self._gateway = gateway
        self._sent: dict[str, int] = {}  # by hash: the service has the bytes before

    async def send(
        self, entries: Sequence[ArtifactEntry], files: AttemptFiles, part_bytes: int | None
    ) -> dict[str, str]:
        """All are stored but those that cannot be: why not, by path.

        `part_bytes` is None where the service takes only whole ones. An error that is worth a
        retry comes out when the others have been tried; call again, and what was sent stays sent.
        """
        flaws: dict[str, str] = {}
        failed: list[ServiceError | TimeoutError] = []
        # Equal bytes are sent once.
        waiting = iter({entry.sha256: entry for entry in reversed(entries)}.values())

        async def work() -> None:
            for entry in waiting:
                if failed:
                    return
                try:
                    await self._send_surely(entry, files, part_bytes)
                except (BadRequest, TooLarge) as error:
                    flaws[entry.path] = f"artifact {entry.path!r}: {error}"
                except (ServiceError, TimeoutError) as error:
                    failed.append(error)

        async with asyncio.TaskGroup() as group:
            for _ in range(min(AT_A_TIME, len(entries))):
                group.create_task(work(), name="artifacts")
        if failed:
            raise failed[0]
        return flaws

    async def _send_surely(
        self, entry: ArtifactEntry, files: AttemptFiles, part_bytes: int | None
    ) -> None:
        """Sent. BadRequest: the file is not what it was. If bytes were damaged on their way, that
        looks the same; the second time tells."""
        try:
            await self._send(entry, files, part_bytes)
        except BadRequest:
            self._sent.pop(entry.sha256, None)
            await self._send(entry, files, part_bytes)

    async def _send(
        self, entry: ArtifactEntry, files: AttemptFiles, part_bytes: int | None
    ) -> None:
        if part_bytes is None or entry.size_bytes <= part_bytes:
            await self._put(entry, files, 0, None)
            return
        offset = self._sent.get(entry.sha256, 0)
        while offset < entry.size_bytes:
            size = min(part_bytes, entry.size_bytes - offset)
            try:
                offset = await self._put(entry, files, offset, size)
            except LogOffsetMismatch as error:
                offset = int(error.facts["resume_at"])
            self._sent[entry.sha256] = offset
        del self._sent[entry.sha256]  # should it be missing later on, it is sent from its beginning

    async def _put(
        self, entry: ArtifactEntry, files: AttemptFiles, offset: int, part_bytes: int | None
    ) -> int:
        upload = ArtifactUpload(
            attempt_id=self._holder.attempt_id,
            worker_id=self._holder.worker_id,
            fence=self._holder.fence,
            entry=entry,
            offset=offset,
            part_bytes=part_bytes,
        )
        size = entry.size_bytes if part_bytes is None else part_bytes
        async with asyncio.timeout(CALL_TIMEOUT_S + size / MIN_BYTES_PER_S):
            body = _exactly(entry, files, offset, size)
            reply = await self._gateway.put_artifact(upload, body)
        return reply.next_offset


async def _exactly(
    entry: ArtifactEntry, files: AttemptFiles, offset: int, size: int
) -> AsyncIterator[bytes]:
    """That many bytes of the file. BadRequest: they are not there any more.

    That error and not CannotCollect, because a body's errors pass through an HTTP client.
    """
    left = size
    is_last = offset + size == entry.size_bytes
    try:
        async with aclosing(files.read_artifact(entry.path, offset)) as pieces:
            async for piece in pieces:
                if len(piece) > left and is_last:
                    raise BadRequest("it changed while it was sent")
                yield piece[:left]
                left -= min(left, len(piece))
                if not left and not is_last:
                    return
    except CannotCollect as error:
        raise BadRequest(str(error)) from error
    if left:
        raise BadRequest("it changed while it was sent")
