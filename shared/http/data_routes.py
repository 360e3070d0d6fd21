"""The execution API as resources, at the gateway: each thing that a task may ask for has a path.

For supervisors that are not ours, and for whoever looks with curl. Nothing is decided here: a path
becomes the same message that a task runner's frame is (docs/adr/0016). Attempt, worker and fence
come from the execution token alone, so a token opens the data of its own run and nothing else.
"""

from typing import Final

from aiohttp import web

from shared.errors import (
    AttemptArchived,
    Conflict,
    Forbidden,
    StaleFence,
    TooLarge,
    UnknownAttempt,
    UnknownConnection,
    UnknownJob,
    UnknownVariable,
)
from shared.http.identity import LATE_S, bearer
from shared.http.operation import Content, Given, Key, flag, operation
from shared.http.server import read_message, reply
from shared.http.wire import Split, flag_of
from shared.ids import AttemptId, WorkerId
from shared.protocol import execution as e
from shared.protocol import gateway as g
from shared.services import Execution
from shared.tokens import Audience, Verifier
from shared.tokens import Scope as TokenScope

OWN: Final = "-"  # in the place of a job's id: the job that asks

_SET_VARIABLE: Final = Split(e.SetVariable, "ask", "key")
_SET_XCOM: Final = Split(e.SetXCom, "ask", "key")
_CONNECTION: Final = Split(e.Connection, "name")
_EXECUTION: Final = frozenset({TokenScope.EXECUTION})
_LOST: Final = (UnknownAttempt, AttemptArchived, StaleFence)
_OFFSET: Final = {"type": "integer", "minimum": -(2**31), "maximum": 2**31}
_WHICH: Final = (
    flag("count"),
    *(Given(name, _OFFSET) for name in ("index", "start", "stop", "step")),
    Given("map_index", {"type": "integer", "minimum": 0, "maximum": 2**31}),
)


def add_data_routes(app: web.Application, execution: Execution, verifier: Verifier) -> None:
    """The application serves variables, connections, XComs and dependencies by their paths."""
    verbs = _Verbs(execution, verifier)
    variable, connection = "/v1/variables/{key:[^/]+}", "/v1/connections/{key:[^/]+}"
    xcom = "/v1/xcoms/{job:[^/]+}/{key:[^/]+}"
    app.add_routes(
        [
            web.get("/v1/variables", verbs.list_variables, allow_head=False),
            web.get(variable, verbs.get_variable, allow_head=False),
            web.put(variable, verbs.set_variable),
            web.delete(variable, verbs.delete_variable),
            web.get("/v1/connections", verbs.list_connections, allow_head=False),
            web.get(connection, verbs.get_connection, allow_head=False),
            web.put(connection, verbs.set_connection),
            web.delete(connection, verbs.delete_connection),
            web.get("/v1/xcoms/{job:[^/]+}", verbs.list_xcoms, allow_head=False),
            web.get(xcom, verbs.get_xcom, allow_head=False),
            web.put(xcom, verbs.set_xcom),
            web.delete(xcom, verbs.delete_xcom),
            web.get(
                "/v1/attempts/{attempt_id}/dependencies", verbs.list_dependencies, allow_head=False
            ),
        ]
    )


