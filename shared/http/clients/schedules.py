"""The schedules of the job service over HTTP."""

from shared.http import wire
from shared.http.clients.asking import Asking
from shared.protocol import jobs as j


class SchedulesClient(Asking):
    """`Schedules` over HTTP."""

    async def put_schedule(self, ask: j.ScheduleRequest) -> j.ScheduleView:
        path = wire.path("v1", "schedules", ask.pipeline.name)
        return await self._ask("PUT", path, j.ScheduleView, ask.model_dump_json().encode())

    async def list_schedules(self) -> j.ScheduleList:
        return await self._ask("GET", "/v1/schedules", j.ScheduleList)

    async def pause_schedule(self, ask: j.PauseScheduleRequest) -> j.ScheduleView:
        verb = "pause" if ask.is_paused else "resume"
        path = wire.path("v1", "schedules", ask.name, verb)
        return await self._ask("POST", path, j.ScheduleView)

    async def remove_schedule(self, name: str) -> None:
        path = wire.path("v1", "schedules", name)
        await self._transport.request("DELETE", path, retry_for_s=self._retry_for_s)

    async def backfill(self, ask: j.BackfillRequest) -> j.BackfillView:
        path = wire.path("v1", "schedules", ask.name, "backfills")
        body = wire.BACKFILL.dump(ask)
        return await self._ask("POST", path, j.BackfillView, body, key=ask.idempotency_key)

    async def list_backfills(self) -> j.BackfillList:
        return await self._ask("GET", "/v1/backfills", j.BackfillList)

    async def cancel_backfill(self, backfill_id: int) -> j.BackfillView:
        path = wire.path("v1", "backfills", backfill_id, "cancel")
        return await self._ask("POST", path, j.BackfillView)
