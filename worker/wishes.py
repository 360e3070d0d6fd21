"""What a worker is to do, as the registry and signals told it: run, pause, drain, stop, restart."""

from collections.abc import Callable
from typing import Final

import structlog

from shared.protocol.registry import StatusReply
from shared.protocol.states import Desired
from shared.runtime import Runtime
from worker.alarms import Alarms
from worker.attempts import Attempts

NO_RESTART: Final = "cannot restart by itself: restart the process that it is a part of"

log = structlog.get_logger()


class Wishes:
    """`changed` is called when they are others; `restart` puts a successor in the worker's place.

    Who leaves does not come back: only a stop goes beyond a drain.
    """

    def __init__(
        self,
        runtime: Runtime,
        alarms: Alarms,
        attempts: Attempts,
        changed: Callable[[], None],
        restart: Callable[[], None] | None,
        *,
        grace_s: float,
    ) -> None:
        """`restart` None: it has no process of its own, which could begin anew."""
        self.desired = Desired.RUN
        self.unmet: str | None = None  # why what is wished does not happen
        self._runtime = runtime
        self._alarms = alarms
        self._attempts = attempts
        self._changed = changed
        self._restart = restart
        self._grace_s = grace_s
        self._drain_ends_at = float("inf")

    @property
    def is_leaving(self) -> bool:
        return self.desired not in (Desired.RUN, Desired.PAUSE)

    def obey(self, reply: StatusReply) -> None:
        """What the operator wants, as the last report brought it."""
        self.unmet = None
        if reply.desired is Desired.STOP:
            if reply.is_now and self._grace_s > 0:
                self._grace_s = 0.0
                self._attempts.preempt()
            self.drain(0)
        elif self.is_leaving:
            return
        elif reply.desired is Desired.DRAIN:
            self.drain(reply.deadline_s)
        elif reply.desired is not Desired.RESTART:
            self._want(reply.desired)
        elif self._restart is None:
            self.unmet = NO_RESTART
        else:
            log.info("worker.told", desired=reply.desired.value, reason=reply.reason)
            self._restart()

    def drain(self, deadline_s: float | None) -> None:
        """No more jobs are asked for. Those that still run after `deadline_s` are stopped."""
        if deadline_s is not None:
            ends_at = self._runtime.mono() + deadline_s
            if ends_at < self._drain_ends_at:
                self._drain_ends_at = ends_at
                self._alarms.arm(
                    ("worker", "drain"), ends_at, lambda: self._attempts.drain(self._grace_s)
                )
        self._want(Desired.DRAIN)

    def _want(self, desired: Desired) -> None:
        if desired is not self.desired:
            log.info("worker.told", desired=desired.value)
            self.desired = desired
            self._changed()
