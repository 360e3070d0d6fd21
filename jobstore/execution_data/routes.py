"""Variables, connections and their keys as routes for people.

Who looks sees that there is a secret; to have it revealed takes an admin, and leaves a line in the
log. A value travels in bodies only, never in a path.
"""

import structlog
from aiohttp import web

from shared.errors import BadRequest, UnknownConnection, UnknownVariable
from shared.http.identity import require_role
from shared.http.operation import Content, Key, flag, operation
from shared.http.server import read_message, reply
from shared.http.wire import flag_of
from shared.protocol import values as v
from shared.protocol.execution import Connection
from shared.services import WholeJobService
from shared.tokens import Audience, Role, Verifier

log = structlog.get_logger()


def add_value_routes(app: web.Application, service: WholeJobService, verifier: Verifier) -> None:
    """The application serves `SharedValues`."""
    verbs = _Verbs(service, verifier)
    variable, connection = "/v1/variables/{key:[^/]+}", "/v1/connections/{key:[^/]+}"
    app.add_routes(
        [
            web.get("/v1/variables", verbs.show_variables, allow_head=False),
            web.get(variable, verbs.show_variable, allow_head=False),
            web.put(variable, verbs.put_variable),
            web.delete(variable, verbs.remove_variable),
            web.get("/v1/connections", verbs.show_connections, allow_head=False),
            web.get(connection, verbs.show_connection, allow_head=False),
            web.put(connection, verbs.put_connection),
            web.delete(connection, verbs.remove_connection),
            web.post("/v1/keys/rotate", verbs.rotate_keys),
        ]
    )


class _Verbs:
    def __init__(self, service: WholeJobService, verifier: Verifier) -> None:
        self._service = service
        self._verifier = verifier

    @operation(Key.PERSON, {200: v.VariableList}, role=Role.VIEWER, query=v.ValuesFilter)
    async def show_variables(self, request: web.Request) -> web.Response:
        """200: those that the filter lets through, secrets without their values."""
        self._require(request, Role.VIEWER)
        ask = v.ValuesFilter.model_validate(dict(request.query))
        return reply(await self._service.values.show_variables(ask))

    @operation(
        Key.PERSON,
        {200: v.VariableView},
        role=Role.VIEWER,
        given=(flag("reveal"),),
        errors=(UnknownVariable,),
    )
    async def show_variable(self, request: web.Request) -> web.Response:
        """200. A secret's value is null, unless `reveal=true` is asked by an admin."""
        key, reveal = request.match_info["key"], self._reveals(request)
        found = await self._service.values.show_variable(key, reveal=reveal)
        if reveal:
            log.info("variable.revealed", key=key, by=self._who(request))
        return reply(found)

    @operation(Key.PERSON, {200: Content.EMPTY}, role=Role.OPERATOR, body=v.PutVariable)
    async def put_variable(self, request: web.Request) -> web.Response:
        """200: it has that value."""
        self._require(request, Role.OPERATOR)
        ask = await read_message(request, v.PutVariable)
        _same(ask.key, request.match_info["key"])
        await self._service.values.put_variable(ask)
        return web.json_response({})

    @operation(Key.PERSON, {200: Content.EMPTY}, role=Role.OPERATOR, errors=(UnknownVariable,))
    async def remove_variable(self, request: web.Request) -> web.Response:
        self._require(request, Role.OPERATOR)
        await self._service.values.remove_variable(request.match_info["key"])
        return web.json_response({})

    @operation(Key.PERSON, {200: v.ConnectionList}, role=Role.VIEWER, query=v.ValuesFilter)
    async def show_connections(self, request: web.Request) -> web.Response:
        self._require(request, Role.VIEWER)
        ask = v.ValuesFilter.model_validate(dict(request.query))
        return reply(await self._service.values.show_connections(ask))

    @operation(
        Key.PERSON,
        {200: v.ConnectionView},
        role=Role.VIEWER,
        given=(flag("reveal"),),
        errors=(UnknownConnection,),
    )
    async def show_connection(self, request: web.Request) -> web.Response:
        name, reveal = request.match_info["key"], self._reveals(request)
        found = await self._service.values.show_connection(name, reveal=reveal)
        if reveal:
            log.info("connection.revealed", name=name, by=self._who(request))
        return reply(found)

    @operation(Key.PERSON, {200: Content.EMPTY}, role=Role.OPERATOR, body=Connection)
    async def put_connection(self, request: web.Request) -> web.Response:
        self._require(request, Role.OPERATOR)
        connection = await read_message(request, Connection)
        _same(connection.name, request.match_info["key"])
        await self._service.values.put_connection(connection)
        return web.json_response({})

    @operation(Key.PERSON, {200: Content.EMPTY}, role=Role.OPERATOR, errors=(UnknownConnection,))
    async def remove_connection(self, request: web.Request) -> web.Response:
        self._require(request, Role.OPERATOR)
        await self._service.values.remove_connection(request.match_info["key"])
        return web.json_response({})

    @operation(Key.PERSON, {200: v.RotateReply}, role=Role.ADMIN)
    async def rotate_keys(self, request: web.Request) -> web.Response:
        """200: the keys were read anew, and everything is sealed with the first."""
        self._require(request, Role.ADMIN)
        return reply(await self._service.values.rotate_keys())

    def _reveals(self, request: web.Request) -> bool:
        reveal = flag_of(request.query.get("reveal", "false"), "reveal")
        self._require(request, Role.ADMIN if reveal else Role.VIEWER)
        return reveal

    def _who(self, request: web.Request) -> str:
        return require_role(self._verifier, request, Audience.JOBSTORE, Role.ADMIN).subject

    def _require(self, request: web.Request, role: Role) -> None:
        require_role(self._verifier, request, Audience.JOBSTORE, role)


def _same(said: str, path: str) -> None:
    if said != path:
        raise BadRequest("the path names another than the body", field="key")
