"""Who is let in when there is too much to do: first what ends work that runs, or keeps it.

What is measured is how long work waits: for its turn on the event loop, and for its transaction. A
wait that stays too long is answered by turning away the lower ranks at once, before anything is
read or stored for them, with the time after which they may ask again. After CoDel (RFC 8289): a
burst may wait, a standing queue may not.
"""

import asyncio
from collections.abc import Awaitable, Callable
from enum import IntEnum
from typing import Final

from shared.errors import Overloaded

BURST_S: Final = 0.1  # for so long a wait may be too long before anybody is turned away
ALERT_S: Final = 1.0  # after that, for so long no wait may be
CALM_S: Final = 10.0  # not having had to turn anybody away for so long begins anew
PROBE_EVERY_S: Final = 0.001
FIRST_RETRY_S: Final = 1.0
LONGEST_RETRY_S: Final = 5.0
BODIES_BYTES: Final = 96 * 1024 * 1024  # of messages that are being read or answered, in all
PEOPLES_BYTES: Final = 64 * 1024 * 1024  # the rest is for workers; the largest pipeline fits


class Rank(IntEnum):
    """The lower, the sooner turned away."""

    WATCH = 0  # streams of bytes and events that people follow
    PEOPLE = 1  # submit, and all that people ask
    CLAIM = 2  # what would begin more work: claim, enrol
    VITAL = 3  # finish, heartbeat, refuse, run, and all else that work that runs depends on


# How long the loop and the store may let work wait before the rank is turned away.
LOOP_S: Final = {Rank.WATCH: 0.05, Rank.PEOPLE: 0.05, Rank.CLAIM: 0.1}
STORE_S: Final = {Rank.WATCH: 0.25, Rank.PEOPLE: 0.25, Rank.CLAIM: 0.5}
LEAST_S: Final = min(*LOOP_S.values(), *STORE_S.values())
# How many may be in progress. A claim waits for its job, and a stream goes on as long as it likes.
# Of people, so many as are served in half a second: what comes at once waits no longer than that.
AT_ONCE: Final = {Rank.WATCH: 1_000, Rank.PEOPLE: 256, Rank.CLAIM: 20_000, Rank.VITAL: 10_000}
LEAST_AT_ONCE: Final = 8  # of PEOPLE, however slow the loop: turning away must not be all it does
ALERT_AT_ONCE: Final = 64  # of PEOPLE, while somebody is turned away: no queue behind the door


class Admission:
    """The door of one service. `enter` and `leave` stand around each call."""

    def __init__(
        self,
        store_wait_s: Callable[[], float] = lambda: 0.0,
        clock: Callable[[], float] | None = None,
        commit_ended: Callable[[], Awaitable[object]] | None = None,
    ) -> None:
        """`store_wait_s`: how long the oldest write has waited. `commit_ended` returns when the
        transaction that is under way has ended. `clock`: else the loop's own."""
        self._store_wait_s = store_wait_s
        self._commit_ended = commit_ended
        self._clock = clock or (lambda: asyncio.get_running_loop().time())
        self._loop_wait_s = 0.0
        self._probe_at = float("-inf")
        self.is_slow = False  # so that, as a rule, nothing more is looked at
        self._too_long_since = dict[Rank, float | None].fromkeys(LOOP_S)
        self._in_progress = [0] * len(Rank)
        self._held_bytes = 0
        self._shed_since = self._shed_at = float("-inf")

    def enter(self, rank: Rank) -> None:
        """The call may go on, and has to `leave`. Overloaded: not now."""
        now = self._clock()
        if now >= self._probe_at:
            self._probe(now)
        self._look(now)
        if self.is_slow and rank in LOOP_S and self._is_too_slow(rank, now):
            raise self._turn_away(f"work waits for {self.wait_s:.2g} s", now)
        if self._in_progress[rank] >= AT_ONCE[rank]:
            raise self._turn_away(f"{AT_ONCE[rank]} calls of this kind are in progress", now)
        self._in_progress[rank] += 1

    async def turn(self, rank: Rank) -> None:
        """Where there is too much to do, the transaction that was under way has ended.

        Requests contend with it for the interpreter, and it takes a fifth longer. So those that
        were let in wait, and share a later one.
        """
        if self.is_slow and rank is Rank.PEOPLE and self._commit_ended is not None:
            await self._commit_ended()

    def leave(self, rank: Rank) -> None:
        self._in_progress[rank] -= 1

    def hold(self, size_bytes: int, rank: Rank) -> None:
        """So much more of a message is in memory, until it is let go. Overloaded: no more."""
        limit = BODIES_BYTES if rank >= Rank.CLAIM else PEOPLES_BYTES
        if self._held_bytes + size_bytes > limit:
            raise self._turn_away(f"{limit} bytes of messages are being read", self._clock())
        self._held_bytes += size_bytes

    def let_go(self, size_bytes: int) -> None:
        self._held_bytes -= size_bytes

    @property
    def wait_s(self) -> float:
        """How long work waits before anything is done about it."""
        return max(self._loop_wait_s, self._store_wait_s())

    def _is_too_slow(self, rank: Rank, now: float) -> bool:
        is_alert = now - self._shed_at < ALERT_S
        if is_alert and rank is Rank.PEOPLE and self._in_progress[rank] >= ALERT_AT_ONCE:
            return True
        if (
            rank is Rank.PEOPLE
            and self._in_progress[rank] < LEAST_AT_ONCE
            and self._store_wait_s() <= STORE_S[rank]
        ):
            return False
        since = self._too_long_since[rank]
        return since is not None and (is_alert or now - since >= BURST_S)

    def _turn_away(self, why: str, now: float) -> Overloaded:
        if now - self._shed_at > CALM_S:
            self._shed_since = now
        self._shed_at = now
        after_s = min(LONGEST_RETRY_S, FIRST_RETRY_S + (now - self._shed_since) / CALM_S)
        return Overloaded(f"too much to do: {why}", retry_after_s=round(after_s))

    def _probe(self, now: float) -> None:
        """The loop's wait is measured: what is due now is done after all that was due before."""
        self._probe_at = float("inf")
        asyncio.get_running_loop().call_soon(self._probed, now)

    def _probed(self, asked_at: float) -> None:
        now = self._clock()
        self._loop_wait_s = now - asked_at
        self._probe_at = now + PROBE_EVERY_S

    def _look(self, now: float) -> None:
        """Since when work has waited too long, for each rank."""
        loop_s, store_s = self._loop_wait_s, self._store_wait_s()
        is_slow = loop_s > LEAST_S or store_s > LEAST_S or now - self._shed_at < ALERT_S
        if not is_slow and not self.is_slow:
            return
        self.is_slow = is_slow
        for rank, since in self._too_long_since.items():
            if loop_s <= LOOP_S[rank] and store_s <= STORE_S[rank]:
                self._too_long_since[rank] = None
            elif since is None:
                self._too_long_since[rank] = now
