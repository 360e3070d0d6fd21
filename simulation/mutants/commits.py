"""Bugs in what is durable when: an answer before its commit, one write made two."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import shared.sqlite
from jobstore.store.finish import Accepted, Late
from jobstore.store.sqlite import SqliteJobStore
from jobstore.store.work import Work
from shared.faultpoints import faultpoint
from shared.protocol.gateway import FinishRequest
from shared.protocol.states import AttemptStatus
from shared.sqlite import Database


@contextmanager
def reply_before_commit() -> Iterator[None]:
    """Callers hear of their write when it was made, and only then it is committed."""
    run_batch, settle = shared.sqlite._run_batch, shared.sqlite._settle

    async def commit(self: Database, batch: list[Any]) -> None:
        writer = self._writer
        assert writer is not None
        now = self._runtime.now()
        tx_of = {
            "now_us": int(now.timestamp() * 1_000_000),
            "mono": self._runtime.mono(),
            "new_id": self._runtime.new_id,
        }
        calls = [one.call for one in batch]

        def make(conn: sqlite3.Connection) -> Any:
            return run_batch(_Uncommitted(conn), calls, tx_of, self._before_commit)  # type: ignore[arg-type]  # a stand-in

        outcomes, after_commit = await shared.sqlite._call(writer, make)
        for call in after_commit:
            call()
        for one, outcome in zip(batch, outcomes, strict=True):
            settle(one.answer, outcome)
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


@contextmanager
def finish_in_two_commits() -> Iterator[None]:
    """The result is committed first, and what artifacts there are in a transaction after it."""
    finish = SqliteJobStore.finish

    async def in_two(
        self: SqliteJobStore, ask: FinishRequest, *, log_inline: bytes | None, max_lost: int
    ) -> Accepted | Late:
        before = await self.attempt_state(ask.attempt_id)
        bare = ask.model_copy(update={"artifacts": ()})
        accepted = await finish(self, bare, log_inline=log_inline, max_lost=max_lost)

        def list_artifacts(work: Work) -> None:
            work.conn.executemany(
                "INSERT OR IGNORE INTO artifact (attempt_id, path, size_bytes, sha256)"
                " VALUES (?, ?, ?, ?)",
                [(ask.attempt_id, a.path, a.size_bytes, a.sha256) for a in ask.artifacts],
            )

        if isinstance(accepted, Accepted) and before != AttemptStatus.REPORTED:
            await self._write(list_artifacts)
        return accepted

    with mock.patch.object(SqliteJobStore, "finish", in_two):
        yield


MUTANTS = (reply_before_commit, finish_in_two_commits)
