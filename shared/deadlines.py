"""Things that fall due on this process's monotonic clock.

Deadlines live in memory only. What must outlast a restart is stored as a duration and armed
again at start, so a clock that is stepped can neither end a lease early nor keep it for hours.
"""

import heapq
from typing import Generic, TypeVar

K = TypeVar("K")


class Deadlines(Generic[K]):
    """At most one deadline per key; arming again replaces it."""

    def __init__(self) -> None:
        self._at: dict[K, float] = {}
        self._heap: list[tuple[float, int, K]] = []
        self._count = 0

    def __len__(self) -> int:
        return len(self._at)

    def __contains__(self, key: K) -> bool:
        return key in self._at

    def arm(self, key: K, at: float) -> None:
        """`key` falls due at `at`."""
        self._at[key] = at
        self._count += 1
        heapq.heappush(self._heap, (at, self._count, key))
        if len(self._heap) > 64 + 2 * len(self._at):
            # Deadlines that were disarmed hide behind an early one that stays: a worker with one
            # long job and many short ones would gather millions of them.
            self._heap = [entry for entry in self._heap if self._at.get(entry[2]) == entry[0]]
            heapq.heapify(self._heap)

    def disarm(self, key: K) -> None:
        """`key` never falls due."""
        self._at.pop(key, None)

    def next_at(self) -> float | None:
        """When the next key falls due; None when none is armed."""
        self._drop_stale()
        return self._heap[0][0] if self._heap else None

    def take_due(self, now: float, limit: int = 1_000) -> list[K]:
        """The keys that are due, earliest first; they are armed no more."""
        due: list[K] = []
        while len(due) < limit:
            self._drop_stale()
            if not self._heap or self._heap[0][0] > now:
                break
            _, _, key = heapq.heappop(self._heap)
            del self._at[key]
            due.append(key)
        return due

    def postpone_all(self, at: float) -> None:
        """Every deadline that is earlier than `at` is now `at`."""
        for key, due in list(self._at.items()):
            if due < at:
                self.arm(key, at)

    def _drop_stale(self) -> None:
        while self._heap and self._at.get(self._heap[0][2]) != self._heap[0][0]:
            heapq.heappop(self._heap)
