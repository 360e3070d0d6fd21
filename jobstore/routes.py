"""People's verbs of the job service as routes: submit, look, follow, cancel, retry."""

import base64
import re
from collections.abc import AsyncIterator
from typing import Final

from aiohttp import web

from shared.errors import (
    BadPipeline,
    Conflict,
    KeyReused,
    UnknownArtifact,
    UnknownAttempt,
    UnknownJob,
    UnknownRun,
)
from shared.http import wire
from shared.http.event_stream import frame
from shared.http.identity import plain_id, require_role
from shared.http.operation import Content, Given, Key, flag, header, number, operation
from shared.http.server import read_message, reply, stream
from shared.http.sse import send_events, wants_events
from shared.ids import AttemptId, JobId, RunId
from shared.protocol import gateway as g
from shared.protocol import jobs as j
from shared.services import Body, JobService
from shared.tokens import Audience, Identity, Role, Verifier

SUBMIT_BYTES: Final = 64 * 1024 * 1024
LONGEST_LIST: Final = 10_000
MAX_BY: Final = 200  # characters of a name

_NUMBER: Final = re.compile(r"[0-9]{1,18}")
_KEY: Final = header(wire.KEY, minLength=1, maxLength=200, pattern="^[ -~]+$")
_ATTEMPT: Final = Given("attempt", {"type": "string", "pattern": "^[ -~]{1,100}$"})


def add_people_routes(app: web.Application, service: JobService, verifier: Verifier) -> None:
    """The application serves what `JobService` adds to `Gateway`."""
    verbs = _Verbs(service, verifier)
    run = "/v1/runs/{run_id:[0-9]{1,18}}"
    job = run + "/jobs/{job_id:[^/]+}"  # without a pattern, braces would not match
    app.add_routes(
        [
            web.post("/v1/runs", verbs.submit),
            web.get("/v1/runs", verbs.list_runs, allow_head=False),
            web.get(run, verbs.show_run, allow_head=False),
            web.post(f"{run}/cancel", verbs.cancel),
            web.post(f"{run}/retry", verbs.retry),
            web.post(f"{job}/approve", verbs.approve),
            web.post(f"{job}/mark", verbs.mark),
            web.get(f"{run}/events", verbs.events, allow_head=False),
            web.get(f"{run}/artifacts", verbs.list_artifacts, allow_head=False),
            web.get(f"{job}/artifacts", verbs.list_job_artifacts, allow_head=False),
            web.get(job + "/artifacts/{path:.+}", verbs.read_artifact, allow_head=False),
            web.get(f"{job}/attempts", verbs.list_attempts, allow_head=False),
            web.get(f"{job}/log", verbs.read_log, allow_head=False),
        ]
    )


