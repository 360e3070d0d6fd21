"""A container engine, spoken to over the Docker API: one verb each, every one with a deadline.

aiodocker is loaded here and nowhere else, and this module only when a container is wanted.
Containers are known by the names that we gave them, so that one whose making was not confirmed can
be removed all the same.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import aiohttp
from aiodocker import Docker, DockerError
from aiodocker.stream import Stream

SHORT_S: Final = 30.0  # a question about what the engine knows
LONG_S: Final = 120.0  # making, starting, removing: a busy disk takes its time
STALLED_S: Final = 300.0  # a pull without any news for so long is given up
UNREACHABLE: Final = 900  # what aiodocker calls a refused connection
STDOUT, STDERR = 1, 2
MISSING: Final = 404
NOT_RUNNING: Final = 409
MOST_MESSAGE: Final = 1_000


class EngineAway(Exception):
    """The engine cannot be reached, or does not answer in time."""


class Refused(Exception):
    """The engine answered, and said no."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class State:
    """What the engine says of a container."""

    is_running: bool
    exit_code: int
    was_out_of_memory: bool


class Engine:
    """One engine. Nothing is connected before the first call."""

    def __init__(self, address: str) -> None:
        self.address = address
        # Each container holds a connection or two for its whole life: no limit to how many.
        scheme, _, path = address.partition("://")
        self._connector = aiohttp.UnixConnector(path, limit=0) if scheme == "unix" else None
        self._url = address if self._connector is None else "unix://localhost"
        self._docker = Docker(self._url, connector=self._connector)

    async def close(self) -> None:
        await self._docker.close()
        if self._connector is not None:
            await self._connector.close()

    # -- images --------------------------------------------------------------------------------

    async def image_env(self, image: str) -> dict[str, str] | None:
        """The image's own variables; None: the engine does not have it."""
        try:
            async with _asking(SHORT_S):
                found = await self._docker.images.inspect(image)
        except Refused as error:
            if error.status == MISSING:
                return None
            raise
        pairs = (found.get("Config") or {}).get("Env") or ()
        return dict(pair.split("=", 1) for pair in pairs if "=" in pair)

    async def pull(
        self, image: str, auth: Mapping[str, str] | None
    ) -> AsyncGenerator[dict[str, Any], None]:
        """News of the pull, until it is over. Refused: the engine could not."""
        async with self._streaming() as docker:
            news = docker.images.pull(image, auth=auth, stream=True, timeout=None)
            while True:
                try:
                    async with _asking(STALLED_S):
                        item = await anext(news)
                except StopAsyncIteration:
                    return
                yield item

    async def is_rootless(self) -> bool:
        """Whether root in a container is somebody else on the engine's machine."""
        async with _asking(SHORT_S):
            info = await self._docker.system.info()
        return any("rootless" in option for option in info.get("SecurityOptions") or ())

    # -- containers ----------------------------------------------------------------------------

    async def create(self, name: str, config: Mapping[str, Any]) -> None:
        async with _asking(LONG_S):
            await self._docker.containers.create(config, name=name)

    async def attach(self, name: str, *, stdin: bool, again: bool) -> Stream:
        """The container's streams are connected; `again`: all that it wrote before comes first."""
        async with _asking(LONG_S):
            stream = self._docker.containers.container(name).attach(
                stdin=stdin, stdout=True, stderr=True, logs=again
            )
            return await stream.__aenter__()

    async def start(self, name: str) -> None:
        async with _asking(LONG_S):
            await self._docker.containers.container(name).start()

    async def kill(self, name: str, signal: str) -> None:
        """The signal was sent, or there is nothing any more that it could be sent to."""
        try:
            async with _asking(SHORT_S):
                await self._docker.containers.container(name).kill(signal=signal)
        except Refused as error:
            if error.status not in (MISSING, NOT_RUNNING):
                raise

    async def wait(self, name: str, timeout_s: float) -> bool:
        """Whether it ended within `timeout_s`."""
        waiting = asyncio.timeout(timeout_s)
        try:
            async with _asking(None), waiting:
                await self._docker.containers.container(name).wait(timeout=None)
        except EngineAway:
            if waiting.expired():
                return False
            raise
        return True

    async def show(self, name: str) -> State:
        """Refused as MISSING: there is no such container."""
        async with _asking(SHORT_S):
            found = await self._docker.containers.container(name).show()
            state = found["State"]
            return State(
                is_running=bool(state["Running"]),
                exit_code=int(state["ExitCode"]),
                was_out_of_memory=bool(state.get("OOMKilled")),
            )

    async def output(self, name: str, number: int) -> AsyncGenerator[bytes, None]:
        """All that an ended container wrote on stream `number`, as far as it was text."""
        async with self._streaming() as docker:
            pieces = docker.containers.container(name).log(
                stdout=number == STDOUT, stderr=number == STDERR, follow=True
            )
            while True:
                try:
                    async with _asking(SHORT_S):
                        piece = await anext(pieces)
                except StopAsyncIteration:
                    return
                yield piece.encode()

    async def remove(self, name: str) -> None:
        """The container is gone, and whatever ran in it. Safe to repeat."""
        try:
            async with _asking(LONG_S):
                await self._docker.containers.container(name).delete(force=True, v=True)
        except Refused as error:
            if error.status != MISSING:
                raise

    async def names(self, labels: Mapping[str, str]) -> list[str]:
        """Every container, running or not, that bears all these labels."""
        wanted = {"label": [f"{label}={value}" for label, value in labels.items()]}
        async with _asking(SHORT_S):
            found = await self._docker.containers.list(all=True, filters=json.dumps(wanted))
            return sorted(str(one["Names"][0]).lstrip("/") for one in found)

    @asynccontextmanager
    async def _streaming(self) -> AsyncIterator[Docker]:
        """The same engine, for an answer that comes in pieces and may be given up half-way.

        aiodocker leaves such an answer open, and its connection with it.
        """
        answers: list[aiohttp.ClientResponse] = []

        async def note(_: object, __: object, end: aiohttp.TraceRequestEndParams) -> None:
            answers.append(end.response)

        trace = aiohttp.TraceConfig()
        trace.on_request_end.append(note)
        session = aiohttp.ClientSession(
            connector=self._docker.connector, connector_owner=False, trace_configs=[trace]
        )
        try:
            async with session:
                yield Docker(self._url, connector=self._docker.connector, session=session)
        finally:
            for answer in answers:
                answer.close()


@asynccontextmanager
async def _asking(deadline_s: float | None) -> AsyncIterator[None]:
    """What goes wrong is EngineAway or Refused."""
    try:
        async with asyncio.timeout(deadline_s):
            yield
    except TimeoutError as error:
        raise EngineAway("it does not answer in time") from error
    except DockerError as error:
        if error.status == UNREACHABLE:
            raise EngineAway(_short(error.message)) from error
        raise Refused(error.status, _short(error.message)) from error
    except (aiohttp.ClientError, OSError) as error:
        raise EngineAway(_short(str(error) or type(error).__name__)) from error
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise Refused(0, "what answers there is no container engine") from error


def _short(message: str) -> str:
    return " ".join(message.split())[:MOST_MESSAGE]
