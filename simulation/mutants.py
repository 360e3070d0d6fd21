"""Bugs that are planted on purpose, to show that the checker would catch them.

Each is a context manager that patches the real code. A check that no planted bug can fail is
worth nothing.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final
from unittest import mock

import jobstore.store.expire
import jobstore.store.finish
import jobstore.store.run
import shared.sqlite
from jobstore.states import ATTEMPT, AttemptEvent, after
from jobstore.store.claim import Held, find_attempt
from jobstore.store.work import Work
from shared.faultpoints import faultpoint
from shared.protocol.states import AttemptStatus
from shared.sqlite import Database


@contextmanager
def fence_not_checked() -> Iterator[None]:
    """An attempt that lapsed or was lost is served as if it still held the job."""
    revived = {
        AttemptStatus.LAPSED: AttemptStatus.CLAIMED,
        AttemptStatus.LOST: AttemptStatus.RUNNING,
    }

    def find(work: Work, attempt_id: str) -> Held:
        held = find_attempt(work, attempt_id)
        return held._replace(status=revived.get(held.status, held.status))

    def move(
        work: Work, attempt_id: str, status: AttemptStatus, event: AttemptEvent, **columns: object
    ) -> None:
        names = "".join(f", {name} = ?" for name in columns)
        work.conn.execute(
            f"UPDATE attempt SET status = ?{names} WHERE id = ?",
            (after(ATTEMPT, status, event), *columns.values(), attempt_id),
        )

    with (
        mock.patch.object(jobstore.store.expire, "find_attempt", find),
        mock.patch.object(jobstore.store.expire, "move_attempt", move),
        mock.patch.object(jobstore.store.finish, "find_attempt", find),
        mock.patch.object(jobstore.store.finish, "move_attempt", move),
        mock.patch.object(jobstore.store.run, "find_attempt", find),
        mock.patch.object(jobstore.store.run, "move_attempt", move),
    ):
        yield


@contextmanager
def reply_before_commit() -> Iterator[None]:
    """Callers hear of their write when it was made, and only then it is committed."""
    run_batch, settle = shared.sqlite._run_batch, shared.sqlite._settle

    async def commit(self: Database, batch: list[tuple[Any, Any]]) -> None:
        writer = self._writer
        assert writer is not None
        now = self._runtime.now()
        tx_of = {
            "now_us": int(now.timestamp() * 1_000_000),
            "mono": self._runtime.mono(),
            "new_id": self._runtime.new_id,
        }
        calls = [call for call, _ in batch]

        def make(conn: sqlite3.Connection) -> Any:
            return run_batch(_Uncommitted(conn), calls, tx_of, self._before_commit)  # type: ignore[arg-type]  # a stand-in

        outcomes, after_commit = await shared.sqlite._call(writer, make)
        for call in after_commit:
            call()
        for (_, future), outcome in zip(batch, outcomes, strict=True):
            settle(future, outcome)
        await faultpoint(f"{self._name}.store.before_commit")
        await shared.sqlite._call(writer, lambda conn: conn.execute("COMMIT"))

    with mock.patch.object(Database, "_commit", commit):
        yield


class _Uncommitted:
    """A connection on which COMMIT is put off."""

    def __init__(self, conn: sqlite3.Connection) -> None:
        self._conn = conn

    def execute(self, sql: str, *arguments: Any) -> Any:
        return None if sql == "COMMIT" else self._conn.execute(sql, *arguments)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._conn, name)


MUTANTS: Final = {
    "fence_not_checked": fence_not_checked,
    "reply_before_commit": reply_before_commit,
}
