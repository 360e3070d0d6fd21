"""How long jobs have been tried, on the monotonic clock: no step of the wall clock shortens it.

In memory, on the database's thread; what has passed up to the end of each try is stored as a
duration. Time in which this service was down does not count.
"""


class Stopwatch:
    """When the first try of each open job started."""

    def __init__(self) -> None:
        self._began: dict[int, float] = {}  # job seq → monotonic
        self._opened_at = 0.0

    def __len__(self) -> int:
        """How many jobs it knows of."""
        return len(self._began)

    def open(self, mono: float) -> None:
        """The service started: what was measured before comes from the store."""
        self._opened_at = mono
        self._began.clear()

    def start(self, seq: int, mono: float) -> None:
        """The job's first try starts."""
        self._began[seq] = mono

    def elapsed_s(self, seq: int, mono: float, stored_s: float) -> float:
        """Since its first try started; `stored_s` is what the store knows of it."""
        return mono - self._began.get(seq, self._opened_at - stored_s)

    def forget(self, seq: int) -> None:
        """The job has ended."""
        self._began.pop(seq, None)
