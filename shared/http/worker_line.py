"""The worker's verbs on a line, the same at the gateway and at the job service.

Each call is what it would be as a request of its own: its own token, its own answer, its own
error. Bodies that are bytes (logs, artifacts, inputs) are requests (shared/http/worker_routes.py).
"""

from aiohttp import web
from pydantic import BaseModel

from shared.errors import Forbidden
from shared.http.admission import Rank
from shared.http.identity import (
    ATTEMPT,
    BEAT,
    OWN,
    START,
    Door,
    Identify,
    Presented,
    bearer,
    check_attempt,
    plain_id,
)
from shared.http.issuing import Issuing
from shared.http.line_server import add_line
from shared.ids import AttemptId, WorkerId
from shared.protocol import gateway as g
from shared.renewal import AttemptTokens
from shared.services import Gateway

EVERY_WORKER = "*"  # a gateway's line carries calls for all; each call says for whom it is


def add_worker_line(
    app: web.Application, service: Gateway, identify: Identify, tokens: AttemptTokens | None = None
) -> None:
    """The application serves every verb of `Gateway` that is one small message each way."""
    verbs = _LineVerbs(service, identify, tokens)
    add_line(
        app,
        lambda request: identify(Presented(bearer(request), EVERY_WORKER), BEAT),
        {
            "claim": verbs.claim,
            "refuse": verbs.refuse,
            "run": verbs.run,
            "heartbeat": verbs.heartbeat,
            "finish": verbs.finish,
        },
        {"claim": Rank.CLAIM},
    )


class _LineVerbs:
    def __init__(self, service: Gateway, identify: Identify, tokens: AttemptTokens | None) -> None:
        self._service = service
        self._identify = identify
        self._issuing = Issuing(service, tokens)

    async def claim(self, token: str | None, body: bytes) -> bytes:
        ask = g.ClaimRequest.model_validate_json(body, strict=True)
        self._check(token, OWN, ask.worker_id)
        return _dump(await self._issuing.claim(ask))

    async def refuse(self, token: str | None, body: bytes) -> bytes:
        ask = g.RefuseRequest.model_validate_json(body, strict=True)
        self._check(token, START, ask.worker_id, ask.attempt_id)
        await self._service.refuse(ask)
        return b"{}"

    async def run(self, token: str | None, body: bytes) -> bytes:
        ask = g.RunRequest.model_validate_json(body, strict=True)
        self._check(token, START, ask.worker_id, ask.attempt_id)
        return _dump(await self._issuing.run(ask))

    async def heartbeat(self, token: str | None, body: bytes) -> bytes:
        ask = g.HeartbeatRequest.model_validate_json(body, strict=True)
        self._check(token, BEAT, ask.worker_id)
        return _dump(await self._issuing.heartbeat(ask))

    async def finish(self, token: str | None, body: bytes) -> bytes:
        ask = g.FinishRequest.model_validate_json(body, strict=True)
        self._check(token, ATTEMPT, ask.worker_id, ask.attempt_id)
        return _dump(await self._service.finish(ask))

    def _check(
        self,
        token: str | None,
        door: Door,
        worker_id: WorkerId,
        attempt_id: AttemptId | None = None,
    ) -> None:
        """The token is the worker's that the message names, and for that attempt."""
        caller = self._identify(Presented(token, worker_id), door)
        if caller.worker_id != worker_id:
            raise Forbidden("the token is another worker's", check="worker")
        if attempt_id is not None:
            check_attempt(caller, AttemptId(plain_id(attempt_id, "attempt_id")))


def _dump(message: BaseModel) -> bytes:
    return message.__pydantic_serializer__.to_json(message)
