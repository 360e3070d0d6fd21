"""The execution API over HTTP: worker to gateway, and gateway to job service."""

from collections.abc import Callable
from typing import TypeVar

from shared.errors import Forbidden, Unauthenticated, Unavailable
from shared.http import wire
from shared.http.transport import Transport
from shared.ids import AttemptId
from shared.protocol import execution as e
from shared.protocol.base import Message
from shared.protocol.gateway import Dependencies
from shared.services import Body

M = TypeVar("M", bound=Message)


class ExecutionClient:
    """`Execution` over HTTP.

    `token_of` finds the execution token of an attempt. A gateway has none: it uses its own, and
    when that is turned down, no worker can do anything about it.
    """

    def __init__(
        self, transport: Transport, token_of: Callable[[AttemptId], str | None] | None = None
    ) -> None:
        self._transport = transport
        self._token_of = token_of

    async def get_variable(self, scope: e.Scope, ask: e.GetVariable) -> e.Variable:
        return await self._ask(scope, ask, e.Variable)

    async def set_variable(self, scope: e.Scope, ask: e.SetVariable) -> None:
        await self._ask(scope, ask, Message)

    async def delete_variable(self, scope: e.Scope, ask: e.DeleteVariable) -> None:
        await self._ask(scope, ask, Message)

    async def list_variables(self, scope: e.Scope, ask: e.ListVariables) -> e.Keys:
        return await self._ask(scope, ask, e.Keys)

    async def get_connection(self, scope: e.Scope, ask: e.GetConnection) -> e.Connection:
        return await self._ask(scope, ask, e.Connection)

    async def set_connection(self, scope: e.Scope, ask: e.SetConnection) -> None:
        await self._ask(scope, ask, Message)

    async def delete_connection(self, scope: e.Scope, ask: e.DeleteConnection) -> None:
        await self._ask(scope, ask, Message)

    async def list_connections(self, scope: e.Scope, ask: e.ListConnections) -> e.Keys:
        return await self._ask(scope, ask, e.Keys)

    async def get_xcom(self, scope: e.Scope, ask: e.GetXCom) -> e.XCom:
        return await self._ask(scope, ask, e.XCom)

    async def count_xcom(self, scope: e.Scope, ask: e.CountXCom) -> e.XComCount:
        return await self._ask(scope, ask, e.XComCount)

    async def get_xcom_item(self, scope: e.Scope, ask: e.GetXComItem) -> e.XCom:
        return await self._ask(scope, ask, e.XCom)

    async def get_xcom_slice(self, scope: e.Scope, ask: e.GetXComSlice) -> e.XComSlice:
        return await self._ask(scope, ask, e.XComSlice)

    async def set_xcom(self, scope: e.Scope, ask: e.SetXCom) -> None:
        await self._ask(scope, ask, Message)

    async def delete_xcom(self, scope: e.Scope, ask: e.DeleteXCom) -> None:
        await self._ask(scope, ask, Message)

    async def list_xcoms(self, scope: e.Scope, ask: e.ListXComs) -> e.Keys:
        return await self._ask(scope, ask, e.Keys)

    async def list_dependencies(self, scope: e.Scope, ask: e.ListDependencies) -> Dependencies:
        return await self._ask(scope, ask, Dependencies)

    async def new_callback(self, scope: e.Scope, ask: e.NewCallback) -> e.Callback:
        return await self._ask(scope, ask, e.Callback)

    async def read_bundle(self, scope: e.Scope, sha256: str) -> Body:
        path = wire.path("v1", "attempts", scope.attempt_id, "bundles", sha256)
        headers = {wire.WORKER: scope.worker_id, wire.FENCE: str(scope.fence)}
        try:
            async for piece in self._transport.stream(
                path, headers=headers, token=self._token(scope)
            ):
                yield piece
        except (Unauthenticated, Forbidden) as error:
            raise self._blame(error) from None

    async def _ask(
        self, scope: e.Scope, ask: e.DataRequest | e.ListDependencies, model: type[M]
    ) -> M:
        body = wire.AskBody(fence=scope.fence, request=ask)
        try:
            answer = await self._transport.request(
                "POST",
                wire.path("v1", "attempts", scope.attempt_id, "ask"),
                body.__pydantic_serializer__.to_json(body),
                headers={wire.WORKER: scope.worker_id},
                token=self._token(scope),
            )
        except (Unauthenticated, Forbidden) as error:
            raise self._blame(error) from None
        return model.model_validate_json(answer.body)

    def _token(self, scope: e.Scope) -> str | None:
        return None if self._token_of is None else self._token_of(scope.attempt_id)

    def _blame(self, error: Unauthenticated | Forbidden) -> Exception:
        if self._token_of is not None:
            return error
        return Unavailable(
            "the job service does not accept this gateway's token", service="jobstore"
        )
