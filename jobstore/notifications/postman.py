"""The loop that sends what waits in the outbox, until it is taken or given up.

A notification is sent at least once: should the process die between the answer and the note of
it, it is sent again, under the same delivery id.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Final, Protocol

import structlog

from jobstore.notifications.errors import NotSent
from jobstore.notifications.outbox import Notification, Outbox, shown
from jobstore.notifications.states import NotificationEvent
from shared.deadlines import Deadlines
from shared.errors import ServiceError
from shared.ids import RunId
from shared.loops import Loops
from shared.protocol.notifications import NotificationView
from shared.runtime import Runtime

log = structlog.get_logger()

LOOK_EVERY_S: Final = 1.0
FIRST_WAIT_S: Final = 10.0
LONGEST_WAIT_S: Final = 3_600.0
JITTER: Final = 0.2
GIVE_UP_S: Final = 48 * 3_600.0  # of waiting between tries: a service that is down does not count
MAX_HELD: Final = 1_000  # in memory; the others wait in the database
AT_A_TIME: Final = 16
IN_A_LANE: Final = 2  # to one server


class Carrier(Protocol):
    """Takes a notification to where it goes."""

    def lane(self, notification: Notification) -> str: ...

    async def send(self, notification: Notification) -> None:
        """NotSent says why it could not."""

    async def close(self) -> None: ...


class Postman:
    """Sends, while it is started. One for each database."""

    def __init__(self, outbox: Outbox, carrier: Carrier, runtime: Runtime) -> None:
        self._outbox = outbox
        self._carrier = carrier
        self._runtime = runtime
        self._due: Deadlines[int] = Deadlines()
        self._waits: dict[int, float] = {}  # since the last try that was noted here
        self._newest = 0  # the greatest id that was looked at
        self._sending = 0
        self.sent = 0  # since this was made
        self._places = asyncio.Semaphore(AT_A_TIME)
        self._lanes: dict[str, _Lane] = {}
        self._was_tried = asyncio.Event()
        self._is_up = asyncio.Event()
        self._spawn: Callable[[int], object] = lambda _: None
        self._loops = Loops(runtime)
        self._loops.add("jobstore.postman", self._work)

    @property
    def failure(self) -> "asyncio.Future[None]":
        return self._loops.failure

    async def start(self) -> None:
        """What waits is tried at once, whatever it waited for: the start may be the remedy."""
        await self._loops.start()

    async def stop(self) -> None:
        """Nothing is sent any more. What was on its way is sent again by the next start."""
        await self._loops.stop()
        await self._carrier.close()

    async def attend(self, run_id: RunId, within_s: float) -> list[NotificationView]:
        """All about the run. Whatever waits was tried, unless `within_s` was too short for that."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while True:
                    self._was_tried.clear()
                    await self.look_once()
                    if self._sending == 0:
                        break
                    await self._was_tried.wait()
        return list((await self._outbox.list_notifications(run_id)).notifications)

    async def look_once(self) -> None:
        """Whatever is due is on its way, once this was started."""
        await self._is_up.wait()
        now = self._runtime.mono()
        room = MAX_HELD - len(self._due) - self._sending
        if room > 0:
            for notification in await self._outbox.waiting(after=self._newest, limit=room):
                if notification.id > self._newest:  # or another look was quicker
                    self._newest = notification.id
                    self._due.arm(notification.id, now)
        for notification_id in self._due.take_due(now):
            self._sending += 1
            self._spawn(notification_id)

    # -- details -------------------------------------------------------------------------------

    async def _work(self) -> None:
        async with asyncio.TaskGroup() as group:

            def spawn(notification_id: int) -> None:
                group.create_task(
                    self._try(notification_id), name=f"notification {notification_id}"
                )

            self._spawn = spawn
            self._is_up.set()
            while True:
                try:
                    await self.look_once()
                except ServiceError as error:
                    if not error.retryable:
                        raise
                    log.warning("loop.hindered", loop="jobstore.postman", error=error.code)
                await self._runtime.sleep(LOOK_EVERY_S)

    async def _try(self, notification_id: int) -> None:
        waited_s = self._waits.pop(notification_id, 0.0)
        try:
            notification = await self._outbox.find(notification_id)
            if notification is not None:
                async with self._lane(self._carrier.lane(notification)), self._places:
                    await self._send(notification, waited_s)
        except ServiceError as error:  # the store: it tells its own failure
            log.warning("notification.hindered", notification=notification_id, error=error.code)
            self._put_off(notification_id, waited_s)
        finally:
            self._sending -= 1
            self._was_tried.set()

    async def _send(self, notification: Notification, waited_s: float) -> None:
        facts = {
            "notification": notification.id,
            "run_id": notification.run_id,
            "kind": notification.kind.value,
        }
        waited_s += notification.waited_s
        try:
            await self._carrier.send(notification)
        except NotSent as refused:
            why, is_final = refused.why, refused.is_final
        except Exception as error:  # of a library; the others must still be sent
            log.exception("notification.crashed", **facts)
            why, is_final = f"something broke inside: {type(error).__name__}", False
        else:
            await self._outbox.settle(
                notification, NotificationEvent.ACCEPT, error=None, waited_s=waited_s
            )
            self.sent += 1
            log.info("notification.sent", **facts)
            return
        to = shown(notification.kind, notification.target)
        if is_final or waited_s >= GIVE_UP_S:
            await self._outbox.settle(
                notification, NotificationEvent.GIVE_UP, error=why, waited_s=waited_s
            )
            log.error("notification.given_up", **facts, to=to, error=why)
            return
        await self._outbox.settle(
            notification, NotificationEvent.DELAY, error=why, waited_s=waited_s
        )
        wait_s = self._wait_s(notification.tries)
        self._waits[notification.id] = wait_s
        self._due.arm(notification.id, self._runtime.mono() + wait_s)
        log.warning("notification.delayed", **facts, to=to, error=why, wait_s=round(wait_s, 1))

    def _put_off(self, notification_id: int, waited_s: float) -> None:
        """It is tried again after as long as it has waited since its last try was noted."""
        wait_s = min(max(waited_s, FIRST_WAIT_S), LONGEST_WAIT_S)
        self._waits[notification_id] = waited_s + wait_s
        self._due.arm(notification_id, self._runtime.mono() + wait_s)

    def _wait_s(self, tries: int) -> float:
        """After `tries` tries and one more: 10 s, twice as long each time, at most an hour."""
        wait_s = min(FIRST_WAIT_S * 2.0 ** min(tries, 20), LONGEST_WAIT_S)
        return wait_s * self._runtime.random.uniform(1 - JITTER, 1 + JITTER)

    def _lane(self, name: str) -> "_Lane":
        for known in [key for key, lane in self._lanes.items() if not lane.users]:
            del self._lanes[known]
        return self._lanes.setdefault(name, _Lane())


class _Lane:
    """A few at a time; knows whether anybody is in it or waits for it."""

    def __init__(self) -> None:
        self.users = 0
        self._places = asyncio.Semaphore(IN_A_LANE)

    async def __aenter__(self) -> None:
        self.users += 1
        try:
            await self._places.acquire()
        except BaseException:
            self.users -= 1
            raise

    async def __aexit__(self, *_: object) -> None:
        self.users -= 1
        self._places.release()
