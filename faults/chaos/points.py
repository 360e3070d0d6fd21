"""Faults at points of daemons, for a while: those of several steps may be on at once."""

from collections.abc import Awaitable, Callable, Sequence

from faults.plan import PointFault
from shared.runtime import Runtime

Put = Callable[[str, Sequence[PointFault]], Awaitable[None]]


class PointFaults:
    """`put` makes these the faults of a daemon, and no others."""

    def __init__(self, put: Put, runtime: Runtime) -> None:
        self._put = put
        self._runtime = runtime
        self._on: dict[str, list[Sequence[PointFault]]] = {}

    async def disturb(self, target: str, faults: Sequence[PointFault], for_s: float) -> None:
        """These faults were on in that daemon, beside others."""
        on = self._on.setdefault(target, [])
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

    async def _show(self, target: str) -> None:
        await self._put(target, [fault for faults in self._on[target] for fault in faults])
