"""The worker's machine as the worker sees it: scripted processes, and folders in memory.

A job's argv is its script: `sim SECONDS FAILURE_CHANCE LINES`. Nothing survives the worker.
"""

import asyncio
import random
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from hashlib import sha256
from pathlib import PurePath
from typing import Final

from shared.ids import AttemptId
from shared.protocol.gateway import ArtifactEntry, Usage
from shared.protocol.pipeline import CacheSpec
from simulation.history import History
from simulation.process import Process
from worker.ports import (
    USUAL_LIMITS,
    ArtifactLimits,
    CannotCollect,
    CannotStart,
    Exit,
    Launch,
)

IGNORES_TERM: Final = 0.2  # of the processes
SPAWN_FAILS: Final = 0.02
LINE_BYTES: Final = 120
BURSTS: Final = 3  # in which a process writes its lines
SIGTERM, SIGKILL = 15, 9


def line_of(attempt_id: str, n: int) -> bytes:
    """The n-th line that an attempt's process writes; no two attempts write the same."""
    return f"{attempt_id} line {n} ".encode().ljust(LINE_BYTES - 1, b".") + b"\n"


def artifact_of(attempt_id: str) -> bytes:
    """What a process leaves in `out.txt` when it succeeds."""
    return f"made by {attempt_id}\n".encode() * 200


class SimWorkspace:
    """Folders in memory; those of a dead worker are never seen again."""

    def __init__(self) -> None:
        self.folders: dict[PurePath, SimFolder] = {}

    async def open(self, attempt_id: AttemptId, working_dir: str | None) -> "SimFolder":
        folder = SimFolder(self, attempt_id)
        self.folders[folder.cwd] = folder
        return folder

    async def reopen(self, attempt_id: AttemptId, working_dir: str | None) -> "SimFolder":
        raise CannotStart("nothing survives the worker")


class SimFolder:
    """`AttemptFiles` in memory."""

    def __init__(self, workspace: SimWorkspace, attempt_id: AttemptId) -> None:
        self.attempt_id = attempt_id
        self.cwd = PurePath("attempts", attempt_id, "work")
        self.scratch: PurePath | None = None
        self.log = PurePath("attempts", attempt_id, "log")
        self.output = bytearray()
        self.files: dict[str, bytes] = {}
        self.inputs: dict[str, bytes] = {}
        self._workspace = workspace

    async def log_size(self) -> int:
        return len(self.output)

    async def read_log(self, offset: int, limit: int) -> bytes:
        return bytes(self.output[offset : offset + limit])

    async def drop_log(self, start: int, stop: int) -> None:
        pass  # memory has no holes

    async def append_log(self, line: str) -> None:
        self.output += f"{line}\n".encode()

    async def place_input(self, entry: ArtifactEntry, body: AsyncIterator[bytes]) -> None:
        self.inputs[entry.path] = b"".join([piece async for piece in body])

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
        found = sorted(p for p in self.files if any(fnmatchcase(p, glob) for glob in globs))
        if not found:
            raise CannotCollect(f"no file matches {globs[0]}")
        return [
            ArtifactEntry(
                path=path,
                size_bytes=len(self.files[path]),
                sha256=sha256(self.files[path]).hexdigest(),
            )
            for path in found
        ]

    async def read_artifact(self, path: str, offset: int = 0) -> AsyncGenerator[bytes, None]:
        yield self.files[path][offset:]

    async def sync(self, artifacts: Sequence[str]) -> None:
        """Memory is as durable as it gets."""

    async def remove(self) -> None:
        self._workspace.folders.pop(self.cwd, None)


