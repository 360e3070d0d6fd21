"""Schedules and backfills as routes."""

from typing import Final

from aiohttp import web

from shared.errors import BadPipeline, BadRequest, KeyReused, UnknownBackfill, UnknownSchedule
from shared.http import wire
from shared.http.identity import require_role
from shared.http.operation import Content, Key, header, operation
from shared.http.server import read_message, reply
from shared.protocol.schedules import (
    BackfillList,
    BackfillView,
    PauseScheduleRequest,
    ScheduleList,
    ScheduleRequest,
    ScheduleView,
)
from shared.services import Schedules
from shared.tokens import Audience, Role, Verifier

SCHEDULE_BYTES: Final = 64 * 1024 * 1024  # it holds a whole pipeline


def add_schedule_routes(app: web.Application, service: Schedules, verifier: Verifier) -> None:
    """The application serves `Schedules`. Whoever changes them decides what runs unattended."""
    verbs = _Verbs(service, verifier)
    one, backfill = "/v1/schedules/{name:[^/]+}", "/v1/backfills/{backfill_id:[0-9]{1,18}}"
    app.add_routes(
        [
            web.get("/v1/schedules", verbs.list_schedules, allow_head=False),
            web.put(one, verbs.put_schedule),
            web.delete(one, verbs.remove_schedule),
            web.post(f"{one}/pause", verbs.pause_schedule),
            web.post(f"{one}/resume", verbs.resume_schedule),
            web.post(f"{one}/backfills", verbs.backfill),
            web.get("/v1/backfills", verbs.list_backfills, allow_head=False),
            web.post(f"{backfill}/cancel", verbs.cancel_backfill),
        ]
    )


class _Verbs:
    def __init__(self, service: Schedules, verifier: Verifier) -> None:
        self._service = service
        self._verifier = verifier

    @operation(
        Key.PERSON,
        {200: ScheduleView},
        role=Role.OPERATOR,
        body=ScheduleRequest,
        errors=(BadPipeline,),
    )
    async def put_schedule(self, request: web.Request) -> web.Response:
        """200: it starts runs from now on, in place of one that had its name."""
        self._require(request, Role.OPERATOR)
        ask = await read_message(request, ScheduleRequest, SCHEDULE_BYTES)
        if ask.pipeline.name != request.match_info["name"]:
            raise BadRequest("the path names another schedule than the pipeline", field="name")
        return reply(await self._service.put_schedule(ask))

    @operation(Key.PERSON, {200: ScheduleList}, role=Role.VIEWER)
    async def list_schedules(self, request: web.Request) -> web.Response:
        self._require(request, Role.VIEWER)
        return reply(await self._service.list_schedules())

    @operation(Key.PERSON, {200: ScheduleView}, role=Role.OPERATOR, errors=(UnknownSchedule,))
    async def pause_schedule(self, request: web.Request) -> web.Response:
        return await self._pause(request, True)

    @operation(Key.PERSON, {200: ScheduleView}, role=Role.OPERATOR, errors=(UnknownSchedule,))
    async def resume_schedule(self, request: web.Request) -> web.Response:
        return await self._pause(request, False)

    @operation(Key.PERSON, {200: Content.EMPTY}, role=Role.OPERATOR, errors=(UnknownSchedule,))
    async def remove_schedule(self, request: web.Request) -> web.Response:
        """200: it starts nothing any more."""
        self._require(request, Role.OPERATOR)
        await self._service.remove_schedule(request.match_info["name"])
        return web.json_response({})

    @operation(
        Key.PERSON,
        {201: BackfillView},
        role=Role.OPERATOR,
        body=wire.BACKFILL.body,
        given=(header(wire.KEY, minLength=1, maxLength=200, pattern="^[ -~]+$"),),
        errors=(UnknownSchedule, KeyReused),
    )
    async def backfill(self, request: web.Request) -> web.Response:
        """201: its runs are started, one after another. The same key names the same backfill."""
        self._require(request, Role.OPERATOR)
        key = wire.checked_key(request.headers.get(wire.KEY, ""))
        body = await read_message(request, wire.BACKFILL.body)
        ask = wire.BACKFILL.join(body, idempotency_key=key, name=request.match_info["name"])
        return reply(await self._service.backfill(ask), status=201)

    @operation(Key.PERSON, {200: BackfillList}, role=Role.VIEWER)
    async def list_backfills(self, request: web.Request) -> web.Response:
        self._require(request, Role.VIEWER)
        return reply(await self._service.list_backfills())

    @operation(Key.PERSON, {200: BackfillView}, role=Role.OPERATOR, errors=(UnknownBackfill,))
    async def cancel_backfill(self, request: web.Request) -> web.Response:
        """200: it starts no more runs."""
        self._require(request, Role.OPERATOR)
        backfill_id = int(request.match_info["backfill_id"])
        return reply(await self._service.cancel_backfill(backfill_id))

    async def _pause(self, request: web.Request, is_paused: bool) -> web.Response:
        self._require(request, Role.OPERATOR)
        ask = PauseScheduleRequest(name=request.match_info["name"], is_paused=is_paused)
        return reply(await self._service.pause_schedule(ask))

    def _require(self, request: web.Request, role: Role) -> None:
        require_role(self._verifier, request, Audience.JOBSTORE, role)
