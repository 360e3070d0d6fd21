"""Which faults of a proxy are on, and which of them strike: one seed decides."""

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from typing import Any

from faults.proxy.words import OfMessage, ProxyFault

Told = Callable[[str, dict[str, Any]], None]  # a fault's kind, and whom it struck


class Active:
    """A fault that is on, with dice of its own, and how often it struck."""

    def __init__(self, fault: ProxyFault, dice: random.Random) -> None:
        self.fault = fault
        self.dice = dice
        self.strikes = 0
        self.lasts: bool | None = None  # of what is done to the door: drawn when it came

    @property
    def is_spent(self) -> bool:
        return self.fault.times is not None and self.strikes >= self.fault.times


class Board:
    """The faults of one proxy. What is put up is felt at once, also by open connections."""

    def __init__(self, rng: random.Random, told: Told) -> None:
        self.rng = rng
        self.strikes: Counter[str] = Counter()  # since the start, by kind
        self.change = asyncio.Event()  # set, and another one in its place, when others are on
        self.active: tuple[Active, ...] = ()
        self._told = told
        self._dice = random.Random(rng.random())  # from which every fault gets dice of its own

    def put(self, faults: Iterable[ProxyFault]) -> None:
        """These are on, and no others."""
        self._show(self._made(faults))

    def add(self, faults: Iterable[ProxyFault]) -> tuple[Active, ...]:
        """These are on beside the others, which go on as they did."""
        added = self._made(faults)
        self._show((*self.active, *added))
        return added

    def remove(self, gone: Iterable[Active]) -> None:
        """These are not on any more."""
        left = set(gone)
        self._show(tuple(active for active in self.active if active not in left))

    def falls(self, active: Active) -> bool:
        """Whether it strikes this time."""
        odds = active.fault.probability
        return not active.is_spent and (odds >= 1 or active.dice.random() < odds)

    def struck(self, active: Active, **facts: Any) -> None:
        active.strikes += 1
        self.strikes[active.fault.kind] += 1
        self._told(active.fault.kind, facts)

    def strike(self, *kinds: str) -> ProxyFault | None:
        """The first fault of these kinds that strikes a new connection."""
        for active in self.active:
            if active.fault.kind in kinds and self.falls(active):
                self.struck(active)
                return active.fault
        return None

    def lasts(self, *kinds: str) -> bool:
        """Whether one of these kinds is on that struck when it came. It does so once, and goes on
        for as long as it is on, whatever else comes and goes."""
        of_these = [active for active in self.active if active.fault.kind in kinds]
        for active in of_these:
            if active.lasts is None:
                active.lasts = self.falls(active)
                if active.lasts:
                    self.struck(active)
        return any(active.lasts for active in of_these)

    def strike_message(self, path: str, *kinds: type[OfMessage]) -> OfMessage | None:
        """The first fault of these kinds that strikes a message to this path."""
        for active in self.active:
            fault = active.fault
            if isinstance(fault, kinds) and fnmatchcase(path, fault.path) and self.falls(active):
                self.struck(active, path=path)
                return fault
        return None

    def _made(self, faults: Iterable[ProxyFault]) -> tuple[Active, ...]:
        return tuple(Active(fault, random.Random(self._dice.random())) for fault in faults)

    def _show(self, active: tuple[Active, ...]) -> None:
        self.active = active
        self.change.set()
        self.change = asyncio.Event()