class _Verbs:
    def __init__(self, execution: Execution, verifier: Verifier) -> None:
        self._execution = execution
        self._verifier = verifier

    @operation(Key.TASK, {200: e.Keys}, query=e.ListVariables, errors=_LOST)
    async def list_variables(self, request: web.Request) -> web.Response:
        """200: keys. `prefix`, `after`, `limit`."""
        scope = self._scope(request)
        ask = e.ListVariables.model_validate(dict(request.query))
        return reply(await self._execution.list_variables(scope, ask))

    @operation(Key.TASK, {200: e.Variable}, errors=(*_LOST, UnknownVariable))
    async def get_variable(self, request: web.Request) -> web.Response:
        scope = self._scope(request)
        ask = e.GetVariable(key=request.match_info["key"])
        return reply(await self._execution.get_variable(scope, ask))

    @operation(Key.TASK, {200: Content.EMPTY}, body=_SET_VARIABLE.body, errors=_LOST)
    async def set_variable(self, request: web.Request) -> web.Response:
        """200. The body: `value`, and perhaps `description` and `is_secret`."""
        scope = self._scope(request)
        body = await read_message(request, _SET_VARIABLE.body)
        ask = _SET_VARIABLE.join(body, key=request.match_info["key"])
        await self._execution.set_variable(scope, ask)
        return web.json_response({})

    @operation(Key.TASK, {200: Content.EMPTY}, errors=_LOST)
    async def delete_variable(self, request: web.Request) -> web.Response:
        scope = self._scope(request)
        ask = e.DeleteVariable(key=request.match_info["key"])
        await self._execution.delete_variable(scope, ask)
        return web.json_response({})

    @operation(Key.TASK, {200: e.Keys}, query=e.ListConnections, errors=_LOST)
    async def list_connections(self, request: web.Request) -> web.Response:
        """200: names. `prefix`, `after`, `limit`."""
        scope = self._scope(request)
        ask = e.ListConnections.model_validate(dict(request.query))
        return reply(await self._execution.list_connections(scope, ask))

    @operation(Key.TASK, {200: e.Connection}, errors=(*_LOST, UnknownConnection))
    async def get_connection(self, request: web.Request) -> web.Response:
        scope = self._scope(request)
        ask = e.GetConnection(name=request.match_info["key"])
        return reply(await self._execution.get_connection(scope, ask))

    @operation(Key.TASK, {200: Content.EMPTY}, body=_CONNECTION.body, errors=_LOST)
    async def set_connection(self, request: web.Request) -> web.Response:
        """200. The body: the connection without its name."""
        scope = self._scope(request)
        body = await read_message(request, _CONNECTION.body)
        connection = _CONNECTION.join(body, name=request.match_info["key"])
        await self._execution.set_connection(scope, e.SetConnection(connection=connection))
        return web.json_response({})

    @operation(Key.TASK, {200: Content.EMPTY}, errors=_LOST)
    async def delete_connection(self, request: web.Request) -> web.Response:
        scope = self._scope(request)
        ask = e.DeleteConnection(name=request.match_info["key"])
        await self._execution.delete_connection(scope, ask)
        return web.json_response({})

    @operation(Key.TASK, {200: e.Keys}, errors=(*_LOST, UnknownJob))
    async def list_xcoms(self, request: web.Request) -> web.Response:
        """200: the keys that the job left something under."""
        scope = self._scope(request)
        return reply(await self._execution.list_xcoms(scope, e.ListXComs(job=_job(request))))

    @operation(
        Key.TASK, {200: Content.ANY}, given=_WHICH, errors=(*_LOST, UnknownJob, Conflict, TooLarge)
    )
    async def get_xcom(self, request: web.Request) -> web.Response:
        """200: the value; of its sequence the length with `count=true`, one with `index`, some
        with `start`, `stop` and `step`."""
        scope, query = self._scope(request), dict(request.query)
        where: dict[str, object] = {"job": _job(request), "key": request.match_info["key"]}
        if flag_of(query.pop("count", "false"), "count"):
            ask = e.CountXCom.model_validate({**query, **where})
            return reply(await self._execution.count_xcom(scope, ask))
        if "index" in query:
            item = e.GetXComItem.model_validate({**query, **where})
            return reply(await self._execution.get_xcom_item(scope, item))
        if query.keys() & {"start", "stop", "step"}:
            cut = e.GetXComSlice.model_validate({**query, **where})
            return reply(await self._execution.get_xcom_slice(scope, cut))
        whole = e.GetXCom.model_validate({**query, **where})
        return reply(await self._execution.get_xcom(scope, whole))

    @operation(Key.TASK, {200: Content.EMPTY}, body=_SET_XCOM.body, errors=_LOST)
    async def set_xcom(self, request: web.Request) -> web.Response:
        """200. The body: `value`. 403: it is another job's."""
        scope = self._scope(request)
        _only_its_own(request)
        body = await read_message(request, _SET_XCOM.body)
        ask = _SET_XCOM.join(body, key=request.match_info["key"])
        await self._execution.set_xcom(scope, ask)
        return web.json_response({})

    @operation(Key.TASK, {200: Content.EMPTY}, errors=_LOST)
    async def delete_xcom(self, request: web.Request) -> web.Response:
        scope = self._scope(request)
        _only_its_own(request)
        await self._execution.delete_xcom(scope, e.DeleteXCom(key=request.match_info["key"]))
        return web.json_response({})

    @operation(Key.TASK, {200: g.Dependencies}, errors=_LOST)
    async def list_dependencies(self, request: web.Request) -> web.Response:
        """200: the jobs that this one needed, as they are now. 403: another attempt's token."""
        scope = self._scope(request)
        if scope.attempt_id != request.match_info["attempt_id"]:
            raise Forbidden("the token is for another attempt", check="attempt")
        return reply(await self._execution.list_dependencies(scope, e.ListDependencies()))

    def _scope(self, request: web.Request) -> e.Scope:
        who = self._verifier.verify(bearer(request), Audience.GATEWAY, _EXECUTION, grace_s=LATE_S)
        if who.attempt_id is None or who.fence is None:
            raise Forbidden("the token is not bound to an attempt", check="attempt")
        return e.Scope(
            attempt_id=AttemptId(who.attempt_id), worker_id=WorkerId(who.subject), fence=who.fence
        )


def _job(request: web.Request) -> str | None:
    job = request.match_info["job"]
    return None if job == OWN else job


def _only_its_own(request: web.Request) -> None:
    if _job(request) is not None:
        raise Forbidden(
            f"a task leaves XComs of its own only: write to /v1/xcoms/{OWN}/KEY", check="job"
        )
