"""How often one process asks again: a token for each repetition, few while nothing works.

With many callers each of which waits by chance, a service that is away would still be asked as
often as there are callers. The budget is theirs together: however many they are, what they repeat
is a trickle, until a repetition succeeds. Then each success lets two more through, so that what
has waited follows at once, and no faster than it is served. Source: the retry quota of AWS's SDKs
and gRFC A6, "Throttling Retry Attempts".
"""

from typing import Final

from shared.runtime import Runtime

BURST: Final = 10.0  # repetitions at once, when all went well before
OF_FIRST: Final = 0.1  # of a token for each call that succeeds at once
OF_REPEATED: Final = 2.0  # tokens for each repetition that succeeds
TRICKLE_PER_S: Final = 0.4  # what one lone caller would repeat that pauses for 2.5 s


class RetryBudget:
    """Shared by all that asks the same service."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._tokens = BURST
        self._counted_at = runtime.mono()

    def succeeded(self, *, is_repeated: bool) -> None:
        """A call was answered, at the first time or when repeated."""
        self._earn(OF_REPEATED if is_repeated else OF_FIRST)

    async def spend(self, until: float = float("inf")) -> bool:
        """Returns when one call may be repeated. False: none may before `until`, monotonic."""
        while not self._take():
            pause_s = self._runtime.random.uniform(0.5, 1.0) / TRICKLE_PER_S
            left_s = until - self._runtime.mono()
            if left_s <= 0:
                return False
            await self._runtime.sleep(min(pause_s, left_s))
        return True

    def _take(self) -> bool:
        now = self._runtime.mono()
        self._earn((now - self._counted_at) * TRICKLE_PER_S)
        self._counted_at = now
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True

    def _earn(self, tokens: float) -> None:
        self._tokens = min(BURST, self._tokens + tokens)
