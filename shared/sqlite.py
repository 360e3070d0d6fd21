"""One SQLite file, one writer, many calls per commit.

Calls that arrive while a transaction commits form the next one, so one fsync serves many and an
idle database adds no delay. The only module that knows aiosqlite.
"""

import asyncio
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

import aiosqlite

from shared.errors import Overloaded, ServiceError, StoreFailed, StoreUnusable, Unavailable
from shared.faultpoints import faultpoint
from shared.loops import Loops
from shared.runtime import Runtime
from shared.sqlite_file import configure, explain, migrate

T = TypeVar("T")

MAX_BATCH: Final = 256
MAX_WAITING: Final = 10_000  # writes
MAX_READING: Final = 10_000


@dataclass(slots=True)
class Tx:
    """One call's view of the open transaction. Lives on the database's thread."""

    conn: sqlite3.Connection
    now_us: int  # wall clock, for records
    mono: float  # monotonic clock of the service, for deadlines
    new_id: Callable[[], str]
    _after_commit: list[Callable[[], None]] = field(default_factory=list)

    def after_commit(self, call: Callable[[], None]) -> None:
        """Have `call` made on the event loop once this transaction is durable."""
        self._after_commit.append(call)


Call = Callable[[Tx], Any]


class _Waiting(NamedTuple):
    call: Call
    answer: "asyncio.Future[Any]"
    since: float


