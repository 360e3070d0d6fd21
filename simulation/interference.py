"""The faults of faults/, in a simulated process: at every hop, in the store, in files.

What ends or stops a real process ends or stops the simulated one.
"""

import asyncio
from typing import Any, Final, NoReturn, TypeVar

from faults.files import FaultyFiles
from faults.hops import Side, around
from faults.injector import Injector
from faults.plan import PointFault, PointPlan
from faults.points import Action
from shared.files import Files
from shared.runtime import Runtime
from simulation.history import History
from simulation.process import Process

Part = TypeVar("Part")
OF_THE_DISK: Final = frozenset(
    {Action.DISK_FULL, Action.FSYNC_ERROR, Action.EIO_READ, Action.EIO_WRITE}
)


class SimInjector(Injector):
    """Decides as in a real process. Its acts are those of the simulated world."""

    def __init__(self, process: Process, runtime: Runtime, history: History) -> None:
        super().__init__(runtime, self._note)
        self.has_hurt_disk = False  # a service that gives up after that does what it should
        self._process = process
        self._history = history

    async def act(self, fault: PointFault) -> None:
        loop = self._process.loop
        match fault.action:
            case Action.KILL:
                self._process.kill()
                await never(loop)
            case Action.PAUSE:
                self._process.paused_until = loop.now + fault.seconds
                self._history.event("pause", process=self._process.label, seconds=fault.seconds)
                await asyncio.sleep(0)
            case _:
                await super().act(fault)

    def strike(self, name: str, facts: Any) -> PointFault | None:
        moments = self._process.loop.moments
        if moments is not None and moments.comes(self._process, name):
            return PointFault.model_construct(at=name, action=Action.KILL)
        fault = super().strike(name, facts)
        if fault is not None and fault.action in OF_THE_DISK:
            self.has_hurt_disk = True
        return fault

    def _note(self, event: dict[str, Any]) -> None:
        self._history.event("injected", point=event["point"], action=event["action"])


class SimInterference:
    """What stands between the parts of one simulated process."""

    def __init__(self, service: str, injector: SimInjector, plan: PointPlan) -> None:
        self._service = service
        self._injector = injector
        injector.put(plan)

    def calls(self, part: Part) -> Part:
        return around(part, self._service, Side.CALLER, self._injector)

    def serves(self, part: Part) -> Part:
        return around(part, self._service, Side.SERVER, self._injector)

    def files(self, files: Files) -> Files:
        return FaultyFiles(files, self._injector)


async def never(loop: asyncio.AbstractEventLoop) -> NoReturn:
    """Nothing after this ever happens."""
    await loop.create_future()
    raise AssertionError("a dead process went on")
