"""Reading what still grows: a job's log and a run's events, until they are complete.

Followers are woken by commits and appends. They also look by themselves now and then: a follower
that was never woken would be a bug, not a hung terminal.
"""

from collections import deque
from collections.abc import AsyncIterator
from typing import Final

from jobstore.log_times import Arrival, LineTimes
from jobstore.logs import Logs
from jobstore.store.interface import JobStore
from jobstore.watchers import Watchers
from shared.ids import AttemptId, JobId, RunId
from shared.protocol.jobs import Event
from shared.protocol.states import RunStatus
from shared.services import Body

EVENTS_PER_READ: Final = 500
KEPT_EVENTS: Final = 4_096
LOOK_AGAIN_S: Final = 15.0
ENDS_OF_A_RUN: Final = frozenset(f"run.{status}" for status in RunStatus if status.is_ended)


class Recent:
    """The newest events of all runs, so that whoever follows closely costs the store nothing."""

    def __init__(self) -> None:
        self._events: deque[Event] = deque(maxlen=KEPT_EVENTS)

    def add(self, event: Event) -> None:
        self._events.append(event)

    def of_run(self, run_id: RunId, after: int) -> list[Event] | None:
        """The run's events from seq > `after`, in order; None: some may be older than these."""
        if not self._events or self._events[0].seq > after + 1:
            return None
        found = []
        for event in reversed(self._events):
            if event.seq <= after:
                break
            if event.run_id == run_id:
                found.append(event)
        return found[::-1]


class Followers:
    """Streams for people who watch."""

    def __init__(self, store: JobStore, logs: Logs, watchers: Watchers, recent: Recent) -> None:
        self._store = store
        self._logs = logs
        self._watchers = watchers
        self._recent = recent

    async def read_log(
        self,
        run_id: RunId,
        job_id: JobId,
        *,
        attempt: AttemptId | None,
        offset: int,
        follow: bool,
        timestamps: bool = False,
    ) -> Body:
        """The log of `attempt`, or of the latest one; followed, of every later one as well."""
        key, seen = ("job", run_id, job_id), None
        while True:
            with self._watchers.watching(key) as change:
                place = await self._store.log_of(run_id, job_id, attempt)
                if place.attempt_id is not None and place.attempt_id != seen:
                    seen = place.attempt_id
                    times = LineTimes(offset) if timestamps else None
                    async for piece in self._attempt_log(
                        run_id, job_id, seen, offset, follow, times
                    ):
                        yield piece
                    offset = 0
                    if follow and attempt is None:
                        continue
                    return
                if place.job_has_ended or not follow:
                    return
                await change.wait(LOOK_AGAIN_S)

    async def _attempt_log(
        self,
        run_id: RunId,
        job_id: JobId,
        attempt_id: str,
        offset: int,
        follow: bool,
        times: LineTimes | None,
    ) -> Body:
        while True:
            with self._watchers.watching(("log", attempt_id)) as change:
                place = await self._store.log_of(run_id, job_id, AttemptId(attempt_id))
                if place.inline is not None:
                    if times is not None and place.ended_at is not None:
                        # It came whole with the end, as a job's last ticks do.
                        times.add([Arrival(0, place.ended_at)])
                    if piece := place.inline[offset:]:
                        yield piece if times is None else times.stamp(piece)
                    return
                while piece := await self._logs.read(AttemptId(attempt_id), offset):
                    offset += len(piece)
                    if times is not None:
                        await self._learn(AttemptId(attempt_id), times)
                        piece = times.stamp(piece)
                    yield piece
                if not place.is_live or not follow:
                    return
                await change.wait(LOOK_AGAIN_S)

    async def _learn(self, attempt_id: AttemptId, times: LineTimes) -> None:
        while arrivals := await self._logs.arrivals(attempt_id, times.known):
            times.add(arrivals)

    async def follow_events(self, run_id: RunId, *, after: int) -> AsyncIterator[Event]:
        """Every event of the run from seq > `after`, until its end."""
        events: list[Event] | None = None
        while True:
            with self._watchers.watching(("run", run_id)) as change:
                if events is not None:
                    events = self._recent.of_run(run_id, after)
                if events is None:  # at first, and when too far behind
                    run = await self._store.show_status(run_id)
                    events = await self._store.list_events(run_id, after, EVENTS_PER_READ)
                    if run.is_ended and not events:
                        return
                for event in events:
                    yield event
                    after = event.seq
                    if event.kind in ENDS_OF_A_RUN:
                        return
                if not events:
                    await change.wait(LOOK_AGAIN_S)
