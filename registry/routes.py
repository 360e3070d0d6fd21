"""The registry's verbs as routes, and who may call each: workers for themselves, people by role."""

from collections.abc import Awaitable, Callable
from typing import Final

from aiohttp import web

from shared.errors import Conflict, Forbidden, Unauthenticated, UnknownWorker, WorkerSuperseded
from shared.http import wire
from shared.http.identity import bearer, plain_id, require_role
from shared.http.line_server import add_line
from shared.http.operation import Content, Key, operation
from shared.http.server import read_message, reply
from shared.ids import WorkerId
from shared.protocol.registry import (
    MAX_BY,
    EnrolReply,
    EnrolRequest,
    Goodbye,
    NameCheck,
    NameCheckRequest,
    StatusReply,
    StatusReport,
    WorkerDetails,
    WorkerList,
    WorkerView,
)
from shared.protocol.states import Desired
from shared.secret_files import is_same_secret
from shared.services import Registry
from shared.tokens import WORKER_S, Audience, Identity, Minter, Role, Scope, Verifier

REPORT_BYTES: Final = 1024 * 1024  # 10,000 attempts of 40 bytes, and room

_WORKER: Final = frozenset({Scope.WORKER})

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def add_registry_routes(
    app: web.Application,
    service: Registry,
    verifier: Verifier,
    minter: Minter,
    enrolment_secret: str,
) -> None:
    """The application serves every verb of `Registry`."""
    verbs = _Verbs(service, verifier, minter, enrolment_secret)
    app.add_routes(
        [
            web.post("/v1/workers", verbs.enrol),
            web.get("/v1/names/{name:[^/]+}", verbs.check_name, allow_head=False),
            web.put("/v1/workers/{worker_id}/status", verbs.report),
            web.post("/v1/workers/{worker_id}/leave", verbs.leave),
            web.get("/v1/workers", verbs.list_workers, allow_head=False),
            web.get("/v1/workers/{name:[^/]+}", verbs.show_worker, allow_head=False),
            web.delete("/v1/workers/{name:[^/]+}", verbs.remove),
            web.post("/v1/workers/{name:[^/]+}/settings", verbs.set_worker),
            *(
                web.post(f"/v1/workers/{{name:[^/]+}}/{word}", verbs.wish(desired))
                for word, desired in wire.WISHES.items()
            ),
        ]
    )
    add_line(app, verbs.admit, {"report": verbs.report_on_line})


