"""Runs a command below a keeper of its own, which outlives this worker if the command may.

The keeper (worker/launcher) is the parent of the whole tree and tells how it ended when nothing of
the tree lives any more; so `wait` and `reap` come to the same.
"""

import asyncio
import os
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

import structlog

from shared.ids import AttemptId
from shared.protocol.pipeline import Limits
from worker.joblog import open_log
from worker.launcher.client import Launcher
from worker.ports import CannotStart, Launch, WorkerAtFault
from worker.runners.kept_process import KeptProcess
from worker.runners.marks import kill_marked

ENDED: Final = ".ended"

log = structlog.get_logger()


class KeptRunner:
    """`Runner` for commands of this machine."""

    def __init__(
        self, folder: Path, kept: Collection[AttemptId] = (), *, outlives: bool = True
    ) -> None:
        """Of what an earlier worker left in `folder`, only `kept` goes on. `outlives`: what is
        started for an attempt goes on when this worker dies."""
        self._folder = folder
        self._kept = frozenset(kept)
        self._outlives = outlives
        self._launcher = Launcher(folder)
        self._null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        self._named: dict[AttemptId, KeptProcess] = {}
        self._looking = asyncio.Lock()
        self._has_looked = False

    def begin(self) -> None:
        """The launcher comes up meanwhile: the first start need not wait for it."""
        self._launcher.begin()

    def close(self) -> None:
        """No more starts. Safe to repeat. What outlives this worker goes on."""
        if self._null >= 0:
            os.close(self._null)
            self._null = -1
        self._launcher.close()

    async def start(self, launch: Launch) -> KeptProcess:
        output = open_log(launch.log, os.O_WRONLY)
        stdin = self._null
        try:
            if launch.stdin:
                stdin = _in_memory(launch.stdin)
            return await self.start_wired(launch, stdin, output, output)
        finally:
            os.close(output)
            if stdin != self._null:
                os.close(stdin)

    async def start_wired(
        self, launch: Launch, stdin: int, stdout: int, stderr: int
    ) -> KeptProcess:
        """The process runs with these three descriptors, which stay the caller's."""
        if not launch.argv:
            raise CannotStart("there is no command")
        await self._look()
        keeper = await self._launcher.borrow()
        if launch.attempt_id is not None:
            self._launcher.forget(launch.attempt_id)
        process = KeptProcess(keeper, launch.attempt_id, self._forget)
        try:
            if not keeper.link.say(
                *_packet(launch, outlives=self._outlives), files=(stdin, stdout, stderr)
            ):
                raise WorkerAtFault("the keeper does not listen")
            await process.started()
        except CannotStart:
            keeper.give_back()
            raise
        except (OSError, ValueError) as error:
            keeper.give_back()
            raise CannotStart(_why(error, launch)) from error
        if launch.attempt_id is not None:
            before = self._named.get(launch.attempt_id)
            if before is not None:
                before.release()
            self._named[launch.attempt_id] = process
        return process

    async def attach(self, attempt_id: AttemptId) -> KeptProcess | None:
        await self._look()
        return self._named.get(attempt_id)

    def permit(self, until: Mapping[AttemptId, float]) -> None:
        for attempt_id, at in until.items():
            process = self._named.get(attempt_id)
            if process is not None:
                process.permit(at)

    # -- what an earlier worker started --------------------------------------------------------

    async def _look(self) -> None:
        """What outlived an earlier worker is known by its attempts, or was ended. Asked once."""
        async with self._looking:
            if self._has_looked:
                return
            for keeper in await self._launcher.found():
                process = KeptProcess(keeper, None, self._forget)
                try:
                    await process.started()
                except (OSError, ValueError, WorkerAtFault):
                    keeper.give_back()  # it has no job, or has ended
                    continue
                if process.attempt_id:
                    self._named[process.attempt_id] = process
                else:
                    await process.reap()
            self._read_endings()
            # Their keepers may live, and cannot be found: their launcher was killed.
            if unseen := self._kept - self._named.keys():
                kill_marked(unseen)
            for name in [name for name in self._named if name not in self._kept]:
                process = self._named[name]
                if not process.has_ended:
                    log.warning("runner.leftover_ended", attempt_id=name, pid=process.pid)
                await process.reap()
                process.release()
            self._has_looked = True

    def _read_endings(self) -> None:
        """Those that ended while no worker was there."""
        for path in sorted(self._folder.glob(f"*{ENDED}")):
            attempt_id = AttemptId(path.stem)
            process = KeptProcess(None, attempt_id, self._forget)
            try:
                pid, _, *ended = path.read_bytes().split(b"\0")
                process.pid = int(pid)
                process.end(ended)
            except (OSError, ValueError) as error:  # a loss of power, or a job, has emptied it
                log.error("runner.ending_unreadable", file=str(path), error=str(error))
                with suppress(OSError):
                    path.unlink()
                continue
            self._named[attempt_id] = process

    def _forget(self, process: KeptProcess) -> None:
        attempt_id = process.attempt_id
        if attempt_id is not None and self._named.get(attempt_id) is process:
            del self._named[attempt_id]
            if process.was_left:
                (self._folder / f"{attempt_id}{ENDED}").unlink(missing_ok=True)


def _packet(launch: Launch, *, outlives: bool) -> list[bytes]:
    """The launch in words. ValueError: one of them has a NUL, which ends it for the kernel."""
    words = [
        (launch.attempt_id if outlives else None) or "",
        str(launch.cwd),
        "" if launch.scratch is None else str(launch.scratch),
        "" if launch.limits is None else _written(launch.limits),
        f"{launch.until:f}",
        str(len(launch.argv)),
        *launch.argv,
        *(f"{name}={value}" for name, value in launch.env.items()),
    ]
    packet = [os.fsencode(word) for word in words]
    if any(b"\0" in word for word in packet):
        raise ValueError("embedded null byte")
    return [b"start", *packet]


def _written(limits: Limits) -> str:
    given = limits.model_dump(exclude_none=True)
    return ",".join(f"{name}={value!r}" for name, value in given.items())


def _in_memory(data: bytes) -> int:
    """A file without a name, to be read from its beginning."""
    fd = os.memfd_create("stdin", os.MFD_CLOEXEC)
    with open(fd, "wb", closefd=False) as file:
        file.write(data)
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


def _why(error: OSError | ValueError, launch: Launch) -> str:
    command = launch.argv[0]
    if isinstance(error, ValueError):
        return f"cannot start {command!r}: {error}"
    if not os.path.isdir(launch.cwd):
        return f"the working directory {str(launch.cwd)!r} does not exist"
    if isinstance(error, FileNotFoundError):
        return f"no such command: {command!r}"
    return f"cannot start {command!r}: {error.strerror}"
