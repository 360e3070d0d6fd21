"""Conditions that have to be looked at again and again: files, and what servers answer.

Whoever waits for the same shares one look. Looks are taken beside the triggerer's loop, and
their results fetched by it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import structlog
from pydantic import JsonValue

from jobstore.triggers import files
from jobstore.triggers.kinds import File, Http
from jobstore.triggers.lanes import Lanes
from jobstore.triggers.ports import MayNot, NotYet, Outside, Web
from shared.deadlines import Deadlines
from shared.errors import ServiceError
from shared.protocol.execution import Connection
from shared.runtime import Runtime

log = structlog.get_logger()

JITTER: Final = 0.05  # so that those who began together do not go on together
FILES_AT_ONCE: Final = 2_000


@dataclass(slots=True)
class _Look:
    wanted: File | Http
    who: set[int] = field(default_factory=set)
    said: str | None = None  # the last time


class Looks:
    """What is looked at, for whom, and what was seen."""

    def __init__(
        self,
        outside: Outside,
        connection: Callable[[str], Awaitable[Connection]],
        runtime: Runtime,
    ) -> None:
        self._outside = outside
        self._connection = connection
        self._runtime = runtime
        self._looks: dict[str, _Look] = {}
        self._due: Deadlines[str] = Deadlines()
        self._lanes = Lanes()
        self._met: list[tuple[str, JsonValue]] = []
        self._forbidden: list[tuple[str, str]] = []
        self._web: Web | None = None
        self._files: list[str] = []  # whose turn it is
        self._is_at_files = False

    def add(self, wanted: File | Http, seq: int) -> str:
        """The key of what is looked at for `seq` from now on."""
        key = wanted.model_dump_json()
        look = self._looks.get(key)
        if look is None:
            look = self._looks[key] = _Look(wanted)
            self._due.arm(key, self._runtime.mono())
        look.who.add(seq)
        return key

    def remove(self, key: str, seq: int) -> None:
        """It is not looked at for `seq` any more."""
        look = self._looks.get(key)
        if look is not None:
            look.who.discard(seq)
            if not look.who:
                del self._looks[key]
                self._due.disarm(key)

    def who(self, key: str) -> Sequence[int]:
        look = self._looks.get(key)
        return [] if look is None else list(look.who)

    def said(self) -> Iterator[tuple[str, str]]:
        """What was seen the last time, by key."""
        return ((key, look.said) for key, look in self._looks.items() if look.said is not None)

    def take_met(self) -> list[tuple[str, JsonValue]]:
        met, self._met = self._met, []
        return met

    def take_forbidden(self) -> list[tuple[str, str]]:
        forbidden, self._forbidden = self._forbidden, []
        return forbidden

    def go_on(self, group: asyncio.TaskGroup) -> None:
        """Whatever is due is being looked at, or waits for its turn."""
        for key in self._due.take_due(self._runtime.mono()):
            look = self._looks[key]
            if isinstance(look.wanted, File):
                self._files.append(key)
            elif self._open_web() is None:
                self._forbidden.append((key, "this job service asks no servers"))
            else:
                self._lanes.wait(self._open_web_lane(look.wanted), key)
        if self._files and not self._is_at_files:
            self._is_at_files = True
            group.create_task(self._look_at_files(), name="triggers: files")
        while (turn := self._lanes.take()) is not None:
            group.create_task(self._ask(group, *turn), name="triggers: web")

    async def close(self) -> None:
        if self._web is not None:
            await self._web.close()
            self._web = None

    # -- details -------------------------------------------------------------------------------

    async def _look_at_files(self) -> None:
        """One visit to the file system for all whose turn it is."""
        some, self._files = self._files[:FILES_AT_ONCE], self._files[FILES_AT_ONCE:]
        wanted = [
            (key, look.wanted)
            for key in some
            if (look := self._looks.get(key)) is not None and isinstance(look.wanted, File)
        ]
        try:
            seen = await self._runtime.offload(
                files.look_at, wanted, self._outside.folders, self._runtime.now()
            )
        finally:
            self._is_at_files = False
        for key, what in seen.items():
            self._note(key, what)

    async def _ask(self, group: asyncio.TaskGroup, lane: str, key: str) -> None:
        """One question to one server, and then the next in its lane."""
        look = self._looks.get(key)
        web = self._web
        try:
            if look is not None and isinstance(look.wanted, Http) and web is not None:
                self._note(key, await self._answer(web, look.wanted))
        finally:
            self._lanes.done(lane)
        self.go_on(group)

    async def _answer(self, web: Web, wanted: Http) -> JsonValue | NotYet | MayNot:
        try:
            login = None
            if wanted.connection is not None:
                login = await self._connection(wanted.connection)
            async with asyncio.timeout(wanted.patience_s):
                return await web.look(wanted, login)
        except (NotYet, MayNot) as seen:
            return seen
        except TimeoutError:
            return NotYet(f"no answer within {wanted.patience_s:g} s")
        except ServiceError as error:  # of the connection: it may be set later
            return NotYet(error.message)
        except Exception as error:  # one look that breaks must not stop all others
            log.error("trigger.look_crashed", kind=wanted.kind, exc_info=error)
            return NotYet("the look broke off: the job service's log has more")

    def _note(self, key: str, seen: JsonValue | NotYet | MayNot) -> None:
        look = self._looks.get(key)
        if look is None:
            return  # nobody waits for it any more
        if isinstance(seen, MayNot):
            self._forbidden.append((key, str(seen)))
            return
        if not isinstance(seen, NotYet):
            self._met.append((key, seen))
            return
        said = str(seen)[:300]
        if said != look.said:
            log.info("trigger.not_yet", kind=look.wanted.kind, said=said, waiting=len(look.who))
        look.said = said
        wait_s = look.wanted.every_s * self._runtime.random.uniform(1 - JITTER, 1 + JITTER)
        self._due.arm(key, self._runtime.mono() + wait_s)

    def _open_web(self) -> Web | None:
        if self._web is None and self._outside.new_web is not None:
            self._web = self._outside.new_web()
        return self._web

    def _open_web_lane(self, wanted: Http) -> str:
        assert self._web is not None, "it was opened a moment ago"
        return self._web.lane(wanted)
