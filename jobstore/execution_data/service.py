"""`Execution`: what running tasks ask of their run. Every request is checked against its lease."""

import sqlite3
from functools import partial
from typing import Any, Final

from pydantic_core import from_json, to_json

from jobstore.artifacts import Artifacts
from jobstore.execution_data import rows
from jobstore.execution_data.vault import Vault
from jobstore.leases import Lease, LeaseBook
from shared.errors import (
    StaleFence,
    TooLarge,
    UnknownAttempt,
    UnknownBundle,
    UnknownConnection,
    UnknownVariable,
)
from shared.protocol import execution as e
from shared.services import Body
from shared.sqlite import Database, Tx

MOST_OF_A_SLICE: Final = e.MAX_LISTED


class ExecutionService:
    """XComs, variables, connections and bundles, in the tables beside those of the jobs."""

    def __init__(
        self, database: Database, artifacts: Artifacts, leases: LeaseBook, vault: Vault
    ) -> None:
        self._db = database
        self._artifacts = artifacts
        self._leases = leases
        self._vault = vault

    # -- variables -------------------------------------------------------------------------------

    async def get_variable(self, scope: e.Scope, ask: e.GetVariable) -> e.Variable:
        await self._lease(scope)
        row = await self._row("SELECT sealed, is_secret FROM variable WHERE key = ?", ask.key)
        if row is None:
            raise UnknownVariable(f"there is no variable {ask.key!r}", key=ask.key)
        return e.Variable(key=ask.key, value=self._vault.open(row[0]), is_secret=bool(row[1]))

    async def set_variable(self, scope: e.Scope, ask: e.SetVariable) -> None:
        await self._lease(scope)
        sealed = self._vault.seal(ask.value)
        await self._write(
            "INSERT INTO variable (key, sealed, description, is_secret) VALUES (?, ?, ?, ?)"
            " ON CONFLICT (key) DO UPDATE SET sealed = excluded.sealed,"
            " description = excluded.description, is_secret = excluded.is_secret",
            *(ask.key, sealed, ask.description, ask.is_secret),
        )

    async def delete_variable(self, scope: e.Scope, ask: e.DeleteVariable) -> None:
        await self._lease(scope)
        await self._write("DELETE FROM variable WHERE key = ?", ask.key)

    async def list_variables(self, scope: e.Scope, ask: e.ListVariables) -> e.Keys:
        await self._lease(scope)
        return await self._keys("variable", "key", ask)

    # -- connections -----------------------------------------------------------------------------

    async def get_connection(self, scope: e.Scope, ask: e.GetConnection) -> e.Connection:
        await self._lease(scope)
        row = await self._row("SELECT sealed FROM connection WHERE name = ?", ask.name)
        if row is None:
            raise UnknownConnection(f"there is no connection {ask.name!r}", name=ask.name)
        return e.Connection.model_validate_json(self._vault.open(row[0]))

    async def set_connection(self, scope: e.Scope, ask: e.SetConnection) -> None:
        await self._lease(scope)
        sealed = self._vault.seal(ask.connection.model_dump_json())
        await self._write(
            "INSERT INTO connection (name, sealed) VALUES (?, ?)"
            " ON CONFLICT (name) DO UPDATE SET sealed = excluded.sealed",
            *(ask.connection.name, sealed),
        )

    async def delete_connection(self, scope: e.Scope, ask: e.DeleteConnection) -> None:
        await self._lease(scope)
        await self._write("DELETE FROM connection WHERE name = ?", ask.name)

    async def list_connections(self, scope: e.Scope, ask: e.ListConnections) -> e.Keys:
        await self._lease(scope)
        return await self._keys("connection", "name", ask)

    async def rotate_keys(self) -> int:
        """Everything is sealed with the first key, and the others are needed no more. How much."""

        def rotate(tx: Tx) -> int:
            count = 0
            for table, column in (("variable", "key"), ("connection", "name")):
                for name, sealed in tx.conn.execute(
                    f"SELECT {column}, sealed FROM {table} ORDER BY {column}"
                ).fetchall():
                    tx.conn.execute(
                        f"UPDATE {table} SET sealed = ? WHERE {column} = ?",
                        (self._vault.seal_again(sealed), name),
                    )
                    count += 1
            return count

        return await self._db.write(rotate)

    # -- XComs -----------------------------------------------------------------------------------

    async def get_xcom(self, scope: e.Scope, ask: e.GetXCom) -> e.XCom:
        lease = await self._lease(scope)

        def read(conn: sqlite3.Connection) -> str | None:
            if ask.job is None:
                return rows.find(conn, scope.attempt_id, ask.key)
            source = rows.source_of(conn, lease.run_id, ask.job)
            if source.instances is None:
                return rows.find(conn, source.attempt_id, ask.key)
            if ask.map_index is not None:
                found = source.instances[ask.map_index : ask.map_index + 1]
                return rows.find(conn, found[0], ask.key) if found else None
            whole = rows.items(conn, source, ask.key, range(len(source.instances)))
            return f"[{','.join(whole)}]"

        text = await self._db.read(read)
        if text is not None and len(text) > 2 * e.MAX_VALUE_BYTES:
            raise TooLarge(f"what {ask.job!r} left is too long for one answer: read it in slices")
        return _xcom(text)

    async def count_xcom(self, scope: e.Scope, ask: e.CountXCom) -> e.XComCount:
        lease = await self._lease(scope)
        return await self._db.read(
            lambda conn: e.XComCount(
                count=rows.length(conn, rows.source_of(conn, lease.run_id, ask.job), ask.key)
            )
        )

    async def get_xcom_item(self, scope: e.Scope, ask: e.GetXComItem) -> e.XCom:
        lease = await self._lease(scope)

        def read(conn: sqlite3.Connection) -> str | None:
            source = rows.source_of(conn, lease.run_id, ask.job)
            count = rows.length(conn, source, ask.key)
            place = ask.index + count if ask.index < 0 else ask.index
            if not 0 <= place < count:
                return None
            return rows.items(conn, source, ask.key, range(place, place + 1))[0]

        return _xcom(await self._db.read(read))

    async def get_xcom_slice(self, scope: e.Scope, ask: e.GetXComSlice) -> e.XComSlice:
        lease = await self._lease(scope)

        def read(conn: sqlite3.Connection) -> tuple[list[str], int | None]:
            source = rows.source_of(conn, lease.run_id, ask.job)
            count = rows.length(conn, source, ask.key)
            places = range(count)[ask.start : ask.stop : ask.step or None]
            some = rows.items(conn, source, ask.key, places[:MOST_OF_A_SLICE])
            size = 0
            for n, text in enumerate(some):
                size += len(text)
                if n and size > e.MAX_VALUE_BYTES:
                    some = some[:n]
                    break
            return some, places[len(some)] if len(some) < len(places) else None

        texts, next_start = await self._db.read(read)
        return e.XComSlice(values=tuple(map(from_json, texts)), next_start=next_start)

    async def set_xcom(self, scope: e.Scope, ask: e.SetXCom) -> None:
        await self._lease(scope)
        text = to_json(ask.value)
        if len(text) > e.MAX_VALUE_BYTES:
            raise TooLarge(
                f"an XCom may have {e.MAX_VALUE_BYTES} bytes", limit_bytes=e.MAX_VALUE_BYTES
            )
        await self._db.write(
            partial(rows.keep, attempt_id=scope.attempt_id, key=ask.key, value=text.decode())
        )

    async def delete_xcom(self, scope: e.Scope, ask: e.DeleteXCom) -> None:
        await self._lease(scope)
        await self._db.write(partial(rows.drop, attempt_id=scope.attempt_id, key=ask.key))

    async def list_xcoms(self, scope: e.Scope, ask: e.ListXComs) -> e.Keys:
        lease = await self._lease(scope)

        def read(conn: sqlite3.Connection) -> list[str]:
            if ask.job is None:
                return rows.keys(conn, rows.Source(scope.attempt_id, None))
            return rows.keys(conn, rows.source_of(conn, lease.run_id, ask.job))

        return e.Keys(keys=tuple(await self._db.read(read)))

    # -- bundles ---------------------------------------------------------------------------------

    async def read_bundle(self, scope: e.Scope, sha256: str) -> Body:
        lease = await self._lease(scope)
        row = await self._row(
            "SELECT 1 FROM bundle WHERE run_id = ? AND sha256 = ?", lease.run_id, sha256
        )
        if row is None:
            raise UnknownBundle(sha256=sha256)
        async for piece in self._artifacts.read(sha256):
            yield piece

    # -- details ---------------------------------------------------------------------------------

    async def _lease(self, scope: e.Scope) -> Lease:
        """UnknownAttempt, StaleFence: the attempt is not this worker's to speak for."""
        lease = self._leases.get(scope.attempt_id)
        if lease is None:
            row = await self._row("SELECT status FROM attempt WHERE id = ?", scope.attempt_id)
            if row is None:
                raise UnknownAttempt(attempt_id=scope.attempt_id)
            raise StaleFence(f"the attempt is {row[0]}", state=row[0])
        if (lease.worker_id, lease.fence) != (scope.worker_id, scope.fence) or not lease.is_running:
            raise StaleFence(state="running elsewhere" if lease.is_running else "claimed")
        return lease

    async def _keys(
        self, table: str, column: str, ask: e.ListVariables | e.ListConnections
    ) -> e.Keys:
        found = await self._db.read(
            lambda conn: conn.execute(
                f"SELECT {column} FROM {table} WHERE substr({column}, 1, ?) = ? AND {column} > ?"
                f" ORDER BY {column} LIMIT ?",
                (len(ask.prefix), ask.prefix, ask.after, ask.limit),
            ).fetchall()
        )
        return e.Keys(keys=tuple(key for (key,) in found))

    async def _row(self, query: str, *values: object) -> tuple[Any, ...] | None:
        def read(conn: sqlite3.Connection) -> tuple[Any, ...] | None:
            row: tuple[Any, ...] | None = conn.execute(query, values).fetchone()
            return row

        return await self._db.read(read)

    async def _write(self, query: str, *values: object) -> None:
        def write(tx: Tx) -> None:
            tx.conn.execute(query, values)

        await self._db.write(write)


def _xcom(text: str | None) -> e.XCom:
    return e.XCom(value=None if text is None else from_json(text), is_found=text is not None)
