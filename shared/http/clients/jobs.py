"""The whole job service over HTTP: the worker's verbs, and those of people."""

import base64
from collections.abc import AsyncIterator
from typing import TypeVar
from urllib.parse import urlencode

from pydantic import BaseModel

from shared.errors import BadRequest
from shared.http import wire
from shared.http.clients.components import ComponentsClient
from shared.http.clients.gateway import GatewayClient
from shared.http.clients.history import HistoryVerbs
from shared.http.clients.notifications import NotificationsClient
from shared.http.clients.schedules import SchedulesClient
from shared.http.clients.values import ValuesClient
from shared.http.clients.waits import WaitsClient
from shared.http.event_stream import EVENT_STREAM, read_events
from shared.ids import AttemptId, JobId, RunId
from shared.protocol import jobs as j
from shared.services import Body

M = TypeVar("M", bound=BaseModel)

SUBMIT_S = 60.0  # a document may have a hundred thousand jobs


class JobsClient(GatewayClient, HistoryVerbs, SchedulesClient, NotificationsClient, WaitsClient):
    """`WholeJobService` over HTTP. Unary verbs are retried for `retry_for_s`."""

    @property
    def components(self) -> ComponentsClient:
        return ComponentsClient(self._transport)

    @property
    def values(self) -> ValuesClient:
        return ValuesClient(self._transport, retry_for_s=self._retry_for_s)

    async def submit(self, ask: j.SubmitRequest) -> j.SubmitReply:
        return await self._post(
            "/v1/runs", wire.SUBMIT.dump(ask), j.SubmitReply, ask.idempotency_key
        )

    async def retry(self, ask: j.RetryRequest) -> j.SubmitReply:
        path = wire.path("v1", "runs", ask.run_id, "retry")
        return await self._post(path, wire.RETRY.dump(ask), j.SubmitReply, ask.idempotency_key)

    async def cancel(self, ask: j.CancelRequest) -> None:
        await self._transport.request(
            "POST",
            wire.path("v1", "runs", ask.run_id, "cancel"),
            wire.CANCEL.dump(ask),
            retry_for_s=self._retry_for_s,
        )

    async def approve(self, ask: j.ApproveRequest) -> None:
        """Who decided is whose token this is: `by` does not travel."""
        await self._decide(ask.run_id, ask.job_id, "approve", wire.APPROVE.dump(ask))

    async def mark(self, ask: j.MarkRequest) -> None:
        """As with `approve`, `by` does not travel."""
        await self._decide(ask.run_id, ask.job_id, "mark", wire.MARK.dump(ask))

    async def list_runs(self, ask: j.RunFilter) -> j.RunList:
        query = ask.model_dump(mode="json", exclude_none=True)
        return await self._get(f"/v1/runs?{urlencode(query)}", j.RunList)

    async def show_run(self, run_id: RunId) -> j.RunView:
        return await self._get(wire.path("v1", "runs", run_id), j.RunView)

    async def list_attempts(self, run_id: RunId, job_id: JobId) -> j.AttemptList:
        path = wire.path("v1", "runs", run_id, "jobs", job_id, "attempts")
        return await self._get(path, j.AttemptList)

    async def list_artifacts(self, run_id: RunId, job_id: JobId | None) -> j.ArtifactList:
        of_job = () if job_id is None else ("jobs", job_id)
        path = wire.path("v1", "runs", run_id, *of_job, "artifacts")
        return await self._get(path, j.ArtifactList)

    def read_artifact(self, run_id: RunId, job_id: JobId, path: str) -> Body:
        folder = wire.path("v1", "runs", run_id, "jobs", job_id, "artifacts")
        return self._transport.stream(f"{folder}/{wire.artifact_path(path)}")

    async def read_log(
        self,
        run_id: RunId,
        job_id: JobId,
        *,
        attempt: AttemptId | None,
        offset: int,
        follow: bool,
        timestamps: bool = False,
    ) -> Body:
        query = {"offset": str(offset)}
        if attempt is not None:
            query["attempt"] = attempt
        if follow:
            query["follow"] = "true"
        if timestamps:
            query["timestamps"] = "true"
        path = f"{wire.path('v1', 'runs', run_id, 'jobs', job_id, 'log')}?{urlencode(query)}"
        if not follow:
            async for piece in self._transport.stream(path):
                yield piece
            return
        # A quiet job sends nothing for hours; as events the stream can show that it is alive.
        pieces = self._transport.stream(path, headers={"Accept": EVENT_STREAM})
        async for data in read_events(pieces):
            yield base64.b64decode(data)

    async def list_events(self, run_id: RunId, *, after: int, limit: int) -> j.EventList:
        path = wire.path("v1", "runs", run_id, "events")
        return await self._get(f"{path}?after={after}&limit={limit}", j.EventList)

    async def follow_events(self, run_id: RunId, *, after: int) -> AsyncIterator[j.Event]:
        path = f"{wire.path('v1', 'runs', run_id, 'events')}?after={after}"
        pieces = self._transport.stream(path, headers={"Accept": EVENT_STREAM})
        async for data in read_events(pieces):
            yield j.Event.model_validate_json(data)

    async def _decide(self, run_id: RunId, job_id: JobId, verb: str, body: bytes) -> None:
        await self._transport.request(
            "POST",
            wire.path("v1", "runs", run_id, "jobs", job_id, verb),
            body,
            retry_for_s=self._retry_for_s,
        )

    async def _post(self, path: str, body: bytes, model: type[M], key: str) -> M:
        if not (key.isascii() and key.isprintable()):
            raise BadRequest(f"{wire.KEY} must be printable ASCII", header=wire.KEY)
        answer = await self._transport.request(
            "POST",
            path,
            body,
            headers={wire.KEY: key},
            timeout_s=SUBMIT_S,
            retry_for_s=self._retry_for_s,
        )
        return model.model_validate_json(answer.body)

    async def _get(self, path: str, model: type[M]) -> M:
        answer = await self._transport.request("GET", path, retry_for_s=self._retry_for_s)
        return model.model_validate_json(answer.body)
