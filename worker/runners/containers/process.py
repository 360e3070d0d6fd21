"""One container, from the pull of its image to its removal.

Its whole life is one task, which whoever waits looks at: a pull can be stopped as the job itself
can be. Whatever happens on the way, the container is removed, or noted as left over.
"""

import asyncio
import re
import signal
from typing import Final

import structlog
from aiodocker.stream import Stream

from shared.protocol.gateway import Usage
from shared.runtime import Runtime
from worker.backoff import Backoff
from worker.ports import Breach, CannotStart, ContainerLaunch, Exit, Launch
from worker.runners.containers.engine import MISSING, EngineAway, Refused, State
from worker.runners.containers.making import Maker, no_command
from worker.runners.containers.notes import name_of
from worker.runners.containers.streams import Streams

AWAY_S: Final = 60.0  # an engine that is restarted is back within that time
DRAIN_S: Final = 5.0  # for the end of a killed job's output, which nobody may be reading
FIRST_LOOK_S: Final = 2.0  # between the end of the streams and that of the container
LONGEST_LOOK_S: Final = 60.0
# catatonit's words and tini's, when what they are to start is not there.
INIT_FAILED: Final = re.compile(rb"(?:ERROR \(catatonit:\d+\)|\[FATAL +tini \(\d+\)\]).*exec")
MIB: Final = 1 << 20
BY_SIGNAL: Final = 128  # added to a signal's number, where an exit code is all there is

log = structlog.get_logger()


class Lost(Exception):
    """Nobody will ever know how the container's command ended; the message says why."""


