"""`Runner` for what runs in containers.

Light: what speaks to an engine is loaded with the first container that is wanted, or that an
earlier incarnation of this worker left behind.
"""

import asyncio
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import structlog

from shared.ids import AttemptId
from shared.runtime import Runtime
from worker.backoff import Backoff
from worker.joblog import open_log
from worker.ports import CannotStart, Launch
from worker.runners.containers.address import find_engine
from worker.runners.containers.kit import BUNDLE, KIT, prepare_kit
from worker.runners.containers.notes import Notes, name_of
from worker.settings import WorkerSettings

if TYPE_CHECKING:
    from worker.runners.containers.making import Maker
    from worker.runners.containers.process import ContainerProcess

SWEEP_CAP_S: Final = 30.0  # between two looks for an engine that can remove what was left behind
REMOVED_WITHIN_S: Final = 60.0  # as an engine needs to begin anew; later, its jobs wait no more

log = structlog.get_logger()


class ContainerRunner:
    """Starts one container for each launch that asks for one.

    `home` is this worker's own folder; the engine sees it under the same path.
    """

    def __init__(
        self, settings: WorkerSettings, home: Path, environ: Mapping[str, str], runtime: Runtime
    ) -> None:
        self._settings = settings
        self._home = home.resolve()
        self._environ = environ
        self._runtime = runtime
        self._notes = Notes(self._home / "containers")
        self._maker: Maker | None = None
        self._sweeping: asyncio.Task[None] | None = None
        self._laying_out = asyncio.Lock()

    def begin(self) -> None:
        """What an earlier incarnation left behind is being removed."""
        if self._notes.left():
            loop = asyncio.get_running_loop()
            self._sweeping = loop.create_task(self._sweep_until_done(), name="containers")

    async def close(self) -> None:
        """Nobody speaks to an engine any more. Safe to repeat."""
        if self._sweeping is not None:
            self._sweeping.cancel()
            await asyncio.wait([self._sweeping])
            self._sweeping = None
        if self._maker is not None:
            await self._maker.engine.close()
            self._maker = None

    async def start(self, launch: Launch) -> "ContainerProcess":
        """The container is on its way; what hinders it is told by `wait`."""
        output = open_log(launch.log, os.O_WRONLY)
        try:
            return await self.start_wired(launch, None, output, output)
        finally:
            os.close(output)

    async def start_wired(
        self, launch: Launch, stdin: int | None, stdout: int, stderr: int
    ) -> "ContainerProcess":
        """The same with these descriptors, which stay the caller's."""
        from worker.runners.containers.process import ContainerProcess
        from worker.runners.containers.streams import Streams

        assert launch.container is not None, "a launch that asks for none"
        if not launch.argv:
            raise CannotStart("there is no command")
        maker = self._connected()
        try:
            streams = Streams(stdin, stdout, stderr)
        except OSError as error:  # out of descriptors
            raise CannotStart(f"cannot open the container's log: {error.strerror}") from error
        return ContainerProcess(launch, launch.container, maker, streams, self._runtime)

    async def with_task_runner(self, launch: Launch, folder: Path | None) -> Launch:
        """The launch of a task, which finds its runner, and the flow's files, in the container.

        CannotStart: the runner cannot be laid out.
        """
        assert launch.container is not None, "a launch that asks for none"
        try:
            async with self._laying_out:
                kit = await self._runtime.offload(prepare_kit, self._home)
        except OSError as error:
            raise CannotStart(f"cannot lay out the task runner: {error.strerror}") from error
        mounts = [(kit, KIT)] + ([] if folder is None else [(folder, BUNDLE)])
        return replace(launch, container=replace(launch.container, mounts=mounts))

    async def attach(self, attempt_id: AttemptId) -> None:
        """None: a container's streams end with its worker, and its successor removes it. That was
        done, unless no engine can be reached: then the job's next try may meet it."""
        if self._sweeping is not None and name_of(attempt_id) in self._notes.left():
            log.info("container.awaiting_removal", attempt_id=attempt_id)
            await asyncio.wait([self._sweeping], timeout=REMOVED_WITHIN_S)

    def permit(self, until: Mapping[AttemptId, float]) -> None:
        """Nothing to do: see `attach`."""

    def _connected(self) -> "Maker":
        if self._maker is None:
            from worker.runners.containers.config import owned
            from worker.runners.containers.engine import Engine
            from worker.runners.containers.making import Maker

            address = find_engine(self._settings.docker, self._environ)
            if address is None:
                raise CannotStart("there is no container engine on this machine")
            try:
                engine = Engine(address)
            except (ValueError, OSError) as error:  # OSError: the certificates that it names
                raise CannotStart(f"container engine {address!r}: {error}") from error
            labels = owned(self._settings, str(self._home))
            self._maker = Maker(engine, self._notes, labels, self._environ, self._runtime)
        return self._maker

    async def _sweep_until_done(self) -> None:
        backoff = Backoff(self._runtime, cap_s=SWEEP_CAP_S)
        while True:
            try:
                await self._connected().sweep()
            except CannotStart as error:
                if backoff.failures == 0:
                    log.warning("container.orphans_remain", error=str(error))
                await self._runtime.sleep(backoff.next_s())
            else:
                return
