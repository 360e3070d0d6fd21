"""Results that have waited for a receipt for a moment are made to survive a loss of power."""

from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from shared.ids import AttemptId
from shared.runtime import Runtime
from worker.alarms import Alarms
from worker.bell import Bell
from worker.outbox.interface import Outbox

# A receipt usually comes within milliseconds: then there is nothing to sync, and a job's usual way
# pays for none. A power cut within this second loses the attempt, as one a second before its end.
PATIENCE_S: Final = 1.0
PROBE_S: Final = 5.0

log = structlog.get_logger()

Sync = Callable[[], Awaitable[None]]


class Parking:
    """Attempts that have ended and are not yet receipted. One is parked after the other."""

    def __init__(self, outbox: Outbox, runtime: Runtime, alarms: Alarms) -> None:
        self._outbox = outbox
        self._runtime = runtime
        self._alarms = alarms
        self._bell = Bell(runtime)
        self._waiting: dict[AttemptId, Sync] = {}
        self._due: dict[AttemptId, None] = {}

    def expect(self, attempt_id: AttemptId, sync: Sync) -> None:
        """Unless its receipt comes soon, the attempt is parked, after its files by `sync`."""
        self._waiting[attempt_id] = sync
        at = self._runtime.mono() + PATIENCE_S
        self._alarms.arm((attempt_id, "park"), at, lambda: self._fall_due(attempt_id))

    def forget(self, attempt_id: AttemptId) -> None:
        """There is nothing to wait for any more. Safe to repeat."""
        if self._waiting.pop(attempt_id, None) is not None:
            self._alarms.disarm((attempt_id, "park"))

    def hurry(self) -> None:
        """The worker is about to leave: all that wait are due now."""
        for attempt_id in self._waiting:
            self._fall_due(attempt_id)

    async def run(self) -> None:
        """Parks what falls due, and looks at a disk that failed, for ever."""
        while True:
            await self._bell.wait(PROBE_S)
            self._outbox.probe()
            while self._due:
                attempt_id = next(iter(self._due))
                del self._due[attempt_id]
                if attempt_id in self._waiting:
                    await self._park(attempt_id, self._waiting[attempt_id])

    async def _park(self, attempt_id: AttemptId, sync: Sync) -> None:
        """It is parked, or will be tried again: it is in the journal meanwhile."""
        try:
            await sync()
            is_parked = await self._outbox.park(attempt_id)
        except OSError as error:
            log.warning("outbox.not_synced", attempt_id=attempt_id, error=error.strerror)
            is_parked = False
        if not is_parked and attempt_id in self._waiting:
            at = self._runtime.mono() + PROBE_S
            self._alarms.arm((attempt_id, "park"), at, lambda: self._fall_due(attempt_id))

    def _fall_due(self, attempt_id: AttemptId) -> None:
        self._due[attempt_id] = None
        self._bell.ring()
