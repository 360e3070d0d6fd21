"""Runs a long-running part as a component: recorded, prepared, executed, heard of, completed.

The same code runs a part beside the job service's own objects and one that reaches them through
the API: it is handed a `Components`, and cannot tell which. What a part does never waits for its
record: while that cannot be written, the part works, and the record is made later.
"""

import asyncio
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import structlog

from shared.daemon import Fallible, Part
from shared.errors import ServiceError, StaleFence, Unauthenticated, UnknownComponent
from shared.loops import Loops
from shared.protocol import components as c
from shared.runtime import Runtime
from shared.services import Components

log = structlog.get_logger()

BEAT_S: Final = 5.0
FIRST_S: Final = 1.0  # for the first try to make the record, and between further ones
CALL_S: Final = 5.0
GOODBYE_S: Final = 2.0


class ComponentRunner:
    """A part with a record. It fails when the part does, or, unless told otherwise, when another
    has its place."""

    def __init__(
        self,
        part: Part,
        components: Components,
        runtime: Runtime,
        *,
        kind: str,
        name: str,
        heard: Callable[[ServiceError | None], None] | None = None,
    ) -> None:
        """`heard` is called after each beat: with None, or with why it was refused for good."""
        self._part = part
        self._components = components
        self._runtime = runtime
        self._kind = kind
        self._name = name
        self._heard = heard or self._fail
        self._component_id = runtime.new_id()
        self._fence: int | None = None
        self._is_hindered = False
        self._is_replaced = False
        self._loops = Loops(runtime)
        self._loops.add(f"{kind}.component", self._beat)
        self.failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        for inner in (part, self._loops):
            if isinstance(inner, Fallible):
                inner.failure.add_done_callback(self._follow)

    async def start(self) -> None:
        """The part executes, and whoever looks sees that it does."""
        await self.beat_once(FIRST_S)
        await self._part.start()
        await self._loops.start()

    async def accompany(self) -> None:
        """The part executes already. If it goes on for a second, it is recorded."""
        await self._loops.start()

    async def stop(self) -> None:
        """The part has stopped, and the record says so, if anybody takes it in time."""
        await self._loops.stop()
        await self._part.stop()
        fence, self._fence = self._fence, None
        if fence is not None:
            with suppress(ServiceError, TimeoutError):
                async with asyncio.timeout(GOODBYE_S):
                    await self._components.complete_component(
                        c.CompleteComponent(component_id=self._component_id, fence=fence)
                    )

    async def beat_once(self, within_s: float = CALL_S) -> None:
        """The component was heard of: for the first time, or again. Not once it was replaced."""
        if self._is_replaced:
            return
        try:
            async with asyncio.timeout(within_s):
                await self._tell()
        except UnknownComponent:  # the database was replaced, or this speaks in another's name now
            self._component_id, self._fence = self._runtime.new_id(), None
        except StaleFence as error:
            self._is_replaced = True
            log.error("component.replaced", kind=self._kind, name=self._name, error=str(error))
            self._heard(error)
        except (ServiceError, TimeoutError) as error:
            self._note_hindrance(error)
        else:
            self._is_hindered = False
            self._heard(None)

    # -- details -------------------------------------------------------------------------------

    async def _beat(self) -> None:
        while not self._is_replaced:
            await self._runtime.sleep(FIRST_S if self._fence is None else BEAT_S)
            await self.beat_once()

    async def _tell(self) -> None:
        if self._fence is not None:
            await self._components.beat_component(
                c.ComponentBeat(component_id=self._component_id, fence=self._fence)
            )
            return
        await self._components.create_component(
            c.CreateComponent(
                component_id=self._component_id,
                kind=self._kind,
                name=self._name,
                host=socket.gethostname(),
                pid=os.getpid(),
                interval_s=BEAT_S,
            )
        )
        prepared = await self._components.prepare_component(
            c.PrepareComponent(component_id=self._component_id)
        )
        self._fence = prepared.fence

    def _note_hindrance(self, error: Exception) -> None:
        """Once for each outage. A worker has no token before it is enrolled: that is none."""
        if not self._is_hindered and not isinstance(error, Unauthenticated):
            self._is_hindered = True
            log.warning("component.unheard", kind=self._kind, name=self._name, error=repr(error))

    def _fail(self, refusal: ServiceError | None) -> None:
        if refusal is not None and not self.failure.done():
            self.failure.set_exception(refusal)
            self.failure.exception()  # retrieved: watching it is optional

    def _follow(self, ended: "asyncio.Future[None]") -> None:
        if not ended.cancelled() and (error := ended.exception()) and not self.failure.done():
            self.failure.set_exception(error)
            self.failure.exception()  # likewise


class Running:
    """A part that somebody else starts and stops: only its record is kept here."""

    def __init__(self, part: Fallible) -> None:
        self._part = part

    @property
    def failure(self) -> "asyncio.Future[None]":
        return self._part.failure

    async def start(self) -> None: ...

    async def stop(self) -> None: ...
