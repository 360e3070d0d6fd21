"""Everything that falls due in the worker: job timeouts, kills after grace, self-fences.

One loop and one heap for all attempts, so that a job costs no task of its own for waiting.
"""

from collections.abc import Callable

from shared.deadlines import Deadlines
from shared.runtime import Runtime
from worker.bell import Bell

AlarmKey = tuple[str, str]  # (attempt, what)


class Alarms:
    """At most one alarm per key; arming again replaces it."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._deadlines: Deadlines[AlarmKey] = Deadlines()
        self._calls: dict[AlarmKey, Callable[[], None]] = {}
        self._bell = Bell(runtime)
        self._wakes_at = float("inf")

    def arm(self, key: AlarmKey, at: float, call: Callable[[], None]) -> None:
        """`call` is made once the monotonic clock shows `at`."""
        self._deadlines.arm(key, at)
        self._calls[key] = call
        if at < self._wakes_at:
            self._bell.ring()

    def disarm(self, key: AlarmKey) -> None:
        """The call is not made. Safe when it was made already."""
        self._deadlines.disarm(key)
        self._calls.pop(key, None)

    async def run(self) -> None:
        """Makes the calls that fall due, for ever."""
        while True:
            at = self._deadlines.next_at()
            self._wakes_at = float("inf") if at is None else at
            await self._bell.wait(None if at is None else max(0.0, at - self._runtime.mono()))
            for key in self._deadlines.take_due(self._runtime.mono()):
                self._calls.pop(key)()
