"""`Files` on a disk that fills up, fails, tears what is written and forgets bits."""

import errno
import os
from collections.abc import Sequence

from faults.injector import Injector
from faults.plan import PointFault
from faults.points import Action
from shared.files import Files


class FaultyFiles:
    """Passes everything on to `inner`, except where a fault strikes."""

    def __init__(self, inner: Files, injector: Injector) -> None:
        self._inner = inner
        self._injector = injector

    async def append(self, path: str, at: int, data: bytes) -> int:
        fault = self._strike("append", path)
        if fault is None or not data:
            return await self._inner.append(path, at, data)
        match fault.action:
            case Action.TRUNCATE:  # a torn write: some of it is there, and the disk says so
                await self._inner.append(path, at, data[: len(data) // 2])
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            case Action.CORRUPT:
                data = self._injector.flipped(data)
            case _:
                await self._fail(fault)
        return await self._inner.append(path, at, data)

    async def read(self, path: str, offset: int, limit: int) -> bytes:
        fault = self._strike("read", path)
        if fault is not None and fault.action not in (Action.TRUNCATE, Action.CORRUPT):
            await self._fail(fault)
        data = await self._inner.read(path, offset, limit)
        if fault is None or not data:
            return data
        match fault.action:
            case Action.TRUNCATE:
                return data[: len(data) // 2]
            case Action.CORRUPT:
                return self._injector.flipped(data)
            case _:
                return data

    async def exists(self, path: str) -> bool:
        return await self._inner.exists(path)

    async def names(self, folder: str) -> Sequence[str]:
        return await self._inner.names(folder)

    async def sync(self, path: str) -> None:
        await self._fail(self._strike("sync", path))
        await self._inner.sync(path)

    async def publish(self, temporary: str, path: str) -> None:
        await self._fail(self._strike("publish", path))
        await self._inner.publish(temporary, path)

    async def remove(self, path: str) -> None:
        await self._fail(self._strike("remove", path))
        await self._inner.remove(path)

    def _strike(self, verb: str, path: str) -> PointFault | None:
        return self._injector.strike(f"jobstore.file.{verb}", {"path": path})

    async def _fail(self, fault: PointFault | None) -> None:
        """What the fault does instead of the disk's work, or before it."""
        if fault is None:
            return
        if fault.action is Action.DISK_FULL:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        await self._injector.act(fault)
