"""Waiting longer after each failure, by chance, so that many workers do not return as one."""

from shared.runtime import Runtime


class Backoff:
    """Exponential backoff with full jitter: uniform in [0, min(cap, base * 2**n)].

    Source: "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
    """

    def __init__(self, runtime: Runtime, *, base_s: float = 0.2, cap_s: float = 10.0) -> None:
        self._runtime = runtime
        self._base_s = base_s
        self._cap_s = cap_s
        self.failures = 0

    def next_s(self) -> float:
        """How long to wait after one more failure."""
        ceiling = min(self._cap_s, self._base_s * 2 ** min(self.failures, 30))
        self.failures += 1
        return self._runtime.random.uniform(0, ceiling)

    def reset(self) -> None:
        """The next failure is the first."""
        self.failures = 0
