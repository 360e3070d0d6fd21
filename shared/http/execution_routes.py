"""The execution API, the same at the gateway and at the job service: what running tasks ask.

One route for every request, which says itself what it is: the message is the task runner's frame,
and nothing on the way has to know them all. Files come as a body of their own.
"""

from aiohttp import web

from shared.errors import (
    AttemptArchived,
    Conflict,
    StaleFence,
    UnknownAttempt,
    UnknownBundle,
    UnknownConnection,
    UnknownJob,
    UnknownVariable,
)
from shared.http.identity import ATTEMPT, Identify, check_attempt, plain_id, presented
from shared.http.operation import Content, Key, header, operation
from shared.http.server import read_message, reply, stream
from shared.http.wire import FENCE, AskBody, fence_of
from shared.ids import AttemptId
from shared.protocol import execution as e
from shared.services import Execution

_LOST = (UnknownAttempt, AttemptArchived, StaleFence)
_MISSING = (UnknownVariable, UnknownConnection, UnknownJob)


def add_execution_routes(app: web.Application, execution: Execution, identify: Identify) -> None:
    """The application serves every verb of `Execution`."""
    verbs = _Verbs(execution, identify)
    one = "/v1/attempts/{attempt_id}"
    app.add_routes(
        [
            web.post(f"{one}/ask", verbs.ask),
            web.get(one + "/bundles/{sha256}", verbs.read_bundle, allow_head=False),
        ]
    )


class _Verbs:
    def __init__(self, execution: Execution, identify: Identify) -> None:
        self._execution = execution
        self._identify = identify

    @operation(Key.WORKER, {200: Content.ANY}, body=AskBody, errors=(*_LOST, *_MISSING, Conflict))
    async def ask(self, request: web.Request) -> web.Response:
        """200: the answer, {} where there is none. 404: no such thing. 409: the attempt is over."""
        worker_id, attempt_id = self._of_attempt(request)
        body = await read_message(request, AskBody)
        scope = e.Scope(attempt_id=attempt_id, worker_id=worker_id, fence=body.fence)
        answer = await getattr(self._execution, body.request.ask)(scope, body.request)
        return web.json_response({}) if answer is None else reply(answer)

    @operation(
        Key.WORKER,
        {200: Content.BYTES},
        given=(header(FENCE, pattern="^[1-9][0-9]{0,17}$"),),
        errors=(*_LOST, UnknownBundle),
    )
    async def read_bundle(self, request: web.Request) -> web.StreamResponse:
        """200, the bytes."""
        worker_id, attempt_id = self._of_attempt(request)
        scope = e.Scope(attempt_id=attempt_id, worker_id=worker_id, fence=fence_of(request.headers))
        return await stream(
            request, self._execution.read_bundle(scope, request.match_info["sha256"])
        )

    def _of_attempt(self, request: web.Request) -> tuple[str, AttemptId]:
        caller = self._identify(presented(request), ATTEMPT)
        attempt_id = AttemptId(plain_id(request.match_info["attempt_id"], "attempt_id"))
        check_attempt(caller, attempt_id)
        return caller.worker_id, attempt_id
