"""The worker's verbs over HTTP: worker to gateway, and gateway to job service.

A worker's client keeps the tokens of attempts as claims and run contexts bring them, and drops
them when the attempt is settled. A gateway's client never sees any and uses its service token.
"""

import asyncio
from collections.abc import Sequence
from typing import Final

from shared.errors import (
    Conflict,
    NotFound,
    ServiceError,
    Unauthenticated,
    Unavailable,
    from_wire,
)
from shared.http import wire
from shared.http.together import Together
from shared.http.transport import CALL_S, Answer, Transport
from shared.ids import AttemptId
from shared.protocol import gateway as g
from shared.protocol.batch import MAX_CALLS, Call, CallAnswer, CallAnswers, Calls, Failure
from shared.services import Body

KEPT_TOKENS: Final = 2 * g.MAX_SLOTS  # of each kind; far more than a worker has attempts


class GatewayClient:
    """`Gateway` over HTTP. Unary verbs but claim and heartbeat are retried for `retry_for_s`."""

    def __init__(self, transport: Transport, *, retry_for_s: float = 0.0) -> None:
        self._transport = transport
        self._retry_for_s = retry_for_s
        self._together = Together(self._send_together, MAX_CALLS)
        self._workload: dict[AttemptId, str] = {}
        self._execution: dict[AttemptId, str] = {}

    async def claim(self, ask: g.ClaimRequest) -> g.ClaimReply:
        answer = await self._transport.request(
            "POST",
            "/v1/claims",
            wire.CLAIM.dump(ask),
            headers={wire.WORKER: ask.worker_id},
            timeout_s=ask.wait_s + CALL_S,
        )
        if answer.status == 204:
            return g.ClaimReply(
                claims=(),
                reason=answer.headers.get(wire.REASON),
                retry_after_s=_number(answer.headers.get(wire.RETRY_AFTER)),
            )
        found = g.ClaimReply.model_validate_json(answer.body)
        for claim in found.claims:
            _keep(self._workload, claim.attempt_id, claim.token)
        return found

    async def refuse(self, ask: g.RefuseRequest) -> None:
        # Its token stays until newer ones push it out: a refusal may have to be sent again.
        try:
            await self._start(ask, "refuse", wire.REFUSE.dump(ask))
        except (Conflict, NotFound):
            self._drop(ask.attempt_id)
            raise

    async def run(self, ask: g.RunRequest) -> g.RunContext:
        call = Call.model_construct(token=self._workload.get(ask.attempt_id), run=ask)
        try:
            context = (await self._together.call(call)).context
        except (Conflict, NotFound):
            self._drop(ask.attempt_id)
            raise
        assert context is not None
        # The workload token stays until the end: `run` may have to be sent again.
        _keep(self._execution, ask.attempt_id, context.token)
        return context

    async def heartbeat(self, ask: g.HeartbeatRequest) -> g.HeartbeatReply:
        answer = await self._transport.request(
            "POST",
            "/v1/heartbeats",
            wire.HEARTBEATS.dump(ask),
            headers={wire.WORKER: ask.worker_id},
        )
        verdicts = g.HeartbeatReply.model_validate_json(answer.body)
        for verdict in verdicts.leases:
            if verdict.verdict is not g.Verdict.GONE:
                _keep(self._execution, verdict.attempt_id, verdict.token)
        return verdicts

    async def append_log(self, chunk: g.LogChunk, body: Body) -> g.LogReply:
        headers = _headers(chunk) | {
            wire.CONTENT_RANGE: wire.content_range(chunk.offset, chunk.size_bytes)
        }
        path = wire.path("v1", "attempts", chunk.attempt_id, "log")
        answer = await self._upload(
            "PATCH", path, chunk.attempt_id, body, chunk.size_bytes, headers
        )
        return g.LogReply.model_validate_json(answer.body)

    async def put_artifact(self, upload: g.ArtifactUpload, body: Body) -> None:
        entry = upload.entry
        path = wire.path("v1", "attempts", upload.attempt_id, "artifacts")
        await self._upload(
            "PUT",
            f"{path}/{wire.artifact_path(entry.path)}",
            upload.attempt_id,
            body,
            entry.size_bytes,
            _headers(upload) | {wire.SHA256: entry.sha256},
        )

    async def list_inputs(self, ask: g.InputListRequest) -> g.InputList:
        path = wire.path("v1", "attempts", ask.attempt_id, "inputs", ask.job_id)
        try:
            answer = await self._transport.request(
                "GET",
                path,
                headers=_headers(ask),
                token=self._execution.get(ask.attempt_id),
                retry_for_s=self._retry_for_s,
            )
        except Unauthenticated as error:
            raise self._forgotten(ask.attempt_id, error) from None
        return g.InputList.model_validate_json(answer.body)

    async def read_input(self, ask: g.InputRequest) -> Body:
        path = wire.path("v1", "attempts", ask.attempt_id, "inputs", ask.job_id)
        try:
            async for piece in self._transport.stream(
                f"{path}/{wire.artifact_path(ask.path)}",
                headers=_headers(ask),
                token=self._execution.get(ask.attempt_id),
            ):
                yield piece
        except Unauthenticated as error:
            raise self._forgotten(ask.attempt_id, error) from None

    async def finish(self, ask: g.FinishRequest) -> g.FinishReply:
        call = Call.model_construct(token=self._execution.get(ask.attempt_id), finish=ask)
        try:
            reply = (await self._together.call(call)).reply
        except Unauthenticated as error:
            raise self._forgotten(ask.attempt_id, error) from None
        except (Conflict, NotFound):
            self._drop(ask.attempt_id)
            raise
        assert reply is not None
        if isinstance(reply, g.Receipt):
            self._drop(ask.attempt_id)
        return reply

    async def _send_together(self, calls: Sequence[Call]) -> Sequence[CallAnswer | Exception]:
        """One call goes by its own door, several in one envelope."""
        if len(calls) == 1:
            return [await self._send_alone(calls[0])]
        ask = Calls.model_construct(calls=tuple(calls))
        try:
            answer = await self._transport.request(
                "POST", "/v1/batch", ask.__pydantic_serializer__.to_json(ask)
            )
        except ServiceError as error:
            if error.retryable:
                raise
            # The envelope was turned down, as too large for one: no call has its answer yet.
            alone = (self._send_alone(call) for call in calls)
            return [_answered(one) for one in await asyncio.gather(*alone, return_exceptions=True)]
        found = CallAnswers.model_validate_json(answer.body).answers
        if len(found) != len(calls):
            raise Unavailable("the gateway answered another number of calls than were asked")
        return [_raised(one.failure) if one.failure is not None else one for one in found]

    async def _send_alone(self, call: Call) -> CallAnswer:
        if call.run is not None:
            answer = await self._start(call.run, "run", wire.RUN.dump(call.run))
            context = g.RunContext.model_validate_json(answer.body)
            return CallAnswer.model_construct(context=context)
        assert call.finish is not None
        answer = await self._transport.request(
            "POST",
            wire.path("v1", "attempts", call.finish.attempt_id, "finish"),
            wire.FINISH.dump(call.finish),
            headers={wire.WORKER: call.finish.worker_id},
            token=call.token,
            retry_for_s=self._retry_for_s,
        )
        model = g.Incomplete if answer.status == 202 else g.Receipt
        return CallAnswer.model_construct(reply=model.model_validate_json(answer.body))

    async def _start(self, ask: g.RunRequest | g.RefuseRequest, verb: str, body: bytes) -> Answer:
        return await self._transport.request(
            "POST",
            wire.path("v1", "attempts", ask.attempt_id, verb),
            body,
            headers={wire.WORKER: ask.worker_id},
            token=self._workload.get(ask.attempt_id),
            retry_for_s=self._retry_for_s,
        )

    async def _upload(
        self,
        method: str,
        path: str,
        attempt_id: AttemptId,
        body: Body,
        size_bytes: int,
        headers: dict[str, str],
    ) -> Answer:
        try:
            return await self._transport.upload(
                method,
                path,
                body,
                size_bytes,
                headers=headers,
                token=self._execution.get(attempt_id),
                timeout_s=CALL_S + size_bytes / g.MIN_BYTES_PER_S,
            )
        except Unauthenticated as error:
            raise self._forgotten(attempt_id, error) from None

    def _forgotten(self, attempt_id: AttemptId, error: Unauthenticated) -> ServiceError:
        """An execution token that ran out in a long outage is dropped: sent again, the same
        verb goes with the worker's own token, which is fresher and opens it as well."""
        if self._execution.pop(attempt_id, None) is None:
            return error
        return Unavailable("the execution token ran out; the worker's own will do", **error.facts)

    def _drop(self, attempt_id: AttemptId) -> None:
        self._workload.pop(attempt_id, None)
        self._execution.pop(attempt_id, None)


def _answered(outcome: CallAnswer | BaseException) -> CallAnswer | Exception:
    if isinstance(outcome, CallAnswer | Exception):
        return outcome
    raise outcome


def _raised(failure: Failure) -> ServiceError:
    return from_wire(failure.code, failure.message, failure.facts)


def _headers(
    ask: g.LogChunk | g.ArtifactUpload | g.InputRequest | g.InputListRequest,
) -> dict[str, str]:
    return {wire.WORKER: ask.worker_id, wire.FENCE: str(ask.fence)}


def _keep(tokens: dict[AttemptId, str], attempt_id: AttemptId, token: str | None) -> None:
    if token is not None:
        if len(tokens) >= KEPT_TOKENS and attempt_id not in tokens:
            del tokens[next(iter(tokens))]
        tokens[attempt_id] = token


def _number(text: str | None) -> float:
    return float(text) if text is not None and text.isdecimal() else 0.0
