"""Processes that run when a test says so, and files that live in memory."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from hashlib import sha256
from pathlib import PurePath

from shared.ids import AttemptId
from shared.protocol.gateway import ArtifactEntry, Usage
from shared.protocol.pipeline import CacheSpec
from worker.ports import (
    USUAL_LIMITS,
    ArtifactLimits,
    CannotCollect,
    CannotStart,
    Exit,
    Launch,
    LeaseOver,
)

USED = Usage(wall_s=1.0, cpu_s=0.5, max_rss_bytes=1_000)


class ScriptedProcess:
    """Runs until `end`. SIGTERM ends it unless it is stubborn."""

    def __init__(self, pid: int, launch: Launch, *, is_stubborn: bool) -> None:
        self.pid = pid
        self.launch = launch
        self.signals: list[str] = []
        self.is_stubborn = is_stubborn
        self.is_reaped = False
        self.is_released = False
        self.reaping = asyncio.Event()
        self.reaping.set()
        self._exit: asyncio.Future[Exit] = asyncio.get_running_loop().create_future()

    def end(self, exit_code: int = 0) -> None:
        self.end_with(Exit(exit_code=exit_code, signal=None, usage=USED))

    def end_with(self, ended: Exit) -> None:
        if not self._exit.done():
            self._exit.set_result(ended)

    async def wait(self) -> Exit:
        return await asyncio.shield(self._exit)

    def terminate(self) -> None:
        self.signals.append("TERM")
        if not self.is_stubborn:
            self._die(15)

    def kill(self) -> None:
        self.signals.append("KILL")
        self._die(9)

    async def reap(self) -> None:
        self._die(9)
        await self.reaping.wait()
        self.is_reaped = True

    def release(self) -> None:
        self.is_released = True

    def _die(self, number: int) -> None:
        self.end_with(Exit(exit_code=None, signal=number, usage=USED))


class ScriptedRunner:
    """Implements `Runner`. `started` holds the processes in order of their start.

    They outlive the worker: a new one that is handed the same runner finds them.
    """

    def __init__(self) -> None:
        self.started: list[ScriptedProcess] = []
        self.is_stubborn = False
        self.refusal: str | None = None
        self.is_late = False
        self.permitted: dict[AttemptId, float] = {}
        self._changed = asyncio.Condition()

    async def start(self, launch: Launch) -> ScriptedProcess:
        if self.refusal is not None:
            raise CannotStart(self.refusal)
        if self.is_late:
            raise LeaseOver
        process = ScriptedProcess(len(self.started) + 1, launch, is_stubborn=self.is_stubborn)
        self.started.append(process)
        async with self._changed:
            self._changed.notify_all()
        return process

    async def attach(self, attempt_id: AttemptId) -> ScriptedProcess | None:
        for process in reversed(self.started):
            if process.launch.attempt_id == attempt_id:
                return None if process.is_released else process
        return None

    def permit(self, until: Mapping[AttemptId, float]) -> None:
        self.permitted.update(until)

    async def until_started(self, count: int) -> list[ScriptedProcess]:
        async with self._changed:
            await self._changed.wait_for(lambda: len(self.started) >= count)
        return self.started


class MemoryFiles:
    """Implements `AttemptFiles`."""

    def __init__(self, attempt_id: AttemptId) -> None:
        self.log = PurePath(f"/memory/{attempt_id}.log")
        self.cwd = PurePath("/memory")
        self.scratch: PurePath | None = None
        self.log_bytes = b""
        self.found: dict[str, bytes] = {}
        self.placed: dict[str, bytes] = {}
        self.largest_read = 0
        self.is_removed = False
        self.is_synced = False

    async def log_size(self) -> int:
        return len(self.log_bytes)

    async def read_log(self, offset: int, limit: int) -> bytes:
        self.largest_read = max(self.largest_read, limit)
        return self.log_bytes[offset : offset + limit]

    async def drop_log(self, start: int, stop: int) -> None:
        pass  # memory has no holes

    async def append_log(self, line: str) -> None:
        self.log_bytes += f"{line}\n".encode()

    async def place_input(self, entry: ArtifactEntry, body: AsyncIterator[bytes]) -> None:
        self.placed[entry.path] = b"".join([piece async for piece in body])

    async def place_known(self, entry: ArtifactEntry) -> bool:
        return False

    async def restore_cache(
        self, pipeline: str, cache: CacheSpec, is_stopped: Callable[[], bool]
    ) -> tuple[str, str | None]:
        return cache.key, None

    async def save_cache(self, pipeline: str, cache: CacheSpec, key: str) -> int | None:
        return None

    async def find_artifacts(
        self, globs: Sequence[str], limits: ArtifactLimits = USUAL_LIMITS
    ) -> list[ArtifactEntry]:
        missing = [glob for glob in globs if glob not in self.found]
        if missing:
            raise CannotCollect(f"artifacts {missing[0]!r}: no regular file matches")
        return [
            ArtifactEntry(path=p, size_bytes=len(d), sha256=sha256(d).hexdigest())
            for p, d in sorted(self.found.items())
            if p in globs
        ]

    async def read_artifact(self, path: str, offset: int = 0) -> AsyncGenerator[bytes, None]:
        yield self.found[path][offset:]

    async def sync(self, artifacts: Sequence[str]) -> None:
        self.is_synced = True

    async def remove(self) -> None:
        self.is_removed = True


class MemoryWorkspace:
    """Implements `Workspace`; every attempt finds `artifacts` in its directory."""

    def __init__(self) -> None:
        self.opened: dict[AttemptId, MemoryFiles] = {}
        self.artifacts: dict[str, bytes] = {}
        self.log = b""

    async def open(self, attempt_id: AttemptId, working_dir: str | None) -> MemoryFiles:
        files = self.opened[attempt_id] = MemoryFiles(attempt_id)
        files.found = self.artifacts
        files.log_bytes = self.log
        return files

    async def reopen(self, attempt_id: AttemptId, working_dir: str | None) -> MemoryFiles:
        return self.opened.get(attempt_id) or await self.open(attempt_id, working_dir)
