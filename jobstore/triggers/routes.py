"""What reaches jobs that wait, as routes: questions and answers, and messages to callbacks."""

import json
from typing import Final

from aiohttp import web
from pydantic import JsonValue

from jobstore.triggers.events import check_event
from shared.errors import Conflict, UnknownCallback, UnknownJob, UnknownRun
from shared.http import wire
from shared.http.admission import Rank
from shared.http.identity import require_role
from shared.http.operation import Content, Key, number, operation
from shared.http.server import read_bytes, read_message, reply
from shared.ids import JobId, RunId
from shared.protocol.questions import PostCallback, QuestionList
from shared.services import Waits
from shared.tokens import Audience, Identity, Role, Verifier

CALLBACK_BYTES: Final = 64 * 1024
MAX_BY: Final = 200


def add_wait_routes(app: web.Application, service: Waits, verifier: Verifier) -> None:
    """The application serves `Waits`."""
    verbs = _Verbs(service, verifier)
    app.add_routes(
        [
            web.get("/v1/questions", verbs.list_questions, allow_head=False),
            web.post("/v1/runs/{run_id:[0-9]{1,18}}/jobs/{job_id:[^/]+}/answer", verbs.answer),
            web.post("/v1/callbacks/{callback_id}/{secret}", verbs.post_callback),
        ]
    )


class _Verbs:
    def __init__(self, service: Waits, verifier: Verifier) -> None:
        self._service = service
        self._verifier = verifier

    @operation(Key.PERSON, {200: QuestionList}, role=Role.VIEWER, given=(number("run"),))
    async def list_questions(self, request: web.Request) -> web.Response:
        """200: those that are open, of one run where `run` names one."""
        self._require(request, Role.VIEWER)
        text = request.query.get("run")
        run_id = None if text is None else RunId(wire.number_of(text, "run"))
        return reply(await self._service.list_questions(run_id))

    @operation(
        Key.PERSON,
        {200: Content.EMPTY},
        role=Role.OPERATOR,
        body=wire.ANSWER.body,
        errors=(UnknownRun, UnknownJob, Conflict),
    )
    async def answer(self, request: web.Request) -> web.Response:
        """200: the task goes on. Who answered is whose token it is."""
        by = self._require(request, Role.OPERATOR).subject[:MAX_BY]
        body = await read_message(request, wire.ANSWER.body)
        run_id, job_id = RunId(int(request.match_info["run_id"])), request.match_info["job_id"]
        await self._service.answer(
            wire.ANSWER.join(body, run_id=run_id, job_id=JobId(job_id), by=by)
        )
        return web.json_response({})

    @operation(
        Key.NOBODY,
        {200: Content.EMPTY},
        body=Content.ANY,
        errors=(UnknownCallback, Conflict),
        rank=Rank.PEOPLE,
    )
    async def post_callback(self, request: web.Request) -> web.Response:
        """200: the task goes on with it. There is no token: the URL itself is the secret."""
        body = await read_bytes(request, CALLBACK_BYTES)
        await self._service.post_callback(
            PostCallback(
                callback_id=request.match_info["callback_id"],
                secret=request.match_info["secret"],
                event=_event(body),
            )
        )
        return web.json_response({})

    def _require(self, request: web.Request, role: Role) -> Identity:
        return require_role(self._verifier, request, Audience.JOBSTORE, role)


def _event(body: bytes) -> JsonValue:
    """JSON as what it says, anything else as text; nothing at all as null."""
    if not body.strip():
        return None
    try:
        event: JsonValue = json.loads(body)
        check_event(event)
    except (ValueError, RecursionError):
        return body.decode("utf-8", "replace")
    return event
