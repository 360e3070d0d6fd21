"""Calls that gather while others are under way travel together.

Natural batching, as in the store: an idle line adds no delay, a busy one carries many calls in
one request, and so costs both ends a fraction of the work. No task is needed for it: whoever
finds the line free sends, for itself and for all who wait.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Generic, TypeVar

from shared.errors import Unavailable

Q = TypeVar("Q")
A = TypeVar("A")

MAX_FLYING: Final = 2  # requests at once: one is read while the other is written


class Seat(Generic[Q, A]):
    """A call that waits. Its turn comes with an answer, or with None: send, you are first."""

    def __init__(self, call: Q) -> None:
        self.call = call
        self.turn: asyncio.Future[A | Exception | None] = asyncio.get_running_loop().create_future()


class Together(Generic[Q, A]):
    """`send` takes up to `max_calls` calls and gives as many answers; an error may be one."""

    def __init__(
        self, send: Callable[[Sequence[Q]], Awaitable[Sequence[A | Exception]]], max_calls: int
    ) -> None:
        self._send = send
        self._max_calls = max_calls
        self._flying = 0
        self._waiting: list[Seat[Q, A]] = []

    async def call(self, call: Q) -> A:
        """The answer to `call`, or the error that is its answer."""
        mine = Seat[Q, A](call)
        if self._flying < MAX_FLYING:
            return _unpacked(await self._fly([mine]))
        self._waiting.append(mine)
        try:
            answer = await mine.turn
        except asyncio.CancelledError:
            if mine in self._waiting:
                self._waiting.remove(mine)
            if mine.turn.done() and not mine.turn.cancelled():
                self._next()  # it was to send for the others: somebody else must
            raise
        if answer is not None:
            return _unpacked(answer)
        self._waiting.remove(mine)
        others = [seat for seat in self._waiting if not seat.turn.done()][: self._max_calls - 1]
        self._waiting = [seat for seat in self._waiting if seat not in others]
        return _unpacked(await self._fly([mine, *others]))

    async def _fly(self, seats: list[Seat[Q, A]]) -> A | Exception:
        """The first seat's answer; the others have theirs."""
        self._flying += 1
        answers: Sequence[A | Exception] = [Unavailable("the call was broken off")] * len(seats)
        try:
            answers = await self._send([seat.call for seat in seats])
        except Exception as error:
            answers = [error] * len(seats)
        finally:
            self._flying -= 1
            for seat, answer in zip(seats[1:], answers[1:], strict=True):
                if not seat.turn.done():
                    seat.turn.set_result(answer)
            self._next()
        return answers[0]

    def _next(self) -> None:
        for seat in self._waiting:
            if self._flying >= MAX_FLYING:
                return
            if not seat.turn.done():
                seat.turn.set_result(None)
                return


def _unpacked(answer: A | Exception) -> A:
    if isinstance(answer, Exception):
        raise answer
    return answer
