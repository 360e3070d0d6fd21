"""Waiting longer after each failure, by chance, so that many workers do not return as one."""

from typing import Final

from shared.errors import ServiceError
from shared.runtime import Runtime

LONGEST_ASKED_S: Final = 60.0


class Backoff:
    """Exponential backoff with full jitter: uniform in [0, min(cap, base * 2**n)].

    Source: "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
    """

    def __init__(self, runtime: Runtime, *, base_s: float = 0.2, cap_s: float = 10.0) -> None:
        self._runtime = runtime
        self._base_s = base_s
        self._cap_s = cap_s
        self.failures = 0

    def next_s(self, error: Exception | None = None) -> float:
        """How long to wait after one more failure: no shorter than its error asks for."""
        ceiling = min(self._cap_s, self._base_s * 2 ** min(self.failures, 30))
        self.failures += 1
        asked_s = error.facts.get("retry_after_s", 0.0) if isinstance(error, ServiceError) else 0.0
        return min(float(asked_s), LONGEST_ASKED_S) + self._runtime.random.uniform(0, ceiling)

    def reset(self) -> None:
        """The next failure is the first."""
        self.failures = 0
