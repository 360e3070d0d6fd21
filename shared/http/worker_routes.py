"""The worker's verbs as routes, the same at the gateway and at the job service.

They only translate: who asks comes from `identify`, what to do is the service's business. The
gateway hands in `tokens` and so attaches workload and execution tokens on the way back.
"""

import math

import structlog
from aiohttp import web

from shared.errors import (
    AttemptArchived,
    BadRequest,
    Conflict,
    LogOffsetMismatch,
    PartOffsetMismatch,
    ResultConflict,
    StaleFence,
    UnknownArtifact,
    UnknownAttempt,
    UnknownJob,
)
from shared.http import wire
from shared.http.admission import Rank
from shared.http.identity import (
    ATTEMPT,
    BEAT,
    OWN,
    START,
    Caller,
    Door,
    Identify,
    check_attempt,
    plain_id,
    presented,
)
from shared.http.issuing import Issuing
from shared.http.operation import Content, Key, header, number, operation
from shared.http.server import body_pieces, read_message, reply, stream
from shared.ids import AttemptId, JobId
from shared.protocol import gateway as g
from shared.renewal import AttemptTokens
from shared.services import Gateway

log = structlog.get_logger()

_LOST = (UnknownAttempt, AttemptArchived, StaleFence, Conflict)
_FENCE = header(wire.FENCE, pattern="^[1-9][0-9]{0,17}$")
_RANGE = header(wire.CONTENT_RANGE, examples=["bytes 0-4/*", "bytes */0"])
_PART = header(wire.CONTENT_RANGE, is_required=False, examples=["bytes 0-4/10"])
_SHA256 = header(wire.SHA256, pattern="^[0-9a-f]{64}$")


def add_worker_routes(
    app: web.Application, service: Gateway, identify: Identify, tokens: AttemptTokens | None = None
) -> None:
    """The application serves every verb of `Gateway`."""
    verbs = _Verbs(service, identify, tokens)
    one = "/v1/attempts/{attempt_id}"
    app.add_routes(
        [
            web.post("/v1/claims", verbs.claim),
            web.post("/v1/heartbeats", verbs.heartbeats),
            web.post(f"{one}/run", verbs.run),
            web.post(f"{one}/finish", verbs.finish),
            web.patch(f"{one}/log", verbs.append_log),
            web.put(one + "/artifacts/{path:.+}", verbs.put_artifact),
            web.get(one + "/inputs/{job_id:[^/]+}", verbs.list_inputs, allow_head=False),
            web.get(one + "/inputs/{job_id:[^/]+}/{path:.+}", verbs.read_input, allow_head=False),
            web.post(f"{one}/heartbeat", verbs.heartbeat),
            web.post(f"{one}/refuse", verbs.refuse),
        ]
    )


