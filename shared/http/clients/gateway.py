"""The worker's verbs over HTTP: worker to gateway, and gateway to job service.

Small messages go on the line, bytes as requests.

A worker's client keeps the tokens of attempts as claims and run contexts bring them, and drops
them when the attempt is settled. A gateway's client never sees any and uses its service token.
"""

from collections.abc import Callable
from typing import Final, TypeVar

from pydantic import TypeAdapter

from shared.errors import (
    Conflict,
    NotFound,
    ServiceError,
    Unauthenticated,
    Unavailable,
)
from shared.http import wire
from shared.http.transport import CALL_S, Answer, Credential, Transport
from shared.ids import AttemptId, WorkerId
from shared.protocol import gateway as g
from shared.services import Body

T = TypeVar("T")
Ask = g.LogChunk | g.ArtifactUpload | g.InputListRequest | g.InputRequest | g.FinishRequest

KEPT_TOKENS: Final = 2 * g.MAX_SLOTS  # of each kind; far more than a worker has attempts

_FINISH_REPLY: Final = TypeAdapter[g.FinishReply](g.FinishReply)


class GatewayClient:
    """`Gateway` over HTTP. Unary verbs but claim and heartbeat are retried for `retry_for_s`."""

    def __init__(
        self,
        transport: Transport,
        *,
        retry_for_s: float = 0.0,
        credential: Credential | None = None,
    ) -> None:
        """`credential`: the worker's tokens; None: the transport's own opens everything."""
        self._transport = transport
        self._retry_for_s = retry_for_s
        self._credential = credential
        self._workload: dict[AttemptId, str] = {}
        self._execution: dict[AttemptId, str] = {}

    def execution_token(self, attempt_id: AttemptId) -> str | None:
        """The newest that came for the attempt; None: it is this client's own that counts."""
        return self._execution.get(attempt_id)

    async def claim(self, ask: g.ClaimRequest) -> g.ClaimReply:
        found = await self._transport.call(
            "claim", ask, g.ClaimReply.model_validate_json, timeout_s=ask.wait_s + CALL_S
        )
        for claim in found.claims:
            _keep(self._workload, claim.attempt_id, claim.token)
        return found

    async def refuse(self, ask: g.RefuseRequest) -> None:
        # Its token stays until newer ones push it out: a refusal may have to be sent again.
        try:
            await self._start("refuse", ask, bytes)
        except (Conflict, NotFound):
            self._drop(ask.attempt_id)
            raise

    async def run(self, ask: g.RunRequest) -> g.RunContext:
        try:
            context = await self._start("run", ask, g.RunContext.model_validate_json)
        except (Conflict, NotFound):
            self._drop(ask.attempt_id)
            raise
        # The workload token stays until the end: `run` may have to be sent again.
        _keep(self._execution, ask.attempt_id, context.token)
        return context

    async def heartbeat(self, ask: g.HeartbeatRequest) -> g.HeartbeatReply:
        verdicts = await self._transport.call(
            "heartbeat",
            ask,
            g.HeartbeatReply.model_validate_json,
            token=self._workers(ask.worker_id),
        )
        for verdict in verdicts.leases:
            if verdict.verdict is not g.Verdict.GONE:
                _keep(self._execution, verdict.attempt_id, verdict.token)
        return verdicts

    async def append_log(self, chunk: g.LogChunk, body: Body) -> g.LogReply:
        headers = _headers(chunk) | {
            wire.CONTENT_RANGE: wire.content_range(chunk.offset, chunk.size_bytes)
        }
        path = wire.path("v1", "attempts", chunk.attempt_id, "log")
        answer = await self._upload("PATCH", path, chunk, body, chunk.size_bytes, headers)
        return g.LogReply.model_validate_json(answer.body)

    async def put_artifact(self, upload: g.ArtifactUpload, body: Body) -> g.ArtifactReply:
        entry = upload.entry
        path = wire.path("v1", "attempts", upload.attempt_id, "artifacts")
        headers = _headers(upload) | {wire.SHA256: entry.sha256}
        size_bytes = entry.size_bytes
        if upload.part_bytes is not None:
            size_bytes = upload.part_bytes
            headers[wire.CONTENT_RANGE] = wire.part_range(
                upload.offset, size_bytes, entry.size_bytes
            )
        answer = await self._upload(
            "PUT",
            f"{path}/{wire.artifact_path(entry.path)}",
            upload,
            body,
            size_bytes,
            headers,
        )
        if not answer.body:  # of a service that knows no parts, and was sent none
            return g.ArtifactReply(next_offset=entry.size_bytes)
        return g.ArtifactReply.model_validate_json(answer.body)

    async def list_inputs(self, ask: g.InputListRequest) -> g.InputList:
        path = wire.path("v1", "attempts", ask.attempt_id, "inputs", ask.job_id)
        try:
            answer = await self._transport.request(
                "GET",
                path,
                headers=_headers(ask),
                token=self._opens(ask),
                retry_for_s=self._retry_for_s,
            )
        except Unauthenticated as error:
            raise self._forgotten(ask.attempt_id, error) from None
        return g.InputList.model_validate_json(answer.body)

    async def read_input(self, ask: g.InputRequest) -> Body:
        path = wire.path("v1", "attempts", ask.attempt_id, "inputs", ask.job_id)
        rest = f"?offset={ask.offset}" if ask.offset else ""
        try:
            async for piece in self._transport.stream(
                f"{path}/{wire.artifact_path(ask.path)}{rest}",
                headers=_headers(ask),
                token=self._opens(ask),
            ):
                yield piece
        except Unauthenticated as error:
            raise self._forgotten(ask.attempt_id, error) from None

    async def finish(self, ask: g.FinishRequest) -> g.FinishReply:
        try:
            reply = await self._transport.call(
                "finish",
                ask,
                _FINISH_REPLY.validate_json,
                token=self._opens(ask),
                retry_for_s=self._retry_for_s,
            )
        except Unauthenticated as error:
            raise self._forgotten(ask.attempt_id, error) from None
        except (Conflict, NotFound):
            self._drop(ask.attempt_id)
            raise
        if isinstance(reply, g.Receipt):
            self._drop(ask.attempt_id)
        return reply

    async def _start(
        self, verb: str, ask: g.RunRequest | g.RefuseRequest, read: Callable[[bytes], T]
    ) -> T:
        return await self._transport.call(
            verb,
            ask,
            read,
            token=self._workload.get(ask.attempt_id),
            retry_for_s=self._retry_for_s,
        )

    async def _upload(
        self,
        method: str,
        path: str,
        ask: g.LogChunk | g.ArtifactUpload,
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
                token=self._opens(ask),
                timeout_s=CALL_S + size_bytes / g.MIN_BYTES_PER_S,
            )
        except Unauthenticated as error:
            raise self._forgotten(ask.attempt_id, error) from None

    def _opens(self, ask: Ask) -> str | None:
        """The token for what is done for a running attempt."""
        return self._execution.get(ask.attempt_id) or self._workers(ask.worker_id)

    def _workers(self, worker_id: WorkerId) -> str | None:
        return None if self._credential is None else self._credential.of(worker_id)

    def _forgotten(self, attempt_id: AttemptId, error: Unauthenticated) -> ServiceError:
        """An execution token that ran out in a long outage is dropped: sent again, the same
        verb goes with the worker's own token, which is fresher and opens it as well."""
        if self._execution.pop(attempt_id, None) is None:
            return error
        return Unavailable("the execution token ran out; the worker's own will do", **error.facts)

    def _drop(self, attempt_id: AttemptId) -> None:
        self._workload.pop(attempt_id, None)
        self._execution.pop(attempt_id, None)


def _headers(
    ask: g.LogChunk | g.ArtifactUpload | g.InputRequest | g.InputListRequest,
) -> dict[str, str]:
    return {wire.WORKER: ask.worker_id, wire.FENCE: str(ask.fence)}


def _keep(tokens: dict[AttemptId, str], attempt_id: AttemptId, token: str | None) -> None:
    if token is not None:
        if len(tokens) >= KEPT_TOKENS and attempt_id not in tokens:
            del tokens[next(iter(tokens))]
        tokens[attempt_id] = token
