"""One worker's containers on one engine: made, started, removed."""

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Final

import structlog
from aiodocker.stream import Stream

from shared.runtime import Runtime
from worker.environment import filled
from worker.joblog import open_log
from worker.ports import CannotStart, ContainerLaunch, Launch
from worker.runners.containers.config import Abilities, container_config
from worker.runners.containers.engine import Engine, EngineAway, Refused
from worker.runners.containers.images import Images
from worker.runners.containers.notes import Notes
from worker.runners.containers.streams import Streams

NO_COMMAND: Final = ("executable file not found", "no such file or directory")
# What engines take when neither image nor job names one.
USUAL_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

log = structlog.get_logger()


class Maker:
    """Makes containers, on an engine that may not be able to do everything.

    As long as something is left over that could not be removed, nothing new is started: it may
    run on, and the job's next attempt must not meet it.
    """

    def __init__(
        self,
        engine: Engine,
        notes: Notes,
        labels: Mapping[str, str],
        environ: Mapping[str, str],
        runtime: Runtime,
    ) -> None:
        self.engine = engine
        self._notes = notes
        self._labels = labels  # of all of this worker's containers
        self._is_swept = False
        self._images = Images(engine, environ, runtime)
        self._abilities = Abilities()
        self._user: str | None = None
        self._is_acquainted = False

    async def have_image(self, launch: Launch, container: ContainerLaunch) -> Launch:
        """The image is here, and the launch has its variables. CannotStart, EngineAway."""
        await self._get_acquainted()

        def say(line: str) -> None:
            _append(launch, f"[drawbar] {line}")

        known = await self._images.have(container.image, container.spec.pull, say)
        known = {"PATH": USUAL_PATH, **known}
        env = {name: filled(value, known, f"variable {name}") for name, value in launch.env.items()}
        return replace(launch, env=env)

    async def make(
        self, name: str, launch: Launch, container: ContainerLaunch, streams: Streams
    ) -> Stream:
        """The container runs, connected to us. CannotStart, EngineAway.

        It is there in any case when its end is asked for: `remove` has to follow.
        """
        if container.spec.user is None and self._user is not None:
            spec = container.spec.model_copy(update={"user": self._user})
            container = replace(container, spec=spec)
        try:
            self._notes.add(name)
            if launch.scratch is not None:
                # Whoever the job is in there: nobody else gets past the folder above it.
                os.chmod(launch.scratch, 0o777)
                os.chmod(launch.cwd, 0o777)
        except OSError as error:
            raise CannotStart(f"cannot prepare a container: {error.strerror}") from error
        while True:
            config = container_config(
                launch, container, self._labels, self._abilities, has_stdin=streams.has_stdin
            )
            stream: Stream | None = None
            try:
                await self.engine.create(name, config)
                stream = await self.engine.attach(name, stdin=streams.has_stdin, again=False)
                await self.engine.start(name)
            except (Refused, EngineAway) as error:
                if stream is not None:
                    await stream.close()
                less = self._abilities.without(str(error))
                if less is None or isinstance(error, EngineAway):
                    raise self._explained(error, launch, container) from error
                log.info("container.engine_lacks", error=str(error))
                self._abilities = less
                await self.engine.remove(name)
            else:
                return stream

    async def remove(self, name: str) -> None:
        """The container is gone, or noted as left over."""
        try:
            await self.engine.remove(name)
        except (EngineAway, Refused) as error:
            log.warning("container.left_over", container=name, error=str(error))
            self._notes.leave(name)
        else:
            self._notes.drop(name)

    async def sweep(self) -> None:
        """Nothing is left over of what this worker made, now or in an earlier incarnation.

        CannotStart: something may be, and may still run.
        """
        try:
            left = self._notes.left()
            if not self._is_swept:
                # Also what was never noted: a disk may lose a note with the machine's power.
                found = await self.engine.names(self._labels)
                left |= {name for name in found if not self._notes.is_in_hand(name)}
            for name in sorted(left):
                await self.engine.remove(name)
                self._notes.drop(name)
                log.warning("container.orphan_removed", container=name)
            self._is_swept = True
        except EngineAway as error:
            raise self.unreachable(error) from error
        except Refused as error:
            raise CannotStart(f"the container engine at {self.engine.address}: {error}") from error

    def unreachable(self, error: EngineAway) -> CannotStart:
        return CannotStart(
            f"the container engine at {self.engine.address} cannot be used: {error}; is it "
            "running? --docker names another, --images ignore runs such jobs without one"
        )

    async def _get_acquainted(self) -> None:
        """Nothing of an earlier incarnation runs, and we know whom containers run as."""
        await self.sweep()
        if not self._is_acquainted and os.geteuid() != 0:
            # Else what a job leaves in its folder is root's, and cannot be removed by us. An engine
            # without root maps the root of its containers to its own user.
            is_rootless = await self.engine.is_rootless()
            self._user = None if is_rootless else f"{os.geteuid()}:{os.getegid()}"
        self._is_acquainted = True

    def _explained(
        self, error: Refused | EngineAway, launch: Launch, container: ContainerLaunch
    ) -> CannotStart | EngineAway:
        if isinstance(error, EngineAway):
            return error
        said, image = str(error), container.image
        command = launch.argv[0] if launch.argv else ""
        if any(phrase in said.lower() for phrase in NO_COMMAND) and command in said:
            return no_command(launch, image)
        return CannotStart(f"the container of image {image!r} cannot be started: {said}")


def no_command(launch: Launch, image: str) -> CannotStart:
    """The image has not got what the job wants to run."""
    command = launch.argv[0]
    hint = (
        "" if launch.task is None else "; tasks in Python need Python 3.11 or newer in their image"
    )
    return CannotStart(f"no such command in image {image!r}: {command!r}{hint}")


def _append(launch: Launch, line: str) -> None:
    """A line of our own in the job's log, in front of what the job itself writes."""
    log_file = open_log(launch.log, os.O_WRONLY)
    try:
        with suppress(OSError):  # the disk is full: the job will find out by itself
            os.write(log_file, f"{line}\n".encode("utf-8", "replace"))
    finally:
        os.close(log_file)
