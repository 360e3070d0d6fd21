"""Components over HTTP: the verbs of a worker's own record, the same at the gateway and at the job
service, and people's look at all of them, at the job service alone.

Whoever speaks for a component is named by token or gateway, never by the message.
"""

from aiohttp import web

from shared.errors import Conflict, Forbidden, StaleFence, UnknownComponent
from shared.http import wire
from shared.http.identity import BEAT, Identify, plain_id, presented, require_role
from shared.http.operation import Content, Key, flag, operation
from shared.http.server import read_message, reply
from shared.protocol import components as c
from shared.services import HasComponents, WholeJobService
from shared.tokens import Audience, Role, Verifier

WORKER_KIND = "worker"
_GONE = (StaleFence, UnknownComponent, Conflict)


def add_component_routes(app: web.Application, owner: HasComponents, identify: Identify) -> None:
    """The application serves the verbs of `Components` that keep a record."""
    verbs = _Verbs(owner, identify)
    one = "/v1/components/{component_id}"
    app.add_routes(
        [
            web.post("/v1/components", verbs.create_component),
            web.post(f"{one}/prepare", verbs.prepare_component),
            web.post(f"{one}/beat", verbs.beat_component),
            web.post(f"{one}/complete", verbs.complete_component),
        ]
    )


def add_component_list(app: web.Application, service: WholeJobService, verifier: Verifier) -> None:
    """The application shows people which components there are."""

    @operation(Key.PERSON, {200: c.ComponentList}, role=Role.VIEWER, given=(flag("with_ended"),))
    async def list_components(request: web.Request) -> web.Response:
        """200: those that live, or should; `with_ended=true`: the others as well."""
        require_role(verifier, request, Audience.JOBSTORE, Role.VIEWER)
        with_ended = wire.flag_of(request.query.get("with_ended", "false"), "with_ended")
        ask = c.ComponentFilter(with_ended=with_ended)
        return reply(await service.components.list_components(ask))

    app.router.add_get("/v1/components", list_components, allow_head=False)


class _Verbs:
    def __init__(self, owner: HasComponents, identify: Identify) -> None:
        self._at = owner
        self._identify = identify

    @operation(Key.WORKER, {200: Content.EMPTY}, body=wire.CREATE_COMPONENT.body, errors=_GONE)
    async def create_component(self, request: web.Request) -> web.Response:
        """200: it is recorded. 403: a worker speaks for workers only."""
        owner = self._owner(request)
        body = await read_message(request, wire.CREATE_COMPONENT.body)
        ask = wire.CREATE_COMPONENT.join(body, owner=owner)
        if ask.kind != WORKER_KIND:
            raise Forbidden(f"a worker cannot be a {ask.kind}", check="kind")
        await self._at.components.create_component(ask)
        return web.json_response({})

    @operation(Key.WORKER, {200: c.PreparedComponent}, errors=_GONE)
    async def prepare_component(self, request: web.Request) -> web.Response:
        """200: it holds its place."""
        owner, component_id = self._owner(request), _component_id(request)
        ask = c.PrepareComponent(component_id=component_id, owner=owner)
        return reply(await self._at.components.prepare_component(ask))

    @operation(Key.WORKER, {200: Content.EMPTY}, body=wire.BEAT_COMPONENT.body, errors=_GONE)
    async def beat_component(self, request: web.Request) -> web.Response:
        """200: it was heard of. 409: another has its place."""
        owner = self._owner(request)
        body = await read_message(request, wire.BEAT_COMPONENT.body)
        ask = wire.BEAT_COMPONENT.join(body, owner=owner, component_id=_component_id(request))
        await self._at.components.beat_component(ask)
        return web.json_response({})

    @operation(Key.WORKER, {200: Content.EMPTY}, body=wire.COMPLETE_COMPONENT.body, errors=_GONE)
    async def complete_component(self, request: web.Request) -> web.Response:
        """200: it has ended."""
        owner = self._owner(request)
        body = await read_message(request, wire.COMPLETE_COMPONENT.body)
        ask = wire.COMPLETE_COMPONENT.join(body, owner=owner, component_id=_component_id(request))
        await self._at.components.complete_component(ask)
        return web.json_response({})

    def _owner(self, request: web.Request) -> str:
        return self._identify(presented(request), BEAT).worker_id


def _component_id(request: web.Request) -> str:
    return plain_id(request.match_info["component_id"], "component_id")
