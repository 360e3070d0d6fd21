"""The worker in the registry: enrolment, status reports, and what the operator wants of it.

One report is in flight at a time and speaks for everything that happened before it was sent, so
any number of claims share one acknowledgement and a busy worker reports no more often than the
registry answers.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import structlog

from shared.errors import (
    BadRequest,
    Forbidden,
    Misconfigured,
    ServiceError,
    Unauthenticated,
    UnknownWorker,
    UnsupportedVersion,
    WorkerSuperseded,
)
from shared.ids import WorkerId
from shared.protocol.registry import (
    MAX_NAMED,
    EnrolRequest,
    Finding,
    StatusReply,
    StatusReport,
)
from shared.protocol.states import WorkerStatus
from shared.runtime import Runtime
from shared.services import Registry
from worker.backoff import Backoff
from worker.bell import Bell
from worker.settings import WorkerSettings

CALL_TIMEOUT_S = 3.0
SLACK_S = 1.0  # for a report that is on its way when the freshness of the last one is judged
SETTLE_S = 0.02  # the next job of a chain comes sooner, and its report need not queue behind ours

# Answers to a first enrolment that no waiting will change.
HOPELESS = (Unauthenticated, Forbidden, UnsupportedVersion, BadRequest, Misconfigured)

log = structlog.get_logger()


class NotAcknowledged(Exception):
    """The registry did not confirm in time that this worker is Working; do not start the job."""


@dataclass(frozen=True, slots=True)
class Load:
    """What the worker does at this moment."""

    status: WorkerStatus
    attempts: tuple[str, ...]
    free_slots: int
    health: tuple[Finding, ...]


class Presence:
    """Keeps the registry informed. `load` is asked at each report, `obey` is told each reply."""

    def __init__(
        self,
        settings: WorkerSettings,
        registry: Registry,
        runtime: Runtime,
        load: Callable[[], Load],
        obey: Callable[[StatusReply], None],
        adopt: Callable[[int | None, Mapping[str, str] | None], None],
    ) -> None:
        """`adopt` is told the slots and labels that operators want the worker to have."""
        self._settings = settings
        self._policy = settings.registry_policy
        self._registry = registry
        self._runtime = runtime
        self._load = load
        self._obey = obey
        self._adopt = adopt
        self._bell = Bell(runtime)  # something to report
        self._acked = Bell(runtime)  # a report was acknowledged
        self._backoff = Backoff(runtime, cap_s=5.0)
        self._waiting: list[asyncio.Future[None]] = []
        self._changed_at: float | None = None
        self._sent_at = 0.0
        self._acked_at = float("-inf")  # when the last acknowledged report was sent
        self._doubtful = False  # the last report was not acknowledged
        self._next_report_s = 0.0
        self.enrolled = asyncio.Event()
        self.worker_id: WorkerId | None = None
        self.incarnation = 0
        self.superseded: WorkerSuperseded | None = None

    # -- what the rest of the worker asks ----------------------------------------------------

    async def announce(self) -> None:
        """A report sent after this call, with status Working, is acknowledged; or policy waives it.

        NotAcknowledged: it is not, within `announce_s`.
        """
        if self._policy == "off":
            self.changed()
            return
        if self.superseded is not None:
            raise NotAcknowledged("a newer worker has taken this name")
        heard: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(heard)
        self._bell.ring()
        try:
            async with asyncio.timeout(self._settings.announce_s):
                await heard
        except TimeoutError:
            if not self._is_within_grace():
                limit = self._settings.announce_s
                raise NotAcknowledged(f"no answer of the registry within {limit:g} s") from None

    def changed(self) -> None:
        """The status is another; the registry is told soon."""
        if self._changed_at is None:
            self._changed_at = self._runtime.mono()
            self._bell.ring()

    def may_claim(self) -> bool:
        """Whether the registry policy lets the worker ask for jobs at this moment."""
        if self.worker_id is None or self.superseded is not None:
            return False
        if self._policy == "strict":
            limit_s = 2 * self._next_report_s + SLACK_S
            return not self._doubtful and self._runtime.mono() - self._acked_at <= limit_s
        return self._policy == "off" or self._is_within_grace()

    async def until_may_claim(self) -> None:
        """Returns when `may_claim`. The reports themselves probe the registry meanwhile."""
        while not self.may_claim():
            await self._acked.wait()

    async def leave(self) -> None:
        """The registry was told goodbye, if it could be reached."""
        if self.worker_id is None or self.superseded is not None:
            return
        try:
            async with asyncio.timeout(CALL_TIMEOUT_S):
                await self._registry.leave(self.worker_id, self.incarnation)
        except (ServiceError, TimeoutError) as error:
            log.warning("worker.goodbye_unheard", error=repr(error))

    # -- the loop ------------------------------------------------------------------------------

    async def run(self) -> None:
        """Enrols, then reports until superseded. What is HOPELESS at first comes out."""
        await self._enrol()
        while self.superseded is None:
            await self._until_due()
            await self.report_once()

    async def report_once(self) -> None:
        """One report was sent, and acknowledged or not."""
        waiting, self._waiting = self._waiting, []
        load = self._load()
        self._changed_at = None
        self._sent_at = self._runtime.mono()
        assert self.worker_id is not None
        report = StatusReport(
            worker_id=self.worker_id,
            incarnation=self.incarnation,
            status=load.status,
            attempts=load.attempts[:MAX_NAMED],
            free_slots=load.free_slots,
            health=load.health,
        )
        try:
            async with asyncio.timeout(CALL_TIMEOUT_S):
                reply = await self._registry.report(report)
        except WorkerSuperseded as error:
            self.superseded = error
            self._reject([*waiting, *self._waiting], "a newer worker has taken this name")
            self._waiting = []
        except (UnknownWorker, Unauthenticated, Forbidden) as error:
            # Forgotten by an operator, or away for longer than the worker token lives.
            self._not_heard(waiting, error)
            await self._enrol()
        except (ServiceError, TimeoutError) as error:
            self._not_heard(waiting, error)
            await self._runtime.sleep(self._backoff.next_s(error))
        else:
            self._heard(waiting, load.status, reply)

    async def _enrol(self) -> None:
        settings = self._settings
        is_first = self.worker_id is None
        backoff = Backoff(self._runtime, cap_s=5.0)
        ask = EnrolRequest(
            name=settings.name,
            host=settings.host,
            pid=settings.pid,
            version=settings.version,
            labels=dict(settings.labels),
            slots=settings.slots,
        )
        while True:
            self._sent_at = self._runtime.mono()
            try:
                async with asyncio.timeout(CALL_TIMEOUT_S):
                    reply = await self._registry.enrol(ask)
            except (ServiceError, TimeoutError) as error:
                if is_first and isinstance(error, HOPELESS):
                    raise
                if backoff.failures == 0:
                    log.warning("worker.enrolment_failed", error=repr(error))
                await self._runtime.sleep(backoff.next_s(error))
            else:
                break
        self.worker_id, self.incarnation = reply.worker_id, reply.incarnation
        self._next_report_s = reply.next_report_s
        self._adopt(reply.slots, reply.labels)
        log.info("worker.enrolled", worker_id=reply.worker_id, incarnation=reply.incarnation)
        self._acknowledged()
        self.enrolled.set()

    async def _until_due(self) -> None:
        while not self._waiting:
            due_at = self._sent_at + self._next_report_s
            if self._changed_at is not None:
                due_at = min(due_at, self._changed_at + SETTLE_S)
            left_s = due_at - self._runtime.mono()
            if left_s <= 0:
                return
            await self._bell.wait(left_s)

    # -- what a report led to --------------------------------------------------------------------

    def _heard(
        self, waiting: list[asyncio.Future[None]], status: WorkerStatus, reply: StatusReply
    ) -> None:
        self._next_report_s = reply.next_report_s
        self._acknowledged()
        if status is WorkerStatus.WORKING:
            for heard in waiting:
                if not heard.done():
                    heard.set_result(None)
        else:
            self._reject(waiting, f"the worker is {status}")
        self._adopt(reply.slots, reply.labels)
        self._obey(reply)

    def _acknowledged(self) -> None:
        self._acked_at = self._sent_at
        if self._doubtful:
            self._doubtful = False
            log.info("registry.returned")
        self._backoff.reset()
        self._acked.ring()

    def _not_heard(self, waiting: list[asyncio.Future[None]], error: Exception) -> None:
        """The claims that this report spoke for go into the next one."""
        if not self._doubtful:
            self._doubtful = True
            log.warning("registry.lost", error=repr(error))
        pending = [heard for heard in waiting if not heard.done()]
        if self._is_within_grace():
            for heard in pending:
                heard.set_result(None)
        else:
            self._waiting = pending + self._waiting

    def _reject(self, waiting: list[asyncio.Future[None]], why: str) -> None:
        for heard in waiting:
            if not heard.done():
                heard.set_exception(NotAcknowledged(why))

    def _is_within_grace(self) -> bool:
        return isinstance(self._policy, int | float) and (
            self._runtime.mono() - self._acked_at <= self._policy
        )
