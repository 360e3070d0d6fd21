"""Machines and the processes that live on them, one incarnation after the other."""

import asyncio
import collections
import contextvars
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from simulation.folders import SyncedFolder
    from simulation.loop import SimulatedLoop
    from simulation.network import Transport

T = TypeVar("T")

DISK_S: Final = (2e-5, 1e-3)
SLOW_DISK_S: Final = (0.02, 0.6)

PROCESS: contextvars.ContextVar["Process"] = contextvars.ContextVar("simulated_process")


class Machine:
    """Where processes of one node live, one after the other. It keeps its clock and its power.

    `has_clock`: all its processes read one monotonic clock, which counts from its start. Else each
    has another one, as if a volume had been mounted by another machine.
    """

    def __init__(self, name: str, *, has_clock: bool = False) -> None:
        self.name = name
        self.incarnations = 0
        self.has_clock = has_clock
        self.mono_base: float | None = None
        self.starts = 1  # of the machine itself
        self.folder: SyncedFolder | None = None
        self.is_powered = True
        self.wall_offset_s = 0.0
        self.wall_drift = 0.0  # seconds that its wall clock gains in one
        self.is_disk_slow = False
        self.at_power_on: list[Callable[[], None]] = []  # what the network has waiting for it

    @property
    def disk_s(self) -> tuple[float, float]:
        """How long one operation of the disk takes, from and to."""
        return SLOW_DISK_S if self.is_disk_slow else DISK_S

    def wall_s(self, now: float) -> float:
        """What its wall clock has counted since the world began."""
        return now * (1 + self.wall_drift) + self.wall_offset_s

    def power_on(self) -> None:
        """The machine is there; those who still talk to its dead processes get a reset."""
        if not self.is_powered:
            self.is_powered = True
            self.starts += 1
            self.mono_base = None
        waiting, self.at_power_on = self.at_power_on, []
        for call in waiting:
            call()


class Process:
    """One incarnation of a node. Of a dead one nothing runs any more: no callback, no `finally`."""

    def __init__(
        self, loop: "SimulatedLoop", machine: Machine, mono_base: float, number: int
    ) -> None:
        """`number`: that many were started before it."""
        self.loop = loop
        self.number = number
        self.machine = machine
        self.name = machine.name
        self.incarnation = machine.incarnations
        self.label = f"{self.name}.{self.incarnation}"
        self.mono_base = mono_base  # monotonic clocks of two processes have nothing in common
        self.is_alive = True
        self.paused_until = 0.0
        self.queue: collections.deque[asyncio.Handle] = collections.deque()
        self.transports: dict[Transport, None] = {}
        self.at_death: list[Callable[[], None]] = []  # what the operating system does for the dead
        self.tasks: list[asyncio.Task[Any]] = []  # also keeps them from being finalised
        self.context = contextvars.copy_context()
        self.context.run(PROCESS.set, self)

    def spawn(self, coro: Coroutine[Any, Any, T], name: str) -> asyncio.Task[T]:
        """`coro` runs in this process."""
        return self.loop.create_task(coro, name=name, context=self.context.copy())

    def kill(self) -> None:
        """kill -9. Queue, timers and tasks stay referenced, so the collector finalises none."""
        if self.is_alive:
            self.is_alive = False
            self.loop.network.process_died(self)
            for call in self.at_death:
                call()
