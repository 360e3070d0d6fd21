"""Cuts every line by which code under simulation, or a library it uses, reaches the real world.

Our own services take clock, chance, ids and threads from `Runtime`. Libraries do not, so their
module attributes are replaced while a universe runs, and put back afterwards.
"""

import asyncio
import contextlib
import gc
import os
import random
import sqlite3
import sys
import time
import warnings
from collections.abc import Callable, Iterator, MutableMapping
from typing import Any, Final

import aiohttp.connector
import aiohttp.helpers
import aiohttp.web_app
import aiosqlite.core
import structlog
from aiohttp._websocket.writer import WebSocketWriter

import worker.outbox.journal
from simulation.loop import SimulatedLoop

EPOCH: Final = 1_800_000_000.0  # virtual time 0 on a wall clock that nobody stepped
ANSWER_S: Final = (1e-6, 5e-4)
JOURNAL_BYTES: Final = 8_192  # of a worker's: it is full again and again, and costs little to make


@contextlib.contextmanager
def simulated(loop: SimulatedLoop) -> Iterator[None]:
    """Inside, time, chance, threads and logs belong to `loop`. Afterwards it is closed."""
    chance = random.Random(f"urandom-{loop.seed}")

    def wall() -> float:
        return EPOCH + loop.current.machine.wall_s(loop.now)

    def wall_ns() -> int:
        return int(wall() * 1e9)

    def mono_ns() -> int:
        return int(loop.time() * 1e9)

    swaps: list[tuple[Any, str, Any]] = [
        (time, "time", wall),
        (time, "time_ns", wall_ns),
        (time, "monotonic", loop.time),
        (time, "monotonic_ns", mono_ns),
        (time, "perf_counter", loop.time),
        (aiohttp.connector, "monotonic", loop.time),
        (aiohttp.helpers, "_cached_current_datetime", None),
        (os, "urandom", chance.randbytes),
        (os, "fsync", _fsync_on(loop)),
        (random, "_urandom", chance.randbytes),
        (worker.outbox.journal, "boot_id", lambda: f"start-{loop.current.machine.starts}"),
        (worker.outbox.journal.Journal.__init__, "__kwdefaults__", {"size": JOURNAL_BYTES}),
        (WebSocketWriter.__init__, "__kwdefaults__", _masks_of(loop)),
        (aiosqlite.core, "SimpleQueue", _queue_on(loop)),
        (aiosqlite.core, "Thread", _NoThread),
        (sys, "unraisablehook", lambda _: None),  # sqlite and coroutines of the dead, at the end
    ]
    originals = [(owner, name, getattr(owner, name)) for owner, name, _ in swaps]
    global_chance, log_settings = random.getstate(), structlog.get_config()
    gc.disable()  # a collection at another moment runs finalisers at another step
    for owner, name, stand_in in swaps:
        setattr(owner, name, stand_in)
    random.seed(f"global-{loop.seed}")
    structlog.configure(processors=[_into_trace_of(loop)], cache_logger_on_first_use=False)
    asyncio.set_event_loop(loop)
    try:
        yield
    finally:
        asyncio.set_event_loop(None)
        loop.close()
        aiohttp.web_app._cached_build_middleware.cache_clear()  # it holds on to whole universes
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the dead have closed nothing
            gc.collect()  # their `finally` blocks run here, after the universe has ended
        gc.enable()
        structlog.configure(**log_settings)
        random.setstate(global_chance)
        for owner, name, original in originals:
            setattr(owner, name, original)


def _fsync_on(loop: SimulatedLoop) -> Callable[[int], None]:
    """Memory is no disk: which machine's folder it was that was synced is all that counts."""

    def fsync(fd: int) -> None:
        folder = loop.current.machine.folder
        if folder is not None:
            folder.sync(fd)

    return fsync


def _masks_of(loop: SimulatedLoop) -> dict[str, Any]:
    """WebSockets draw masks from a default argument, made when aiohttp was imported."""
    return {
        **(WebSocketWriter.__init__.__kwdefaults__ or {}),
        "random": random.Random(f"masks-{loop.seed}"),
    }


def _into_trace_of(loop: SimulatedLoop) -> Callable[[Any, str, MutableMapping[str, Any]], str]:
    def note(_: Any, level: str, event: MutableMapping[str, Any]) -> str:
        if loop.is_traced:
            loop.note(f"log {level} " + " ".join(f"{k}={v!r}" for k, v in event.items()))
        raise structlog.DropEvent

    return note


class _NoThread:
    """aiosqlite's thread; its work is done by the queue below."""

    def __init__(self, *_: Any, **__: Any) -> None: ...

    def start(self) -> None: ...


def _queue_on(loop: SimulatedLoop) -> type:
    """What stands in for aiosqlite's SimpleQueue: it makes the call itself, on virtual time.

    A call takes effect after a disk's delay and is answered later still, so that a kill may fall
    before the effect, or between effect and answer. Calls of one connection keep their order.
    """

    class DiskQueue:
        def __init__(self) -> None:
            self._free_at = 0.0
            self._process = loop.current

        def put_nowait(self, item: tuple[asyncio.Future[Any] | None, Callable[[], Any]]) -> None:
            if loop.is_closed():
                return  # a connection of the dead, collected after the end
            self._free_at = max(self._free_at, loop.now) + loop.chance.uniform(
                *self._process.machine.disk_s
            )
            loop.at(self._free_at, self._process, self._execute, *item)

        def _execute(self, future: asyncio.Future[Any] | None, call: Callable[[], Any]) -> None:
            if self._dies_at("store.before_call"):
                return
            try:
                result = call()
            except BaseException as error:
                answer, value = aiosqlite.core.set_exception, error
            else:
                answer, value = aiosqlite.core.set_result, result  # type: ignore[assignment]
                if isinstance(result, sqlite3.Connection):
                    self._process.at_death.append(lambda: _drop(result))
            if future is not None and not self._dies_at("store.after_call"):
                loop.after(loop.chance.uniform(*ANSWER_S), self._process, answer, future, value)

        def _dies_at(self, name: str) -> bool:
            if loop.moments is None or not loop.moments.comes(self._process, name):
                return False
            self._process.kill()
            return True

    return DiskQueue


def _drop(connection: sqlite3.Connection) -> None:
    """The operating system drops the locks of the dead; an open transaction leaves no trace.

    Rolled back first: `close` alone keeps the lock while a cursor is unfinished (close_v2).
    """
    with contextlib.suppress(sqlite3.Error):
        connection.rollback()
    with contextlib.suppress(sqlite3.Error):
        connection.close()