class Database:
    """`write` and `read` with functions that run on the database's own thread.

    A write whose function raises leaves no trace and does not disturb the calls that share its
    transaction. After an I/O error nothing is acknowledged any more: `failure` is set, every
    call raises StoreFailed, and recovery is at the next start. (An fsync that failed is never
    tried again: the kernel may have dropped the dirty pages. Rebello et al., ATC 2020.)
    """

    def __init__(
        self,
        path: Path,
        *,
        migrations: Traversable,
        runtime: Runtime,
        name: str,
        before_commit: Callable[[Tx], None] | None = None,
    ) -> None:
        self._path = path
        self._migrations = migrations
        self._runtime = runtime
        self._name = name
        self._before_commit = before_commit
        self._waiting: list[_Waiting] = []
        self._reading = 0
        self._wake = asyncio.Event()
        self._rests = asyncio.Event()
        self._rests.set()
        self._loops = Loops(runtime)
        self._loops.add(f"{name}.writer", self._write_batches)
        self._writer: aiosqlite.Connection | None = None
        self._reader: aiosqlite.Connection | None = None
        self._failed: StoreFailed | None = None

    @property
    def failure(self) -> "asyncio.Future[None]":
        return self._loops.failure

    @property
    def wait_s(self) -> float:
        """How long the oldest of the writes has waited that no transaction has taken up."""
        return self._runtime.mono() - self._waiting[0].since if self._waiting else 0.0

    async def commit_ended(self) -> None:
        """The transaction that was under way has ended; the next may have begun."""
        await self._rests.wait()

    async def start(self) -> None:
        """The file is open and its schema is the newest. StoreUnusable says what is in the way."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._writer = await _connect(self._path)
            await _call(self._writer, lambda conn: migrate(conn, self._migrations))
            self._reader = await _connect(self._path)
        except (sqlite3.Error, OSError, StoreUnusable) as error:
            await self.stop()
            if isinstance(error, StoreUnusable):
                raise StoreUnusable(f"{self._path}: {error}", path=str(self._path)) from None
            raise StoreUnusable(f"{self._path}: {explain(error)}", path=str(self._path)) from None
        await self._loops.start()

    async def stop(self) -> None:
        """The file is closed; what was acknowledged is in it."""
        await self._loops.stop()
        for conn in (self._reader, self._writer):
            if conn is not None:
                await conn.close()
        self._reader = self._writer = None
        self._refuse_waiting(StoreFailed(f"{self._name} store is closed", service=self._name))

    async def write(self, call: Callable[[Tx], T], *, must: bool = False) -> T:
        """What `call` returned, once its effects are durable.

        Overloaded: too many wait. Not for what `must` be written, as nobody would ask again.
        """
        if self._failed is not None or self._writer is None:
            raise self._failed or StoreFailed(f"{self._name} store is closed", service=self._name)
        if len(self._waiting) >= MAX_WAITING and not must:
            raise Overloaded(
                f"{self._name} store has {MAX_WAITING} writes waiting", retry_after_s=1
            )
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(call, future, self._runtime.mono()))
        self._wake.set()
        return await future

    async def read(self, call: Callable[[sqlite3.Connection], T]) -> T:
        """What `call` returned, from the newest committed state. Overloaded: too many read."""
        if self._failed is not None or self._reader is None:
            raise self._failed or StoreFailed(f"{self._name} store is closed", service=self._name)
        if self._reading >= MAX_READING:
            raise Overloaded(f"{self._name} store has {MAX_READING} reads waiting", retry_after_s=1)
        self._reading += 1
        try:
            return await _call(self._reader, call)
        finally:
            self._reading -= 1

    # -- the writer ---------------------------------------------------------------------------

    async def _write_batches(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                batch, self._waiting = self._waiting[:MAX_BATCH], self._waiting[MAX_BATCH:]
                self._rests.clear()
                try:
                    await self._commit(batch)
                except BaseException:  # also when stopped: whether it is durable is not known
                    stopped = StoreFailed(f"{self._name} store stopped", service=self._name)
                    for one in batch:
                        _settle(one.answer, stopped)
                    raise
                finally:
                    self._rests.set()

    async def _commit(self, batch: list[_Waiting]) -> None:
        assert self._writer is not None
        now = self._runtime.now()
        tx_of = {
            "now_us": int(now.timestamp() * 1_000_000),
            "mono": self._runtime.mono(),
            "new_id": self._runtime.new_id,
        }
        calls = [one.call for one in batch]
        try:
            await faultpoint(f"{self._name}.store.before_commit")
            outcomes, after_commit = await _call(
                self._writer, lambda conn: _run_batch(conn, calls, tx_of, self._before_commit)
            )
        except Unavailable as error:  # a fault: nothing was written, and what comes next may be
            for one in batch:
                _settle(one.answer, error)
            return
        except (sqlite3.Error, OSError) as error:
            self._failed = StoreFailed(
                f"{self._name} store failed: {explain(error)}", service=self._name
            )
            for one in batch:
                _settle(one.answer, self._failed)
            self._refuse_waiting(self._failed)
            raise self._failed from error
        try:
            await faultpoint(f"{self._name}.store.after_commit")
        except Unavailable as error:  # a fault: it is durable, and nobody hears of it
            outcomes = [error] * len(batch)
        for call in after_commit:
            call()
        for one, outcome in zip(batch, outcomes, strict=True):
            _settle(one.answer, outcome)

    def _refuse_waiting(self, error: ServiceError) -> None:
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            _settle(one.answer, error)


class _Raised:
    """An exception that a call raised, on its way to the caller."""

    def __init__(self, error: BaseException) -> None:
        self.error = error


def _run_batch(
    conn: sqlite3.Connection,
    calls: list[Call],
    tx_of: dict[str, Any],
    before_commit: Callable[[Tx], None] | None,
) -> tuple[list[Any], list[Callable[[], None]]]:
    outcomes: list[Any] = []
    after_commit: list[Callable[[], None]] = []
    conn.execute("BEGIN IMMEDIATE")
    try:
        for call in calls:
            tx = Tx(conn, **tx_of)
            conn.execute("SAVEPOINT one_call")
            try:
                outcomes.append(call(tx))
                after_commit += tx._after_commit
            except sqlite3.OperationalError:
                raise  # the disk, not the call
            except Exception as error:
                conn.execute("ROLLBACK TO one_call")
                outcomes.append(_Raised(error))
            conn.execute("RELEASE one_call")
        if before_commit is not None:
            tx = Tx(conn, **tx_of)
            before_commit(tx)
            after_commit += tx._after_commit
        conn.execute("COMMIT")
    except BaseException:
        if conn.in_transaction:
            conn.execute("ROLLBACK")
        raise
    return outcomes, after_commit


def _settle(future: "asyncio.Future[Any]", outcome: Any) -> None:
    if future.done():  # the caller is gone; the effect stands
        return
    if isinstance(outcome, _Raised):
        future.set_exception(outcome.error)
    elif isinstance(outcome, ServiceError):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)


async def _call(conn: aiosqlite.Connection, call: Callable[[sqlite3.Connection], T]) -> T:
    """Run `call` on the connection's thread.

    aiosqlite offers one thread hop per statement; a whole batch in one hop is what makes a
    transaction cheap, and its dispatcher is not public. `constraints.txt` pins the version.
    """
    result: T = await conn._execute(call, conn._conn)  # type: ignore[no-untyped-call]  # as above
    return result


async def _connect(path: Path) -> aiosqlite.Connection:
    conn = await aiosqlite.connect(path, isolation_level=None, timeout=0)
    try:
        await _call(conn, configure)
    except BaseException:
        await conn.close()  # or its thread would keep this process alive
        raise
    return conn