class _Verbs:
    def __init__(
        self, service: Registry, verifier: Verifier, minter: Minter, enrolment_secret: str
    ) -> None:
        self._service = service
        self._verifier = verifier
        self._minter = minter
        self._enrolment_secret = enrolment_secret

    @operation(Key.ENROLMENT, {201: EnrolReply}, body=EnrolRequest)
    async def enrol(self, request: web.Request) -> web.Response:
        """201: a new incarnation, with its worker token."""
        self._check_secret(request)
        answer = await self._service.enrol(await read_message(request, EnrolRequest))
        token = self._minter.worker(answer.worker_id)
        return reply(answer.model_copy(update={"token": token}), status=201)

    @operation(Key.ENROLMENT, {200: NameCheck})
    async def check_name(self, request: web.Request) -> web.Response:
        """200: a worker of that name could enrol."""
        self._check_secret(request)
        name = NameCheckRequest(name=request.match_info["name"]).name
        return reply(await self._service.check_name(name))

    def _check_secret(self, request: web.Request) -> None:
        given = bearer(request)
        if given is None:
            raise Unauthenticated("no enrolment secret was sent", check="missing")
        if not is_same_secret(given, self._enrolment_secret):
            raise Unauthenticated("the enrolment secret is wrong", check="enrolment_secret")

    @operation(
        Key.WORKER,
        {200: StatusReply},
        body=wire.REPORT.body,
        errors=(UnknownWorker, WorkerSuperseded),
    )
    async def report(self, request: web.Request) -> web.Response:
        """200: what is wanted of the worker, with a fresh worker token when the last is old."""
        who = self._oneself(request)
        body = await read_message(request, wire.REPORT.body, REPORT_BYTES)
        return reply(await self._report(who, wire.REPORT.join(body, worker_id=who.subject)))

    def admit(self, request: web.Request) -> None:
        """A line is for workers; each report on it shows whose it is."""
        self._verifier.verify(bearer(request), Audience.REGISTRY, _WORKER)

    async def report_on_line(self, token: str | None, body: bytes) -> bytes:
        who = self._verifier.verify(token, Audience.REGISTRY, _WORKER)
        ask = StatusReport.model_validate_json(body, strict=True)
        if ask.worker_id != who.subject:
            raise _not_oneself()
        answer = await self._report(who, ask)
        return answer.__pydantic_serializer__.to_json(answer)

    async def _report(self, who: Identity, ask: StatusReport) -> StatusReply:
        answer = await self._service.report(ask)
        if self._verifier.runtime.now().timestamp() - who.issued_at >= WORKER_S / 2:
            token = self._minter.worker(WorkerId(who.subject))
            answer = answer.model_copy(update={"token": token})
        return answer

    @operation(
        Key.WORKER, {200: Content.EMPTY}, body=Goodbye, errors=(UnknownWorker, WorkerSuperseded)
    )
    async def leave(self, request: web.Request) -> web.Response:
        """200: the worker is offline, and everybody knows that it meant to."""
        who = self._oneself(request)
        body = await read_message(request, Goodbye)
        await self._service.leave(WorkerId(who.subject), body.incarnation)
        return web.json_response({})

    @operation(Key.PERSON, {200: WorkerList}, role=Role.VIEWER)
    async def list_workers(self, request: web.Request) -> web.Response:
        self._require(request, Role.VIEWER)
        return reply(await self._service.list_workers())

    def wish(self, desired: Desired) -> Handler:
        @operation(
            Key.PERSON,
            {200: WorkerView},
            role=Role.OPERATOR,
            body=wire.WISH.body,
            errors=(UnknownWorker,),
            name=f"wish_{desired.value}",
        )
        async def handle(request: web.Request) -> web.Response:
            """200: the wish is durable; the worker hears of it with its next report."""
            by = self._require(request, Role.OPERATOR)
            body = await read_message(request, wire.WISH.body)
            ask = wire.WISH.join(body, desired=desired, by=by)
            return reply(await self._service.wish(request.match_info["name"], ask))

        return handle

    @operation(Key.PERSON, {200: WorkerDetails}, role=Role.VIEWER, errors=(UnknownWorker,))
    async def show_worker(self, request: web.Request) -> web.Response:
        self._require(request, Role.VIEWER)
        return reply(await self._service.show_worker(request.match_info["name"]))

    @operation(
        Key.PERSON,
        {200: WorkerView},
        role=Role.OPERATOR,
        body=wire.SETTINGS.body,
        errors=(UnknownWorker,),
    )
    async def set_worker(self, request: web.Request) -> web.Response:
        """200: slots and labels are durable; the worker hears of them with its next report."""
        by = self._require(request, Role.OPERATOR)
        body = await read_message(request, wire.SETTINGS.body)
        ask = wire.SETTINGS.join(body, by=by)
        return reply(await self._service.set_worker(request.match_info["name"], ask))

    @operation(
        Key.PERSON, {200: Content.EMPTY}, role=Role.OPERATOR, errors=(UnknownWorker, Conflict)
    )
    async def remove(self, request: web.Request) -> web.Response:
        """200: the worker is forgotten. 409: it is not offline."""
        self._require(request, Role.OPERATOR)
        await self._service.remove(request.match_info["name"])
        return web.json_response({})

    def _oneself(self, request: web.Request) -> Identity:
        """The worker that asks, which must be the one that the path names."""
        worker_id = plain_id(request.match_info["worker_id"], "worker_id")
        who = self._verifier.verify(bearer(request), Audience.REGISTRY, _WORKER)
        if who.subject != worker_id:
            raise _not_oneself()
        return who

    def _require(self, request: web.Request, role: Role) -> str:
        """The name of whoever asks."""
        who = require_role(self._verifier, request, Audience.REGISTRY, role)
        return who.subject[:MAX_BY]


def _not_oneself() -> Forbidden:
    return Forbidden("the token is for another worker", check="subject")
