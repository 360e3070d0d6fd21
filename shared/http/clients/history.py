"""What people ask of past runs, over HTTP."""

from typing import Final
from urllib.parse import urlencode

from shared.http import wire
from shared.http.transport import Transport
from shared.ids import JobId, RunId
from shared.protocol.history import JobHistory, PruneReply, PruneRequest, RunDiff

PRUNE_S: Final = 600.0  # years of runs, the first time


class HistoryVerbs:
    """`History` over HTTP: a part of the job service's client."""

    _transport: Transport
    _retry_for_s: float

    async def job_history(self, name: str, job_id: JobId | None, *, runs: int) -> JobHistory:
        query = {"pipeline": name, "runs": str(runs)}
        if job_id is not None:
            query["job"] = job_id
        answer = await self._transport.request(
            "GET", f"/v1/history?{urlencode(query)}", retry_for_s=self._retry_for_s
        )
        return JobHistory.model_validate_json(answer.body)

    async def diff(self, before: RunId, after: RunId) -> RunDiff:
        path = wire.path("v1", "runs", before, "diff", after)
        answer = await self._transport.request("GET", path, retry_for_s=self._retry_for_s)
        return RunDiff.model_validate_json(answer.body)

    async def prune(self, ask: PruneRequest) -> PruneReply:
        """Not sent again: who asks twice is told of what the first has left."""
        body = ask.model_dump_json().encode()
        answer = await self._transport.request("POST", "/v1/prune", body, timeout_s=PRUNE_S)
        return PruneReply.model_validate_json(answer.body)