class SimRunner:
    """`Runner` whose processes are scripts. Their starts and ends go into the history."""

    def __init__(self, host: Process, workspace: SimWorkspace, history: History) -> None:
        self._host = host
        self._workspace = workspace
        self._history = history
        self._chance = random.Random(f"runner-{host.loop.seed}-{host.label}")
        self._last_pid = 1000 * host.incarnation
        self._alive: dict[SimProcess, None] = {}
        host.at_death.append(self._die)

    @property
    def is_busy(self) -> bool:
        return bool(self._alive)

    async def start(self, launch: Launch) -> "SimProcess":
        folder = self._workspace.folders[PurePath(launch.cwd)]
        await asyncio.sleep(self._chance.uniform(1e-3, 2e-2))
        if self._chance.random() < SPAWN_FAILS:
            raise CannotStart("no such command: the simulation said so")
        self._last_pid += 1
        process = SimProcess(self._last_pid, launch.argv, folder, self._chance)
        self._history.event(
            "spawn", attempt=folder.attempt_id, inputs=sorted(folder.inputs.items())
        )
        self._alive[process] = None
        process.begin(self._host, lambda: self._ended(process))
        return process

    async def attach(self, attempt_id: AttemptId) -> None:
        """Nothing survives the worker."""

    def permit(self, until: Mapping[AttemptId, float]) -> None:
        """Nothing to do: no worker, no processes."""

    def _ended(self, process: "SimProcess") -> None:
        del self._alive[process]
        ended = process.exit
        assert ended is not None
        self._history.event(
            "exit",
            attempt=process.folder.attempt_id,
            exit_code=ended.exit_code,
            signal=ended.signal,
            log_bytes=len(process.folder.output),
        )

    def _die(self) -> None:
        for process in self._alive:
            attempt = process.folder.attempt_id
            self._history.event("exit", attempt=attempt, exit_code=None, signal=SIGKILL)


class SimProcess:
    """`Process`: writes lines, leaves an artifact, exits; or is stopped before."""

    def __init__(
        self, pid: int, argv: Sequence[str], folder: SimFolder, chance: random.Random
    ) -> None:
        _, seconds, failure_chance, lines = argv
        self.pid = pid
        self.folder = folder
        self.exit: Exit | None = None
        self._seconds = float(seconds)
        self._exit_code = 1 if chance.random() < float(failure_chance) else 0
        self._lines = int(lines)
        self._ignores_term = chance.random() < IGNORES_TERM
        self._term_s = chance.uniform(0.01, 1.0)
        self._is_over = asyncio.Event()

    def begin(self, host: Process, on_end: Callable[[], None]) -> None:
        self._host = host
        self._on_end = on_end
        self._began_at = host.loop.now
        host.spawn(self._live(), "process")

    async def wait(self) -> Exit:
        await self._is_over.wait()
        assert self.exit is not None
        return self.exit

    def terminate(self) -> None:
        if not self._ignores_term:
            self._host.loop.after(self._term_s, self._host, self._end, None, SIGTERM)

    def kill(self) -> None:
        self._host.loop.after(1e-3, self._host, self._end, None, SIGKILL)

    async def reap(self) -> None: ...

    def release(self) -> None: ...

    async def _live(self) -> None:
        for burst in range(BURSTS):
            await asyncio.sleep(self._seconds / (BURSTS + 1))
            if self.exit is not None:
                return
            for n in range(self._lines * burst // BURSTS, self._lines * (burst + 1) // BURSTS):
                self.folder.output += line_of(self.folder.attempt_id, n)
        await asyncio.sleep(self._seconds / (BURSTS + 1))
        if self.exit is None and self._exit_code == 0:
            self.folder.files["out.txt"] = artifact_of(self.folder.attempt_id)
        self._end(self._exit_code, None)

    def _end(self, exit_code: int | None, signal: int | None) -> None:
        if self.exit is None:
            wall_s = self._host.loop.now - self._began_at
            usage = Usage(wall_s=wall_s, cpu_s=None, max_rss_bytes=None)
            self.exit = Exit(exit_code=exit_code, signal=signal, usage=usage)
            self._on_end()
            self._is_over.set()
