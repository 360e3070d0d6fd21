"""Decides at every point whether a fault strikes, and does what can be done to any step."""

import asyncio
import errno
import os
import random
import signal
import sqlite3
import subprocess
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import Any, Final, NoReturn

import structlog

from faults.plan import PointFault, PointPlan
from faults.points import POINTS, Action
from shared.errors import from_wire
from shared.faultpoints import Facts
from shared.runtime import Runtime

MAX_STALL_S: Final = 3_600.0
KNOWN_ATTEMPTS: Final = 10_000

log = structlog.get_logger()


class Active:
    """A fault in force, with dice of its own, and how often it was met and struck."""

    def __init__(self, fault: PointFault, dice: random.Random, began: float) -> None:
        self.fault = fault
        self.dice = dice  # what else happens does not change what it does the next time it is met
        self.began = began
        self.met = 0
        self.strikes = 0
        self.since: dict[str, float] = {}  # by point: when it began to last there


class Injector:
    """The faults of one process. `told` hears of every one that was injected."""

    def __init__(
        self,
        runtime: Runtime,
        told: Callable[[dict[str, Any]], None] = lambda event: None,
        about: Facts = MappingProxyType({}),
    ) -> None:
        """`about` is true of every point of this process."""
        self._runtime = runtime
        self._told = told
        self._about = about
        self.injected: Counter[tuple[str, Action]] = Counter()  # since the process began
        self._rng = random.Random(0)
        self._active: tuple[Active, ...] = ()
        self._points: dict[str, tuple[Active, ...]] = {}
        self._change = asyncio.Event()
        self._attempts: OrderedDict[str, Facts] = OrderedDict()
        self.plan = PointPlan()

    def put(self, plan: PointPlan) -> None:
        """This plan is in force from now on, and whatever a fault had stalled goes on. A fault that
        was in force before, with the same dice, goes on as well, and does not begin anew."""
        known = list(self._active) if plan.seed == self.plan.seed else []
        self.plan = plan
        self._rng = random.Random(plan.seed)
        self._active = tuple(self._made(n, fault, known) for n, fault in enumerate(plan.faults))
        self._points.clear()
        self._change.set()
        self._change = asyncio.Event()
        log.info("faults.changed", faults=len(self._active), seed=plan.seed)

    def _made(self, n: int, fault: PointFault, known: list[Active]) -> Active:
        for active in known:
            if active.fault == fault:
                known.remove(active)
                return active
        seed = f"{self.plan.seed} {n}" if fault.seed is None else fault.seed
        return Active(fault, random.Random(seed), self._runtime.mono())

    @property
    def strikes(self) -> list[tuple[PointFault, int]]:
        """Each fault in force, and how often it struck."""
        return [(active.fault, active.strikes) for active in self._active]

    async def __call__(self, name: str, facts: Facts) -> None:
        """What the plan does to a step that can only be held up, failed, or ended here."""
        fault = self.strike(name, facts)
        if fault is not None:
            await self.act(fault)

    def strike(self, name: str, facts: Facts) -> PointFault | None:
        """The fault that strikes here and now."""
        if not self._active:
            return None
        facts = {**self._attempts.get(facts.get("attempt", ""), {}), **facts}
        for active in self._at(name):
            fault = active.fault
            if self._concerns(fault, facts) and self._is_time(active) and self._falls(active):
                self._struck(active, name, facts)
                return fault
        return None

    def lasting(self, name: str) -> Iterator[tuple[PointFault, float]]:
        """Faults that strike once and last while it is their time, and for how long they have."""
        for active in self._at(name):
            fault = active.fault
            if not (self._is_time(active) and self._concerns(fault, {})):
                continue
            if name not in active.since:
                if not self._falls(active):
                    continue
                active.since[name] = self._runtime.mono()
                self._struck(active, name, {})
            yield fault, self._runtime.mono() - active.since[name]

    def learn(self, attempt: str, **facts: Any) -> None:
        """This is true of every point that is about this attempt."""
        self._attempts[attempt] = facts
        if len(self._attempts) > KNOWN_ATTEMPTS:
            self._attempts.popitem(last=False)

    async def act(self, fault: PointFault) -> None:
        """The step was held up for as long as the fault wants; or it fails, or nothing goes on."""
        match fault.action:
            case Action.DELAY:
                await self._runtime.sleep(fault.seconds)
            case Action.STALL:
                await self.hold(MAX_STALL_S)
            case Action.KILL:
                self.kill()
            case Action.PAUSE:
                self.pause(fault.seconds)
            case Action.DISK_FULL:
                raise sqlite3.OperationalError("database or disk is full")
            case Action.FSYNC_ERROR | Action.EIO_READ | Action.EIO_WRITE:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            case _:
                raise_error(fault)

    def disk(self, name: str) -> None:
        """A blocking step on a disk may go on. OSError: it fails as the plan says."""
        fault = self.strike(name, {})
        if fault is None:
            return
        match fault.action:
            case Action.KILL:
                self.kill()
            case Action.PAUSE:
                self.pause(fault.seconds)
            case action:
                number = errno.ENOSPC if action is Action.DISK_FULL else errno.EIO
                raise OSError(number, os.strerror(number))

    async def spoiled(self, name: str, data: bytes, facts: Facts) -> bytes:
        """What the plan makes of bytes that pass here."""
        fault = self.strike(name, facts)
        if fault is None:
            return data
        match fault.action:
            case Action.TRUNCATE:
                return data[: len(data) // 2]
            case Action.CORRUPT:
                return self.flipped(data)
            case _:
                await self.act(fault)
                return data

    def flipped(self, data: bytes) -> bytes:
        """With one bit that is not as it was."""
        at = self._rng.randrange(len(data))
        return data[:at] + bytes([data[at] ^ 1 << self._rng.randrange(8)]) + data[at + 1 :]

    def kill(self) -> None:
        """This process is no more."""
        os.kill(os.getpid(), signal.SIGKILL)

    def pause(self, seconds: float) -> None:
        """Stopped, as by SIGSTOP from outside; a process of its own lets this one go on."""
        wake = f"(sleep {seconds:.3f}; kill -CONT {os.getpid()}) >/dev/null 2>&1 &"
        subprocess.run(["setsid", "sh", "-c", wake], check=True)
        os.kill(os.getpid(), signal.SIGSTOP)

    async def hold(self, at_most_s: float) -> None:
        """The plan has changed, or the time is over."""
        try:
            async with asyncio.timeout(at_most_s):
                await self._change.wait()
        except TimeoutError:
            return

    def _struck(self, active: Active, name: str, facts: Facts) -> None:
        active.strikes += 1
        self.injected[name, active.fault.action] += 1
        event = {"point": name, "action": active.fault.action.value, **self._about, **facts}
        log.warning("fault.injected", **event)
        self._told(event)

    def _at(self, name: str) -> tuple[Active, ...]:
        found = self._points.get(name)
        if found is None:
            can = POINTS[name].actions if name in POINTS else tuple(Action)
            found = self._points[name] = tuple(
                active
                for active in self._active
                if active.fault.action in can and fnmatchcase(name, active.fault.at)
            )
        return found

    def _is_time(self, active: Active) -> bool:
        fault, now_s = active.fault, self._runtime.mono() - active.began
        return now_s >= fault.after_s and (fault.until_s is None or now_s < fault.until_s)

    def _falls(self, active: Active) -> bool:
        fault = active.fault
        if fault.times is not None and active.strikes >= fault.times:
            return False
        active.met += 1
        if active.met <= fault.skip:
            return False
        return fault.probability >= 1 or active.dice.random() < fault.probability

    def _concerns(self, fault: PointFault, facts: Facts) -> bool:
        if fault.run is not None and facts.get("run") != fault.run:
            return False
        if fault.job is not None and not fnmatchcase(str(facts.get("job", "")), fault.job):
            return False
        names = (self._about.get("name"), facts.get("worker"))
        return fault.worker is None or any(
            fnmatchcase(name, fault.worker) for name in names if name is not None
        )


def raise_error(fault: PointFault) -> NoReturn:
    """The step fails with the error that the plan names."""
    raise from_wire(fault.code, f"a fault was injected here: {fault.code}", {})
