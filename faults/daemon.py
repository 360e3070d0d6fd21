"""All that makes one daemon unreliable on purpose: it stands between the daemon's parts."""

import json
from copy import copy
from pathlib import Path
from typing import Any, Final, TypeVar

import structlog
import yaml
from aiohttp import web
from pydantic import ValidationError

from faults.clock import FaultyRuntime
from faults.control import add_fault_routes
from faults.files import FaultyFiles
from faults.hops import Side, around
from faults.injector import Injector
from faults.plan import PointPlan
from faults.told import told
from shared.errors import Misconfigured
from shared.faultpoints import injector, spoiler
from shared.files import Files
from shared.loops import Loops
from shared.runtime import Runtime
from shared.tokens import Audience, Verifier

Part = TypeVar("Part")
LOOK_EVERY_S: Final = 0.2
PLAN_BYTES: Final = 1024 * 1024

log = structlog.get_logger()


class FaultyDaemon:
    """The faults of one service or worker. Start it before the other parts.

    A plan file is read anew whenever it changes; what cannot be used leaves the old plan in force.
    Every injected fault becomes a JSON line in `events`.
    """

    def __init__(
        self,
        service: str,
        runtime: Runtime,
        *,
        plan: Path | None,
        events: Path | None,
        name: str | None = None,
    ) -> None:
        """`name` is the worker's, if this is one: faults may be for it alone."""
        self._service = service
        self._plan = plan
        self._events = events
        self._outer = runtime
        self._read = b""
        self._injector = Injector(runtime, self._note, {} if name is None else {"name": name})
        self._loops: Loops | None = None
        self.runtime = FaultyRuntime(runtime, service, self._injector)

    async def start(self) -> None:
        """The plan is in force. Misconfigured: it means nothing."""
        injector.set(self._injector)  # tasks that start from here on inherit it
        spoiler.set(self._injector.spoiled)
        if self._plan is not None:
            self._injector.put(plan_of(self._plan))
            self._loops = Loops(self._outer)
            self._loops.every("faults.plan", LOOK_EVERY_S, self._look_once)
            await self._loops.start()
        log.warning("faults.allowed", service=self._service)

    async def stop(self) -> None:
        if self._loops is not None:
            await self._loops.stop()

    def within(self, service: str) -> "FaultyDaemon":
        """The same faults, as another service of this process meets them. One of the two is to be
        started."""
        other = copy(self)
        other._service = service
        other.runtime = FaultyRuntime(self._outer, service, self._injector)
        return other

    # -- what the daemon is put together with ----------------------------------------------------

    def calls(self, part: Part) -> Part:
        """`part`, as this service calls it."""
        return around(part, self._service, Side.CALLER, self._injector)

    def serves(self, part: Part) -> Part:
        """`part`, as others call it here."""
        return around(part, self._service, Side.SERVER, self._injector)

    def files(self, files: Files) -> Files:
        return FaultyFiles(files, self._injector)

    def disk(self, verb: str) -> None:
        self._injector.disk(f"{self._service}.outbox.{verb}")

    def add_routes(self, app: web.Application, verifier: Verifier) -> None:
        add_fault_routes(app, self._injector, verifier, Audience(self._service))

    # -- the plan file ---------------------------------------------------------------------------

    async def _look_once(self) -> None:
        assert self._plan is not None
        try:
            text = await self._outer.offload(self._plan.read_bytes)
            if text != self._read:
                self._read = text
                plan = plan_from(self._plan, text)
                if plan != self._injector.plan:
                    self._injector.put(plan)
        except (OSError, Misconfigured) as error:
            log.warning("faults.plan_unusable", plan=str(self._plan), error=str(error))

    def _note(self, event: dict[str, Any]) -> None:
        if self._events is not None:
            line = {"at": self._outer.now().isoformat(), "service": self._service, **event}
            try:
                with self._events.open("a") as file:
                    file.write(json.dumps(line, default=str) + "\n")
            except OSError as error:
                log.warning("faults.untold", file=str(self._events), error=error.strerror)


def plan_of(path: Path) -> PointPlan:
    """What the file says. Misconfigured: it cannot be read, or where it is wrong, and how."""
    try:
        return plan_from(path, path.read_bytes())
    except OSError as error:
        raise Misconfigured(f"{path}: {error.strerror}") from None


def plan_from(path: Path, text: bytes) -> PointPlan:
    """What a plan file says. Misconfigured: where it is wrong, and how."""
    if len(text) > PLAN_BYTES:
        raise Misconfigured(f"{path}: a plan of faults has at most {PLAN_BYTES} bytes")
    try:
        return PointPlan.model_validate(yaml.safe_load(text) or {})
    except yaml.YAMLError as error:
        raise Misconfigured(f"{path}: {error}") from None
    except ValidationError as error:
        raise Misconfigured(f"{path}: {told(error)}") from None