class ContainerProcess:
    """A container that is being made, runs, or has ended."""

    pid = 0  # it has one on the engine's machine, which need not be this one

    def __init__(
        self,
        launch: Launch,
        container: ContainerLaunch,
        maker: Maker,
        streams: Streams,
        runtime: Runtime,
    ) -> None:
        self._launch = launch
        self._container = container
        self._maker = maker
        self._engine = maker.engine
        self._streams = streams
        self._runtime = runtime
        self._name = name_of(launch.attempt_id)
        self._began = runtime.mono()
        self._wanted: list[signal.Signals] = []  # sent, or to be sent, in this order
        self._is_wanted = asyncio.Event()
        self._is_killed = asyncio.Event()
        self._life = asyncio.get_running_loop().create_task(self._live(), name="container")
        self._life.add_done_callback(_retrieve)

    async def wait(self) -> Exit:
        """CannotStart: it never ran."""
        return await asyncio.shield(self._life)

    def terminate(self) -> None:
        self._want(signal.SIGTERM)

    def kill(self) -> None:
        self._want(signal.SIGKILL)
        self._is_killed.set()

    async def reap(self) -> None:
        self.kill()
        await asyncio.wait([self._life])

    def release(self) -> None:
        """Nothing is kept of it in any case."""

    def _want(self, number: signal.Signals) -> None:
        if number not in self._wanted and not self._life.done():
            self._wanted.append(number)
            self._is_wanted.set()

    # -- its life ------------------------------------------------------------------------------

    async def _live(self) -> Exit:
        try:
            if not await self._have_image():
                return self._end(exit_code=None, by=self._wanted[-1])
            try:
                stream = await self._maker.make(
                    self._name, self._launch, self._container, self._streams
                )
                return await self._go_on(stream)
            finally:
                await self._maker.remove(self._name)
        except EngineAway as error:
            raise CannotStart(self._maker.unreachable(error)) from error
        finally:
            self._streams.close()

    async def _have_image(self) -> bool:
        """Whether the image is here; else somebody wanted this to end. CannotStart, EngineAway."""
        loop = asyncio.get_running_loop()
        pulling = loop.create_task(
            self._maker.have_image(self._launch, self._container), name="image"
        )
        ending = loop.create_task(self._is_wanted.wait(), name="stop")
        try:
            await asyncio.wait([pulling, ending], return_when=asyncio.FIRST_COMPLETED)
            if not pulling.done():
                return False
            self._launch = pulling.result()
        finally:
            for task in (pulling, ending):
                task.cancel()
            await asyncio.wait([pulling, ending])
        return True

    async def _go_on(self, stream: Stream) -> Exit:
        """It runs; how it ended."""
        async with asyncio.TaskGroup() as group:
            beside = [
                group.create_task(self._send_signals(), name="container signals"),
                group.create_task(self._streams.feed(stream), name="container input"),
            ]
            try:
                state = await self._until_ended(stream)
            except Lost as lost:
                return self._end(exit_code=None, by=None, lost=str(lost))
            finally:
                for task in beside:
                    task.cancel()
        return self._judge(state)

    async def _until_ended(self, stream: Stream) -> State:
        """Its end, with all its output passed on. Lost: that cannot be known."""
        look_s = FIRST_LOOK_S
        is_again = False
        while True:
            try:
                await self._pass_on(stream, is_again)
            finally:
                await stream.close()
            state, was_away = await self._ask_state(look_s)
            if not state.is_running:
                if was_away and not self._streams.has_stdin:
                    await self._catch_up()
                return state
            if self._streams.has_stdin:
                raise Lost("the connection to the container engine broke while the task ran")
            # The engine was restarted, or the job has closed its outputs and goes on.
            look_s = min(2 * look_s, LONGEST_LOOK_S)
            try:
                stream = await self._engine.attach(self._name, stdin=False, again=True)
            except (EngineAway, Refused):
                continue
            is_again = True

    async def _pass_on(self, stream: Stream, is_again: bool) -> None:
        """All output was passed on; of a job that was killed, what somebody takes in time."""
        loop = asyncio.get_running_loop()
        passing = loop.create_task(self._streams.pass_on(stream, again=is_again), name="output")
        killed = loop.create_task(self._is_killed.wait(), name="killed")
        try:
            await asyncio.wait([passing, killed], return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait([passing], timeout=DRAIN_S)
        finally:
            for task in (passing, killed):
                task.cancel()
            await asyncio.wait([passing, killed])

    async def _catch_up(self) -> None:
        try:
            await self._streams.catch_up(self._engine, self._name)
        except (EngineAway, Refused) as error:
            log.warning("container.output_lost", container=self._name, error=str(error))

    async def _ask_state(self, look_s: float) -> tuple[State, bool]:
        """Its state when it ends, or after `look_s`, and whether the engine was away meanwhile.

        Lost: it did not come back.
        """
        backoff = Backoff(self._runtime, cap_s=2.0)
        until = self._runtime.mono() + AWAY_S
        while True:
            try:
                await self._engine.wait(self._name, look_s)
                return await self._engine.show(self._name), backoff.failures > 0
            except Refused as error:
                if error.status == MISSING:
                    raise Lost("its container was removed by somebody else while it ran") from error
                said = f"the container engine at {self._engine.address} failed: {error}"
            except EngineAway as error:
                said = f"the container engine at {self._engine.address} went away: {error}"
            if self._runtime.mono() >= until:
                raise Lost(said)
            await self._runtime.sleep(backoff.next_s())

    async def _send_signals(self) -> None:
        """What is wanted is sent, until the engine has taken it."""
        backoff = Backoff(self._runtime, cap_s=2.0)
        sent = 0
        while True:
            await self._is_wanted.wait()
            self._is_wanted.clear()
            while sent < len(self._wanted):
                try:
                    await self._engine.kill(self._name, self._wanted[sent].name)
                except (EngineAway, Refused) as error:
                    log.warning("container.not_signalled", container=self._name, error=str(error))
                    await self._runtime.sleep(backoff.next_s())
                else:
                    sent += 1

    # -- its end -------------------------------------------------------------------------------

    def _judge(self, state: State) -> Exit:
        """An engine tells of a signal as a shell does; it is one if we have sent it."""
        code = state.exit_code
        if code and INIT_FAILED.match(self._streams.complaint):
            raise no_command(self._launch, self._container.image)
        memory = self._launch.limits and self._launch.limits.memory_bytes
        for number in self._wanted:
            if code == BY_SIGNAL + number:
                return self._end(exit_code=None, by=number)
        # Not every engine tells, and nobody else sends SIGKILL to a job that has a limit.
        is_killed = code == BY_SIGNAL + signal.SIGKILL
        if state.was_out_of_memory or (memory and is_killed):
            said = "out of memory" if state.was_out_of_memory else "killed, as if out of memory"
            limit = f"limit {memory / MIB:g} MiB" if memory else "without a limit of its own"
            breach = Breach("oom", f"{said} in its container: {limit}")
            return self._end(exit_code=None, by=signal.SIGKILL, breach=breach)
        return self._end(exit_code=code, by=None)

    def _end(
        self,
        *,
        exit_code: int | None,
        by: signal.Signals | None,
        lost: str = "",
        breach: Breach | None = None,
    ) -> Exit:
        used = Usage(wall_s=self._runtime.mono() - self._began, cpu_s=None, max_rss_bytes=None)
        return Exit(exit_code=exit_code, signal=by, usage=used, lost=lost, breach=breach)


def _retrieve(life: "asyncio.Task[Exit]") -> None:
    """Its failure is told to whoever waits; nobody may."""
    if not life.cancelled():
        life.exception()
