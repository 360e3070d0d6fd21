"""Who is asked next: so many at a time in all, and a few at one server, however many wait."""

from collections import Counter, OrderedDict, deque
from typing import Final

AT_A_TIME: Final = 16
IN_A_LANE: Final = 4


class Lanes:
    """Keys that wait for their turn, by lane. A server that is slow holds up its own lane only."""

    def __init__(self) -> None:
        self._waiting: OrderedDict[str, deque[str]] = OrderedDict()
        self._busy: Counter[str] = Counter()

    def wait(self, lane: str, key: str) -> None:
        self._waiting.setdefault(lane, deque()).append(key)

    def take(self) -> tuple[str, str] | None:
        """A lane and the key whose turn it is in it. Say `done` when it is over."""
        if self._busy.total() >= AT_A_TIME:
            return None
        for lane, keys in self._waiting.items():
            if self._busy[lane] < IN_A_LANE:
                key = keys.popleft()
                self._busy[lane] += 1
                self._waiting.move_to_end(lane)  # the others first, the next time
                if not keys:
                    del self._waiting[lane]
                return lane, key
        return None

    def done(self, lane: str) -> None:
        self._busy[lane] -= 1
        if self._busy[lane] <= 0:
            del self._busy[lane]
