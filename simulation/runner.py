"""A worker's runner: it asks its machine's launcher, and a kill may fall before any answer."""

import asyncio
from collections.abc import Collection, Mapping
from functools import partial

from shared.ids import AttemptId
from simulation.launcher import HOP_S, Make, SimLauncher, SimProcess
from simulation.process import Process
from simulation.script import artifact_of as artifact_of
from simulation.script import line_of as line_of
from worker.ports import CannotStart, Exit, Launch


class SimHandle:
    """`Process`, as one incarnation of the worker holds it."""

    def __init__(self, process: SimProcess, launcher: SimLauncher, host: Process) -> None:
        self.pid = process.pid
        self._process = process
        self._launcher = launcher
        self._host = host

    async def wait(self) -> Exit:
        await self._process.is_over.wait()
        assert self._process.exit is not None
        return self._process.exit

    def terminate(self) -> None:
        self._launcher.hear(self._process.terminate)

    def kill(self) -> None:
        self._launcher.hear(self._process.kill)

    async def reap(self) -> None:
        if self._process.exit is None:
            self.kill()
            await self.wait()

    def release(self) -> None:
        if self._process.exit is not None:
            self._launcher.forget(self._process)


class SimRunner:
    """`Runner` of one incarnation of a worker."""

    def __init__(self, host: Process, launcher: SimLauncher, kept: Collection[AttemptId]) -> None:
        """Of what an earlier worker left, only `kept` goes on."""
        self._host = host
        self._launcher = launcher
        launcher.end_all(but=kept)

    async def start(self, launch: Launch, make: Make | None = None) -> SimHandle:
        assert launch.attempt_id is not None
        answer: asyncio.Future[SimProcess | None] = asyncio.get_running_loop().create_future()
        until = launch.until - self._host.mono_base  # the launcher's clock is the world's
        start = partial(self._launcher.start, launch, until, self._host, answer, make)
        self._launcher.hear(start, HOP_S)
        process = await answer
        if process is None:
            raise CannotStart("no such command: the simulation said so")
        return SimHandle(process, self._launcher, self._host)

    async def attach(self, attempt_id: AttemptId) -> SimHandle | None:
        found = self._launcher.kept.get(attempt_id)
        return None if found is None else SimHandle(found, self._launcher, self._host)

    def permit(self, until: Mapping[AttemptId, float]) -> None:
        for attempt_id, at in until.items():
            process = self._launcher.kept.get(attempt_id)
            if process is not None:
                process.permit(at - self._host.mono_base)
