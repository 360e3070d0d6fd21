"""Variables and connections: texts that all pipelines share, sealed in the database.

Tasks get and set them by their names; people list them, too, and see no secret unless they ask.
"""

import sqlite3
from typing import Any

import structlog

from jobstore.execution_data.vault import Vault
from shared.errors import UnknownConnection, UnknownVariable
from shared.protocol import execution as e
from shared.protocol import values as v
from shared.secret_names import is_secret_name, without_secrets
from shared.sqlite import Database, Tx

log = structlog.get_logger()

_TABLES = (("variable", "key"), ("connection", "name"))


class Values:
    """`SharedValues`, and the same verbs as tasks have them."""

    def __init__(self, database: Database, vault: Vault) -> None:
        self._db = database
        self._vault = vault

    # -- for tasks -------------------------------------------------------------------------------

    async def get_variable(self, ask: e.GetVariable) -> e.Variable:
        found = await self._variable(ask.key)
        return e.Variable(key=ask.key, value=found.value or "", is_secret=found.is_secret)

    async def set_variable(self, ask: e.SetVariable) -> None:
        await self.put_variable(
            v.PutVariable(
                key=ask.key,
                value=ask.value,
                description=ask.description,
                is_secret=ask.is_secret,
            )
        )

    async def delete_variable(self, ask: e.DeleteVariable) -> None:
        await self._write("DELETE FROM variable WHERE key = ?", ask.key)

    async def list_variables(self, ask: e.ListVariables) -> e.Keys:
        rows = await self._page("variable", "key", "key", ask)
        return e.Keys(keys=tuple(key for (key,) in rows))

    async def get_connection(self, ask: e.GetConnection) -> e.Connection:
        row = await self._row("SELECT sealed FROM connection WHERE name = ?", ask.name)
        if row is None:
            raise UnknownConnection(f"there is no connection {ask.name!r}", name=ask.name)
        return e.Connection.model_validate_json(self._vault.open(row[0]))

    async def set_connection(self, ask: e.SetConnection) -> None:
        sealed = self._vault.seal(ask.connection.model_dump_json())
        await self._write(
            "INSERT INTO connection (name, sealed) VALUES (?, ?)"
            " ON CONFLICT (name) DO UPDATE SET sealed = excluded.sealed",
            *(ask.connection.name, sealed),
        )

    async def delete_connection(self, ask: e.DeleteConnection) -> None:
        await self._write("DELETE FROM connection WHERE name = ?", ask.name)

    async def list_connections(self, ask: e.ListConnections) -> e.Keys:
        rows = await self._page("connection", "name", "name", ask)
        return e.Keys(keys=tuple(name for (name,) in rows))

    # -- for people ------------------------------------------------------------------------------

    async def show_variables(self, ask: v.ValuesFilter) -> v.VariableList:
        rows = await self._page("variable", "key", "key, sealed, description, is_secret", ask)
        return v.VariableList(variables=tuple(_hidden(self._view(row)) for row in rows))

    async def show_variable(self, key: str, *, reveal: bool) -> v.VariableView:
        found = await self._variable(key)
        return found if reveal else _hidden(found)

    async def put_variable(self, ask: v.PutVariable) -> None:
        sealed = self._vault.seal(ask.value)
        await self._write(
            "INSERT INTO variable (key, sealed, description, is_secret)"
            " VALUES (?1, ?2, coalesce(?3, ''), coalesce(?4, 0))"
            " ON CONFLICT (key) DO UPDATE SET sealed = excluded.sealed,"
            " description = coalesce(?3, description), is_secret = coalesce(?4, is_secret)",
            *(ask.key, sealed, ask.description, ask.is_secret),
        )

    async def remove_variable(self, key: str) -> None:
        """Also one that no key opens any more."""
        if not await self._write("DELETE FROM variable WHERE key = ?", key):
            raise UnknownVariable(f"there is no variable {key!r}", key=key)

    async def show_connections(self, ask: v.ValuesFilter) -> v.ConnectionList:
        rows = await self._page("connection", "name", "sealed", ask)
        found = [e.Connection.model_validate_json(self._vault.open(row[0])) for row in rows]
        return v.ConnectionList(connections=tuple(_without_secrets(one) for one in found))

    async def show_connection(self, name: str, *, reveal: bool) -> v.ConnectionView:
        found = await self.get_connection(e.GetConnection(name=name))
        if not reveal:
            return _without_secrets(found)
        return v.ConnectionView(connection=found, has_password=found.password is not None)

    async def put_connection(self, connection: e.Connection) -> None:
        await self.set_connection(e.SetConnection(connection=connection))

    async def remove_connection(self, name: str) -> None:
        if not await self._write("DELETE FROM connection WHERE name = ?", name):
            raise UnknownConnection(f"there is no connection {name!r}", name=name)

    async def rotate_keys(self) -> v.RotateReply:
        """First it is seen that the keys, read anew, open all there is: else nothing changes."""
        renewed = self._vault.renewed()
        await self._db.read(lambda conn: [renewed.open(row[2]) for row in _all(conn)])
        self._vault.become(renewed)

        def rotate(tx: Tx) -> int:
            found = _all(tx.conn)
            for table, name, sealed in found:
                column = dict(_TABLES)[table]
                tx.conn.execute(
                    f"UPDATE {table} SET sealed = ? WHERE {column} = ?",
                    (renewed.seal_again(sealed), name),
                )
            return len(found)

        sealed = await self._db.write(rotate)
        keys = renewed.fingerprints()
        log.info("keys.rotated", sealed=sealed, keys=len(keys))
        return v.RotateReply(sealed=sealed, keys=len(keys), first_key=keys[0])

    # -- details -------------------------------------------------------------------------------

    async def _variable(self, key: str) -> v.VariableView:
        row = await self._row(
            "SELECT key, sealed, description, is_secret FROM variable WHERE key = ?", key
        )
        if row is None:
            raise UnknownVariable(f"there is no variable {key!r}", key=key)
        return self._view(row)

    def _view(self, row: tuple[Any, ...]) -> v.VariableView:
        key, sealed, description, is_secret = row
        return v.VariableView(
            key=key,
            value=self._vault.open(sealed),
            description=description,
            is_secret=bool(is_secret) or is_secret_name(key),
        )

    async def _page(
        self,
        table: str,
        column: str,
        wanted: str,
        ask: e.ListVariables | e.ListConnections | v.ValuesFilter,
    ) -> list[tuple[Any, ...]]:
        return await self._db.read(
            lambda conn: conn.execute(
                f"SELECT {wanted} FROM {table} WHERE substr({column}, 1, ?) = ? AND {column} > ?"
                f" ORDER BY {column} LIMIT ?",
                (len(ask.prefix), ask.prefix, ask.after, ask.limit),
            ).fetchall()
        )

    async def _row(self, query: str, *values: object) -> tuple[Any, ...] | None:
        def read(conn: sqlite3.Connection) -> tuple[Any, ...] | None:
            row: tuple[Any, ...] | None = conn.execute(query, values).fetchone()
            return row

        return await self._db.read(read)

    async def _write(self, query: str, *values: object) -> int:
        """How many rows it changed."""

        def write(tx: Tx) -> int:
            return tx.conn.execute(query, values).rowcount

        return await self._db.write(write)


def _hidden(found: v.VariableView) -> v.VariableView:
    return found.model_copy(update={"value": None}) if found.is_secret else found


def _without_secrets(found: e.Connection) -> v.ConnectionView:
    shown = {"password": None, "extra": without_secrets(found.extra)}
    return v.ConnectionView(
        connection=found.model_copy(update=shown), has_password=found.password is not None
    )


def _all(conn: sqlite3.Connection) -> list[tuple[str, str, bytes]]:
    """Table, name and sealed text of all there is."""
    return [
        (table, name, sealed)
        for table, column in _TABLES
        for name, sealed in conn.execute(
            f"SELECT {column}, sealed FROM {table} ORDER BY {column}"
        ).fetchall()
    ]
