"""The one loop in which everything is waited for that jobs wait for without a worker.

Timers are two heaps, one for each clock; the ends of runs and jobs are told by the store's
commits; files and servers are looked at once for all who wait for the same. Ten thousand that
wait cost what is looked at, and a few hundred bytes each.

What it knows is fed by commits, and read anew at its start. Whatever comes about is one
compare-and-set in the store: it may come about twice, and be told twice, and counts once.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Final, NamedTuple, Protocol, TypeVar

import structlog
from pydantic import JsonValue

from jobstore.store.defer import Fired, Lapsed
from jobstore.store.journal import ENDS, Change, from_us
from jobstore.triggers import rows
from jobstore.triggers.kinds import (
    BadTrigger,
    Callback,
    Delta,
    File,
    Http,
    Job,
    Question,
    Run,
    Time,
    Trigger,
    read_trigger,
)
from jobstore.triggers.looks import Looks
from jobstore.triggers.ports import Outside
from jobstore.triggers.rows import Waiting
from shared.deadlines import Deadlines
from shared.errors import ServiceError
from shared.loops import Loops
from shared.protocol.execution import Connection, TriggerSpec
from shared.protocol.states import RunStatus
from shared.runtime import Runtime
from shared.sqlite import Database

log = structlog.get_logger()
T = TypeVar("T")

LOOK_EVERY_S: Final = 0.2
AT_ONCE: Final = 500  # of those that are read, or written, in one call

End = tuple[int, str | None]  # a run, and a job of it or None
_SLEEPS: Final = ("job.deferred", "job.rescheduled")
_WAKES: Final = ENDS | {"job.resumed", "job.retrying"}
_RUN_ENDS: Final = frozenset(f"run.{status}" for status in RunStatus if status.is_ended)


class Store(Protocol):
    """What the triggerer tells."""

    async def wake_up(self, fired: Sequence[Fired]) -> None: ...

    async def give_up_waiting(self, lapsed: Sequence[Lapsed]) -> None: ...


class _Armed(NamedTuple):
    """One who waits, as far as it has to be remembered."""

    fence: int
    run_id: int
    end: End | None = None  # for which it waits
    poll: str | None = None


class Triggerer:
    """Waits, while it is started. One for each database."""

    def __init__(
        self,
        store: Store,
        database: Database,
        outside: Outside,
        connection: Callable[[str], Awaitable[Connection]],
        runtime: Runtime,
    ) -> None:
        self._store = store
        self._db = database
        self._runtime = runtime
        self._new: dict[int, None] = {}  # who is to be read
        self._reading: set[int] = set()  # and has not woken since
        self._armed: dict[int, _Armed] = {}
        self._by_wall: Deadlines[int] = Deadlines()  # seconds of the Unix epoch
        self._by_mono: Deadlines[int] = Deadlines()
        self._timeouts: Deadlines[int] = Deadlines()
        self._ends: dict[End, set[int]] = {}
        self._ended: dict[End, None] = {}  # of those: who waits for them is to be told
        self._looks = Looks(outside, connection, runtime)
        self._is_started = False
        self._looking = asyncio.Lock()
        self._loops = Loops(runtime)
        self._loops.add("jobstore.triggerer", self._work)

    def __len__(self) -> int:
        """How many wait."""
        return len(self._armed)

    @property
    def failure(self) -> "asyncio.Future[None]":
        return self._loops.failure

    async def start(self) -> None:
        """What jobs wait for is waited for; what came about meanwhile comes about now."""
        self._is_started = True
        self._new.update(dict.fromkeys(await self._db.read(rows.every)))
        await self._loops.start()

    async def stop(self) -> None:
        self._is_started = False
        await self._loops.stop()
        await self._looks.close()

    def note(self, changes: Iterable[Change]) -> None:
        """Who went to sleep, and who woke or ended, was committed."""
        if not self._is_started:
            return
        for change in changes:
            event, seq = change.event, change.job_seq
            if seq is not None:
                if event.kind in _SLEEPS:
                    self._new[seq] = None
                elif event.kind in _WAKES:
                    self._new.pop(seq, None)
                    self._reading.discard(seq)
                    self._disarm(seq)
            if self._ends:
                end: End | None = None
                if event.kind in _RUN_ENDS:
                    end = (event.run_id, None)
                elif event.job_id is not None and event.kind in ENDS:
                    end = (event.run_id, event.job_id)
                if end is not None and end in self._ends:
                    self._ended[end] = None

    def last_looks(self, run_id: int) -> Mapping[int, str]:
        """What was seen the last time, by queue place, where something is looked at."""
        return {
            seq: said
            for key, said in self._looks.said()
            for seq in self._looks.who(key)
            if self._armed[seq].run_id == run_id
        }

    async def look_once(self) -> None:
        """Whatever came about has been told."""
        async with self._looking:
            await self._look()

    # -- details -------------------------------------------------------------------------------

    async def _look(self) -> None:
        while self._new:
            some = list(self._new)[:AT_ONCE]
            for seq in some:
                del self._new[seq]
            self._reading = set(some)
            for waiting in await self._db.read(partial(rows.find, seqs=some)):
                if waiting.job_seq in self._reading:
                    await self._arm(waiting)
        now = self._runtime.now()
        moment: JsonValue = {"at": now.isoformat()}
        while due := self._by_wall.take_due(now.timestamp(), AT_ONCE):
            await self._fire(due, moment)
        while due := self._by_mono.take_due(self._runtime.mono(), AT_ONCE):
            await self._fire(due, moment)
        while due := self._timeouts.take_due(self._runtime.mono(), AT_ONCE):
            await self._lapse(due, "what it waited for did not come about in time", is_late=True)
        while self._ended:
            end = next(iter(self._ended))
            del self._ended[end]
            await self._look_at_end(end)
        await self._take_looks()

    async def _work(self) -> None:
        async with asyncio.TaskGroup() as group:
            while True:
                try:
                    await self.look_once()
                    self._looks.go_on(group)
                except ServiceError as error:
                    if not error.retryable:
                        raise
                    log.warning("loop.hindered", loop="jobstore.triggerer", error=error.code)
                await self._runtime.sleep(LOOK_EVERY_S)

    async def _arm(self, waiting: Waiting) -> None:
        """What it waits for is waited for; or it has come about already, or never can."""
        seq = waiting.job_seq
        self._disarm(seq)
        self._armed[seq] = _Armed(waiting.fence, waiting.run_id)
        try:
            spec = TriggerSpec(kind=waiting.kind, params=json.loads(waiting.params))
            trigger = read_trigger(spec)
        except BadTrigger as bad:  # of another version of this program
            await self._lapse([seq], str(bad))
            return
        slept_s = (self._runtime.now() - from_us(waiting.since)).total_seconds()
        if waiting.timeout_s is not None:
            self._timeouts.arm(seq, self._in(waiting.timeout_s, slept_s))
        await self._await(waiting, trigger, slept_s)

    async def _await(self, waiting: Waiting, trigger: Trigger, slept_s: float) -> None:
        seq = waiting.job_seq
        match trigger:
            case Time():
                self._by_wall.arm(seq, trigger.at.timestamp())
            case Delta():
                self._by_mono.arm(seq, self._in(trigger.seconds, slept_s))
            case Run():
                await self._await_end(waiting, (trigger.run_id, None))
            case Job():
                run_id = trigger.run_id or waiting.run_id
                await self._await_end(waiting, (run_id, trigger.job_id))
            case File() | Http():
                key = self._looks.add(trigger, seq)
                self._armed[seq] = self._armed[seq]._replace(poll=key)
            case Callback():
                await self._await_callback(waiting, trigger)
            case Question():
                pass  # who answers wakes it

    def _in(self, seconds: float, slept_s: float) -> float:
        """When it is due, on the monotonic clock. A clock that was put back or forward while the
        service was down makes it neither longer than it was nor less than nothing."""
        return self._runtime.mono() + min(max(seconds - slept_s, 0.0), seconds)

    async def _await_end(self, waiting: Waiting, end: End) -> None:
        if end in ((waiting.run_id, None), (waiting.run_id, waiting.job_id)):
            own = "its own run" if end[1] is None else "itself"
            await self._lapse([waiting.job_seq], f"a task cannot wait for the end of {own}")
            return
        self._armed[waiting.job_seq] = self._armed[waiting.job_seq]._replace(end=end)
        self._ends.setdefault(end, set()).add(waiting.job_seq)
        await self._look_at_end(end)  # it may have ended before

    async def _look_at_end(self, end: End) -> None:
        run_id, job_id = end
        seqs = list(self._ends.get(end, ()))
        if job_id is None:
            seen = await self._db.read(partial(rows.look_at_run, run_id=run_id))
        else:
            seen = await self._db.read(partial(rows.look_at_job, run_id=run_id, job_id=job_id))
        if not seen.is_known:
            what = f"run {run_id}" if job_id is None else f"job {job_id!r} in run {run_id}"
            await self._lapse(seqs, f"there is no {what} to wait for")
        elif seen.event is not None:
            await self._fire(seqs, seen.event)

    async def _await_callback(self, waiting: Waiting, trigger: Callback) -> None:
        posted = await self._db.read(partial(rows.find_callback, callback_id=trigger.callback_id))
        if posted is None or posted.job_seq != waiting.job_seq:
            await self._lapse([waiting.job_seq], "it waits for a callback that it did not ask for")
        elif posted.event is not None:
            await self._fire([waiting.job_seq], json.loads(posted.event))

    async def _take_looks(self) -> None:
        """What was seen since the last time."""
        for key, event in self._looks.take_met():
            await self._fire(self._looks.who(key), event)
        for key, why in self._looks.take_forbidden():
            await self._lapse(self._looks.who(key), why)

    async def _fire(self, seqs: Sequence[int], event: JsonValue) -> None:
        fired = [Fired(seq, self._armed[seq].fence, event) for seq in seqs if seq in self._armed]
        for some in _cut(fired):
            await self._store.wake_up(some)
            self._forget(some)

    async def _lapse(self, seqs: Sequence[int], why: str, *, is_late: bool = False) -> None:
        lapsed = [
            Lapsed(seq, self._armed[seq].fence, why, is_late) for seq in seqs if seq in self._armed
        ]
        for some in _cut(lapsed):
            await self._store.give_up_waiting(some)
            self._forget(some)

    def _forget(self, told: Sequence[Fired | Lapsed]) -> None:
        """Usually the commit did; not where the store knew already that they wait no more."""
        for one in told:
            armed = self._armed.get(one.job_seq)
            if armed is not None and armed.fence == one.fence:
                self._disarm(one.job_seq)

    def _disarm(self, seq: int) -> None:
        armed = self._armed.pop(seq, None)
        if armed is None:
            return
        for deadlines in (self._by_wall, self._by_mono, self._timeouts):
            deadlines.disarm(seq)
        if armed.end is not None and (others := self._ends.get(armed.end)) is not None:
            others.discard(seq)
            if not others:
                del self._ends[armed.end]
        if armed.poll is not None:
            self._looks.remove(armed.poll, seq)


def _cut(many: list[T]) -> Iterable[list[T]]:
    """In pieces that do not hold up what else is written."""
    return (many[start : start + AT_ONCE] for start in range(0, len(many), AT_ONCE))
