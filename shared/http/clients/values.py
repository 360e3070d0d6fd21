"""Variables and connections over HTTP, for people."""

from urllib.parse import urlencode

from shared.http import wire
from shared.http.clients.asking import Asking
from shared.http.transport import Transport
from shared.protocol import values as v
from shared.protocol.execution import Connection


class ValuesClient(Asking):
    """`SharedValues` over HTTP."""

    def __init__(self, transport: Transport, *, retry_for_s: float) -> None:
        self._transport = transport
        self._retry_for_s = retry_for_s

    async def show_variables(self, ask: v.ValuesFilter) -> v.VariableList:
        return await self._ask("GET", f"/v1/variables?{_query(ask)}", v.VariableList)

    async def show_variable(self, key: str, *, reveal: bool) -> v.VariableView:
        path = wire.path("v1", "variables", key) + ("?reveal=true" if reveal else "")
        return await self._ask("GET", path, v.VariableView)

    async def put_variable(self, ask: v.PutVariable) -> None:
        await self._tell("PUT", wire.path("v1", "variables", ask.key), ask.model_dump_json())

    async def remove_variable(self, key: str) -> None:
        await self._tell("DELETE", wire.path("v1", "variables", key))

    async def show_connections(self, ask: v.ValuesFilter) -> v.ConnectionList:
        return await self._ask("GET", f"/v1/connections?{_query(ask)}", v.ConnectionList)

    async def show_connection(self, name: str, *, reveal: bool) -> v.ConnectionView:
        path = wire.path("v1", "connections", name) + ("?reveal=true" if reveal else "")
        return await self._ask("GET", path, v.ConnectionView)

    async def put_connection(self, connection: Connection) -> None:
        path = wire.path("v1", "connections", connection.name)
        await self._tell("PUT", path, connection.model_dump_json())

    async def remove_connection(self, name: str) -> None:
        await self._tell("DELETE", wire.path("v1", "connections", name))

    async def rotate_keys(self) -> v.RotateReply:
        return await self._ask("POST", "/v1/keys/rotate", v.RotateReply)

    async def _tell(self, method: str, path: str, body: str | None = None) -> None:
        await self._transport.request(
            method,
            path,
            None if body is None else body.encode(),
            retry_for_s=self._retry_for_s,
        )


def _query(ask: v.ValuesFilter) -> str:
    return urlencode(ask.model_dump())
