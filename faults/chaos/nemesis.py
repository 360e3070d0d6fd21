"""Carries the acts of a plan out, each at its time; what was done is in the history."""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from faults.chaos.disk import SmallDisk
from faults.chaos.member import Member
from faults.chaos.network import Networks
from faults.chaos.plan import DiskFull, Kill, Network, Points, SigStop, Step, Stop, name_of
from faults.chaos.recorder import Recorder
from faults.chaos.schedule import Act
from faults.plan import PointFault
from shared.runtime import Runtime

WAIT_S: Final = 0.05


class Victims(Protocol):
    """What can be hurt."""

    members: dict[str, Member]
    networks: Networks
    disk: SmallDisk | None
    skipped: dict[str, str]  # what cannot be done here, and why

    async def disturb(self, target: str, faults: Sequence[PointFault], for_s: float) -> bool:
        """These faults at points were on in that daemon for a while; whether it takes any."""


class Nemesis:
    """`ended` says how many jobs have ended so far."""

    def __init__(
        self,
        victims: Victims,
        recorder: Recorder,
        runtime: Runtime,
        ended: Callable[[], int],
    ) -> None:
        self.done: Counter[str] = Counter()  # by what was done
        self.missed: Counter[str] = Counter()  # its target was not there, or cannot be hurt here
        self._victims = victims
        self._recorder = recorder
        self._runtime = runtime
        self._ended = ended

    @property
    def faults(self) -> int:
        return self.done.total()

    async def torment(self, acts: Sequence[Act], steps: Sequence[Step], began: float) -> None:
        """Every act was carried out, or was too late."""
        async with asyncio.TaskGroup() as group:
            for act in acts:
                if not act.after:
                    await self._runtime.sleep(max(0.0, began + act.at - self._runtime.mono()))
                step = steps[act.step]
                group.create_task(self._carry_out(act, step), name=f"{step.what} {act.target}")

    async def _carry_out(self, act: Act, step: Step) -> None:
        while self._ended() < act.after:
            await self._runtime.sleep(WAIT_S)
        if name_of(step) in self._victims.skipped:
            return
        at = self._recorder.now
        try:
            is_done = await self._do(act.target, step)
        except asyncio.CancelledError:  # the time is over: so is what lasts, which was on until now
            is_lasting = isinstance(step, SigStop | Network | Points | DiskFull)
            if is_lasting or not self._victims.members[act.target].is_alive:
                self._note(act, step, at)
            raise
        if is_done:
            self._note(act, step, at)
        else:
            self.missed[step.what] += 1

    def _note(self, act: Act, step: Step, at: float) -> None:
        """Written down when it is over, with the time at which it began: a bar of the timeline."""
        self.done[step.what] += 1
        self._recorder.event(
            "nemesis", "fault", at, kind=step.what, target=act.target, step=act.step,
            until=round(self._recorder.now, 3), says=_in_words(step),
        )  # fmt: skip

    async def _do(self, target: str, step: Step) -> bool:
        here = self._victims
        if target not in here.members and isinstance(step, Kill | Stop | SigStop):
            return False
        match step:
            case Kill():
                return await here.members[target].kill(step.down_s)
            case Stop():
                return await here.members[target].stop(step.down_s)
            case SigStop():
                return await here.members[target].freeze(step.for_s)
            case Network():
                return await here.networks.spoil(target, step.faults, step.for_s)
            case Points():
                return await here.disturb(target, step.faults, step.for_s)
            case DiskFull():
                return await self._fill(step)

    async def _fill(self, step: DiskFull) -> bool:
        disk = self._victims.disk
        if disk is None:
            return False
        try:
            await self._runtime.offload(disk.fill)
            await self._runtime.sleep(step.for_s)
        finally:
            disk.free()
        return True


def _in_words(step: Step) -> str:
    match step:
        case Network():
            return ", ".join(fault.kind for fault in step.faults)
        case Points():
            return ", ".join(f"{fault.action.value} at {fault.at}" for fault in step.faults)
        case _:
            return step.what