class _Verbs:
    def __init__(self, service: JobService, verifier: Verifier) -> None:
        self._service = service
        self._verifier = verifier

    @operation(
        Key.PERSON,
        {201: j.SubmitReply},
        role=Role.SUBMITTER,
        body=wire.SUBMIT.body,
        given=(_KEY,),
        errors=(BadPipeline, KeyReused, UnknownRun, Conflict),
    )
    async def submit(self, request: web.Request) -> web.Response:
        """201: the run is stored. The same key again names the same run."""
        self._require(request, Role.SUBMITTER)
        key = _idempotency_key(request)
        body = await read_message(request, wire.SUBMIT.body, SUBMIT_BYTES)
        answer = await self._service.submit(wire.SUBMIT.join(body, idempotency_key=key))
        return reply(answer, status=201)

    @operation(
        Key.PERSON,
        {201: j.SubmitReply},
        role=Role.SUBMITTER,
        body=wire.RETRY.body,
        given=(_KEY,),
        errors=(UnknownRun, Conflict, KeyReused, BadPipeline),
    )
    async def retry(self, request: web.Request) -> web.Response:
        """201: a new run of the old run's pipeline."""
        self._require(request, Role.SUBMITTER)
        key = _idempotency_key(request)
        body = await read_message(request, wire.RETRY.body)
        answer = await self._service.retry(
            wire.RETRY.join(body, idempotency_key=key, run_id=_run_id(request))
        )
        return reply(answer, status=201)

    @operation(
        Key.PERSON,
        {200: Content.EMPTY},
        role=Role.SUBMITTER,
        body=wire.CANCEL.body,
        errors=(UnknownRun, UnknownJob, Conflict),
    )
    async def cancel(self, request: web.Request) -> web.Response:
        """200: nothing more of it starts."""
        self._require(request, Role.SUBMITTER)
        body = await read_message(request, wire.CANCEL.body)
        await self._service.cancel(wire.CANCEL.join(body, run_id=_run_id(request)))
        return web.json_response({})

    @operation(
        Key.PERSON,
        {200: Content.EMPTY},
        role=Role.OPERATOR,
        body=wire.APPROVE.body,
        errors=(UnknownRun, UnknownJob, Conflict),
    )
    async def approve(self, request: web.Request) -> web.Response:
        """200: the job goes on, or is cancelled. Who decided is whose token it is."""
        by = self._require(request, Role.OPERATOR).subject[:MAX_BY]
        body = await read_message(request, wire.APPROVE.body)
        await self._service.approve(
            wire.APPROVE.join(body, run_id=_run_id(request), job_id=_job_id(request), by=by)
        )
        return web.json_response({})

    @operation(
        Key.PERSON,
        {200: Content.EMPTY},
        role=Role.OPERATOR,
        body=wire.MARK.body,
        errors=(UnknownRun, UnknownJob, Conflict),
    )
    async def mark(self, request: web.Request) -> web.Response:
        """200: the job counts as a success."""
        by = self._require(request, Role.OPERATOR).subject[:MAX_BY]
        body = await read_message(request, wire.MARK.body)
        await self._service.mark(
            wire.MARK.join(body, run_id=_run_id(request), job_id=_job_id(request), by=by)
        )
        return web.json_response({})

    @operation(Key.PERSON, {200: j.RunList}, role=Role.VIEWER, query=j.RunFilter)
    async def list_runs(self, request: web.Request) -> web.Response:
        self._require(request, Role.VIEWER)
        ask = j.RunFilter.model_validate(dict(request.query))
        return reply(await self._service.list_runs(ask))

    @operation(Key.PERSON, {200: j.RunView}, role=Role.VIEWER, errors=(UnknownRun,))
    async def show_run(self, request: web.Request) -> web.Response:
        self._require(request, Role.VIEWER)
        return reply(await self._service.show_run(_run_id(request)))

    @operation(Key.PERSON, {200: j.AttemptList}, role=Role.VIEWER, errors=(UnknownRun, UnknownJob))
    async def list_attempts(self, request: web.Request) -> web.Response:
        self._require(request, Role.VIEWER)
        return reply(await self._service.list_attempts(_run_id(request), _job_id(request)))

    @operation(Key.PERSON, {200: j.ArtifactList}, role=Role.VIEWER, errors=(UnknownRun,))
    async def list_artifacts(self, request: web.Request) -> web.Response:
        """Those of the whole run."""
        self._require(request, Role.VIEWER)
        return reply(await self._service.list_artifacts(_run_id(request), None))

    @operation(Key.PERSON, {200: j.ArtifactList}, role=Role.VIEWER, errors=(UnknownRun, UnknownJob))
    async def list_job_artifacts(self, request: web.Request) -> web.Response:
        self._require(request, Role.VIEWER)
        return reply(await self._service.list_artifacts(_run_id(request), _job_id(request)))

    @operation(
        Key.PERSON,
        {200: Content.BYTES},
        role=Role.VIEWER,
        errors=(UnknownRun, UnknownJob, UnknownArtifact),
    )
    async def read_artifact(self, request: web.Request) -> web.StreamResponse:
        self._require(request, Role.VIEWER)
        # An entry knows what a path may be.
        entry = g.ArtifactEntry(path=request.match_info["path"], size_bytes=0, sha256="0" * 64)
        pieces = self._service.read_artifact(_run_id(request), _job_id(request), entry.path)
        return await stream(request, pieces)

    @operation(
        Key.PERSON,
        {200: (Content.BYTES, Content.EVENTS)},
        role=Role.VIEWER,
        given=(_ATTEMPT, number("offset"), flag("follow"), flag("timestamps")),
        errors=(UnknownRun, UnknownJob, UnknownAttempt),
    )
    async def read_log(self, request: web.Request) -> web.StreamResponse:
        """The log's bytes; as server-sent events, in base64, when the caller accepts those."""
        self._require(request, Role.VIEWER)
        run_id, job_id = _run_id(request), _job_id(request)
        attempt = request.query.get("attempt")
        pieces = self._service.read_log(
            run_id,
            job_id,
            attempt=None if attempt is None else AttemptId(plain_id(attempt, "attempt")),
            offset=wire.number_of(request.query.get("offset", "0"), "offset"),
            follow=wire.flag_of(request.query.get("follow", "false"), "follow"),
            timestamps=wire.flag_of(request.query.get("timestamps", "false"), "timestamps"),
        )
        if not wants_events(request):
            return await stream(request, pieces)
        known = await self._service.list_attempts(run_id, job_id)  # or there is no such job
        if attempt is not None and all(attempt != a.attempt_id for a in known.attempts):
            raise UnknownAttempt(attempt_id=attempt)
        return await send_events(request, _log_frames(pieces), self._verifier.runtime)

    @operation(
        Key.PERSON,
        {200: (j.EventList, Content.EVENTS)},
        role=Role.VIEWER,
        given=(number("after"), number("limit", at_least=1, at_most=LONGEST_LIST)),
        errors=(UnknownRun,),
    )
    async def events(self, request: web.Request) -> web.StreamResponse:
        """A page of events, or all as they come when the caller accepts server-sent events."""
        self._require(request, Role.VIEWER)
        run_id = _run_id(request)
        last_seen = wire.number_of(request.query.get("after", "0"), "after")
        if not wants_events(request):
            limit = wire.number_of(
                request.query.get("limit", "1000"), "limit", at_least=1, at_most=LONGEST_LIST
            )
            return reply(await self._service.list_events(run_id, after=last_seen, limit=limit))
        if _NUMBER.fullmatch(seen := request.headers.get("Last-Event-ID", "")):
            last_seen = int(seen)  # an EventSource that lost its connection comes back so
        await self._service.list_events(run_id, after=last_seen, limit=1)  # or no such run
        frames = self._event_frames(run_id, last_seen)
        return await send_events(request, frames, self._verifier.runtime)

    async def _event_frames(self, run_id: RunId, after: int) -> AsyncIterator[bytes]:
        async for event in self._service.follow_events(run_id, after=after):
            data = event.model_dump_json().encode()
            yield frame(data, number=event.seq, kind=event.kind)

    def _require(self, request: web.Request, role: Role) -> Identity:
        return require_role(self._verifier, request, Audience.JOBSTORE, role)


async def _log_frames(pieces: Body) -> AsyncIterator[bytes]:
    async for piece in pieces:
        yield frame(base64.b64encode(piece))


def _run_id(request: web.Request) -> RunId:
    return RunId(int(request.match_info["run_id"]))


def _job_id(request: web.Request) -> JobId:
    return JobId(request.match_info["job_id"])


def _idempotency_key(request: web.Request) -> str:
    return wire.checked_key(request.headers.get(wire.KEY, ""))
