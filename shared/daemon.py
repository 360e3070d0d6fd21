"""How a process of services lives: start its parts, serve until told to stop or until one fails."""

import asyncio
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, Protocol, runtime_checkable

import structlog

from shared.collector import spare_the_collector

LISTENED_TO: Final = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP})

log = structlog.get_logger()


class Part(Protocol):
    """Anything with a life of its own: a service, a server, a worker."""

    async def start(self) -> None: ...

    async def stop(self) -> None:
        """Safe to call when start failed half-way or was never called."""


@runtime_checkable
class Fallible(Protocol):
    """A part that can die by itself; then its `failure` has the exception."""

    @property
    def failure(self) -> asyncio.Future[None]: ...


class Signals:
    """What the outside world asked for so far."""

    def __init__(self) -> None:
        self.stop = asyncio.Event()  # SIGTERM or SIGINT: end in good order
        self.hurry = asyncio.Event()  # a second one: end now
        self.again = asyncio.Event()  # SIGHUP, where it is listened to: begin anew

    def receive(self) -> None:
        (self.hurry if self.stop.is_set() else self.stop).set()


@contextmanager
def listening_to_signals(*, begins_anew: bool = False) -> Iterator[Signals]:
    """SIGTERM and SIGINT only set events, until the block is left; SIGHUP, too, if wanted.

    After a wish to begin anew, those that come later wait for the successor, whom they would end
    before it listens.
    """
    loop = asyncio.get_running_loop()
    signals = Signals()
    calls = {signal.SIGTERM: signals.receive, signal.SIGINT: signals.receive}
    if begins_anew:
        calls[signal.SIGHUP] = signals.again.set
    for number, call in calls.items():
        loop.add_signal_handler(number, call)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, LISTENED_TO)
    try:
        yield signals
    finally:
        if signals.again.is_set():
            _leave_to_successor(loop, calls)
        else:
            for number in calls:
                loop.remove_signal_handler(number)


def _leave_to_successor(loop: asyncio.AbstractEventLoop, numbers: Iterable[int]) -> None:
    """Signals wait: exec(3) keeps the mask of the thread that calls it, and what is pending there.

    The kernel hands them to the other threads meanwhile, which do not block them: sent on.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, LISTENED_TO)
    for number in numbers:
        loop.add_signal_handler(number, signal.pthread_kill, threading.get_ident(), number)


async def run_until_signalled(
    parts: Sequence[Part], started: Callable[[], None] = lambda: None
) -> None:
    """The parts were started in order, served until SIGTERM or SIGINT, and stopped in reverse.

    Raises what a part failed with. A second signal ends the stopping, too.
    """
    with listening_to_signals() as signals:
        running: list[Part] = []
        try:
            for part in parts:
                running.append(part)
                await part.start()
            spare_the_collector()
            started()
            await until(signals.stop, parts)
        finally:
            async with asyncio.TaskGroup() as group:
                stopping = group.create_task(_stop(running), name="stop")
                hurry = group.create_task(signals.hurry.wait(), name="hurry")
                both: list[asyncio.Task[Any]] = [stopping, hurry]
                await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
                stopping.cancel()
                hurry.cancel()


async def until(event: asyncio.Event, parts: Sequence[object]) -> None:
    """`event` is set. Raises what one of the parts failed with, should that come first."""
    failures = [part.failure for part in parts if isinstance(part, Fallible)]
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(event.wait(), name="until")
        watched: list[asyncio.Future[Any]] = [waiting, *failures]
        await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
    for failure in failures:
        if failure.done():
            failure.result()


async def _stop(running: list[Part]) -> None:
    while running:
        part = running.pop()
        try:
            await part.stop()
        except Exception:
            log.exception("part.stop_failed", part=type(part).__name__)
