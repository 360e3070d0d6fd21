"""Faults at points of daemons, for a while: those of several steps may be on at once."""

import random
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence

from faults.plan import PointFault
from shared.runtime import Runtime

Put = Callable[[str, Sequence[PointFault]], Awaitable[None]]


class PointFaults:
    """`put` makes these the faults of a daemon, and no others."""

    def __init__(self, put: Put, runtime: Runtime, seed: int) -> None:
        self._put = put
        self._runtime = runtime
        self._seed = seed
        self._times: Counter[str] = Counter()
        self._on: dict[str, list[Sequence[PointFault]]] = {}

    async def disturb(self, target: str, faults: Sequence[PointFault], for_s: float) -> None:
        """These faults were on in that daemon, beside others."""
        on = self._on.setdefault(target, [])
        self._times[target] += 1
        faults = [
            fault.model_copy(update={"seed": self._dice(target, n)})
            for n, fault in enumerate(faults)
        ]
        on.append(faults)
        await self._show(target)
        await self._runtime.sleep(for_s)
        if faults in on:
            on.remove(faults)
            await self._show(target)

    async def heal(self) -> None:
        """No fault is on."""
        for target, on in self._on.items():
            on.clear()
            await self._show(target)

    def _dice(self, target: str, n: int) -> int:
        """Others each time that a step is taken, and the same for the same plan."""
        return random.Random(f"{self._seed} {target} {self._times[target]} {n}").getrandbits(53)

    async def _show(self, target: str) -> None:
        await self._put(target, [fault for faults in self._on[target] for fault in faults])