class _Verbs:
    def __init__(self, service: Gateway, identify: Identify, tokens: AttemptTokens | None) -> None:
        self._service = service
        self._identify = identify
        self._issuing = Issuing(service, tokens)

    @operation(
        Key.WORKER,
        {200: g.ClaimReply, 204: Content.NONE},
        body=wire.CLAIM.body,
        reply_headers=(wire.REASON, wire.RETRY_AFTER),
        rank=Rank.CLAIM,
    )
    async def claim(self, request: web.Request) -> web.Response:
        """200: leases on jobs. 204: none, and Drawbar-Reason says why."""
        caller = self._identify(presented(request), OWN)
        body = await read_message(request, wire.CLAIM.body)
        found = await self._issuing.claim(wire.CLAIM.join(body, worker_id=caller.worker_id))
        return reply(found) if found.claims else _no_job(found)

    @operation(Key.WORKER, {200: Content.EMPTY}, body=wire.REFUSE.body, errors=_LOST)
    async def refuse(self, request: web.Request) -> web.Response:
        """200: the job is back in its place."""
        caller, attempt_id = self._of_attempt(request, START)
        body = await read_message(request, wire.REFUSE.body)
        await self._service.refuse(
            wire.REFUSE.join(body, worker_id=caller.worker_id, attempt_id=attempt_id)
        )
        return web.json_response({})

    @operation(Key.WORKER, {200: g.RunContext}, body=wire.RUN.body, errors=_LOST)
    async def run(self, request: web.Request) -> web.Response:
        """200: the run context. 409: do not start."""
        caller, attempt_id = self._of_attempt(request, START)
        body = await read_message(request, wire.RUN.body)
        ask = wire.RUN.join(body, worker_id=caller.worker_id, attempt_id=attempt_id)
        return reply(await self._issuing.run(ask))

    @operation(Key.WORKER, {200: g.HeartbeatReply}, body=wire.HEARTBEATS.body)
    async def heartbeats(self, request: web.Request) -> web.Response:
        """200: a verdict for each lease, with a fresh execution token where the last is old."""
        caller = self._identify(presented(request), BEAT)
        body = await read_message(request, wire.HEARTBEATS.body)
        ask = wire.HEARTBEATS.join(body, worker_id=caller.worker_id)
        return reply(await self._issuing.heartbeat(ask))

    @operation(
        Key.WORKER,
        {200: g.LeaseVerdict},
        body=wire.HEARTBEAT.body,
        errors=_LOST,
        reply_headers=(wire.REFRESHED,),
    )
    async def heartbeat(self, request: web.Request) -> web.Response:
        """200: renewed, or renewed and to be cancelled. 404, 409, 410: stop the process."""
        caller, attempt_id = self._of_attempt(request, ATTEMPT)
        body = await read_message(request, wire.HEARTBEAT.body)
        beat = wire.HEARTBEAT.join(body, attempt_id=attempt_id)
        answer = await self._issuing.heartbeat(
            g.HeartbeatRequest(worker_id=caller.worker_id, leases=(beat,))
        )
        verdict = answer.leases[0]
        if verdict.verdict is g.Verdict.GONE:
            raise _gone(verdict)
        response = reply(verdict.model_copy(update={"token": None}))
        if verdict.token is not None:
            response.headers[wire.REFRESHED] = verdict.token
        return response

    @operation(
        Key.WORKER,
        {202: g.LogReply},
        body=Content.BYTES,
        given=(_FENCE, _RANGE),
        errors=(*_LOST, LogOffsetMismatch),
        reply_headers=(wire.RANGE, wire.STATE),
    )
    async def append_log(self, request: web.Request) -> web.Response:
        """202: appended; Range says up to where. 416: Range says where to go on."""
        caller, attempt_id = self._of_attempt(request, ATTEMPT)
        offset, size_bytes = wire.parse_content_range(request.headers.get(wire.CONTENT_RANGE))
        if request.content_length not in (None, size_bytes):
            raise BadRequest("Content-Range and Content-Length name different sizes")
        chunk = g.LogChunk(
            attempt_id=attempt_id,
            worker_id=caller.worker_id,
            fence=wire.fence_of(request.headers),
            offset=offset,
            size_bytes=size_bytes,
        )
        answer = await self._service.append_log(chunk, body_pieces(request, size_bytes))
        response = reply(answer, status=202)
        response.headers[wire.RANGE] = f"0-{answer.next_offset}"
        response.headers[wire.STATE] = answer.attempt_status
        return response

    @operation(
        Key.WORKER,
        {201: g.ArtifactReply, 202: g.ArtifactReply},
        body=Content.BYTES,
        given=(_FENCE, _SHA256, _PART),
        errors=(*_LOST, PartOffsetMismatch),
        reply_headers=(wire.RANGE,),
    )
    async def put_artifact(self, request: web.Request) -> web.Response:
        """201: stored under its hash, verified. 202: a part, Range says up to where. 416: Range
        says where to go on."""
        caller, attempt_id = self._of_attempt(request, ATTEMPT)
        size_bytes = request.content_length
        if size_bytes is None:
            raise BadRequest("Content-Length is missing", header="Content-Length")
        offset, part_bytes, total = 0, None, size_bytes
        if (text := request.headers.get(wire.CONTENT_RANGE)) is not None:
            offset, part_bytes, total = wire.parse_part_range(text)
            if part_bytes != size_bytes:
                raise BadRequest("Content-Range and Content-Length name different sizes")
        upload = g.ArtifactUpload(
            attempt_id=attempt_id,
            worker_id=caller.worker_id,
            fence=wire.fence_of(request.headers),
            entry=g.ArtifactEntry(
                path=request.match_info["path"],
                size_bytes=total,
                sha256=request.headers.get(wire.SHA256, ""),
            ),
            offset=offset,
            part_bytes=part_bytes,
        )
        answer = await self._service.put_artifact(upload, body_pieces(request, size_bytes))
        response = reply(answer, status=201 if answer.next_offset == total else 202)
        response.headers[wire.RANGE] = f"0-{answer.next_offset}"
        return response

    @operation(Key.WORKER, {200: g.InputList}, given=(_FENCE,), errors=(*_LOST, UnknownJob))
    async def list_inputs(self, request: web.Request) -> web.Response:
        caller, attempt_id = self._of_attempt(request, ATTEMPT)
        ask = g.InputListRequest(
            attempt_id=attempt_id,
            worker_id=caller.worker_id,
            fence=wire.fence_of(request.headers),
            job_id=JobId(request.match_info["job_id"]),
        )
        return reply(await self._service.list_inputs(ask))

    @operation(
        Key.WORKER,
        {200: Content.BYTES},
        given=(_FENCE, number("offset")),
        errors=(*_LOST, UnknownJob, UnknownArtifact),
    )
    async def read_input(self, request: web.Request) -> web.StreamResponse:
        """200: the bytes from `offset` on; none, if it has no more."""
        caller, attempt_id = self._of_attempt(request, ATTEMPT)
        ask = g.InputRequest(
            attempt_id=attempt_id,
            worker_id=caller.worker_id,
            fence=wire.fence_of(request.headers),
            job_id=JobId(request.match_info["job_id"]),
            path=request.match_info["path"],
            offset=wire.number_of(request.query.get("offset", "0"), "offset"),
        )
        return await stream(request, self._service.read_input(ask))

    @operation(
        Key.WORKER,
        {200: g.Receipt, 202: g.Incomplete},
        body=wire.FINISH.body,
        errors=(*_LOST, ResultConflict),
    )
    async def finish(self, request: web.Request) -> web.Response:
        """200: the receipt. 202: what is missing. 409: too late, or another result."""
        caller, attempt_id = self._of_attempt(request, ATTEMPT)
        body = await read_message(request, wire.FINISH.body)
        answer = await self._service.finish(
            wire.FINISH.join(body, worker_id=caller.worker_id, attempt_id=attempt_id)
        )
        return reply(answer, status=200 if isinstance(answer, g.Receipt) else 202)

    def _of_attempt(self, request: web.Request, door: Door) -> tuple[Caller, AttemptId]:
        caller = self._identify(presented(request), door)
        attempt_id = AttemptId(plain_id(request.match_info["attempt_id"], "attempt_id"))
        check_attempt(caller, attempt_id)
        return caller, attempt_id


def _no_job(answer: g.ClaimReply) -> web.Response:
    headers = {wire.REASON: answer.reason or "no_job"}
    if answer.retry_after_s > 0:
        headers[wire.RETRY_AFTER] = str(math.ceil(answer.retry_after_s))
    return web.Response(status=204, headers=headers)


def _gone(verdict: g.LeaseVerdict) -> Exception:
    reason = verdict.reason or "gone"
    if reason.startswith("unknown"):
        return UnknownAttempt(attempt_id=verdict.attempt_id)
    if reason == "archived":
        return AttemptArchived(attempt_id=verdict.attempt_id)
    return Conflict("the lease is gone", attempt_id=verdict.attempt_id, state=reason)
