"""The schedules of the job service over HTTP."""

from shared.http import wire
from shared.http.clients.asking import Asking
from shared.protocol.schedules import (
    BackfillList,
    BackfillRequest,
    BackfillView,
    PauseScheduleRequest,
    ScheduleList,
    ScheduleRequest,
    ScheduleView,
)


class SchedulesClient(Asking):
    """`Schedules` over HTTP."""

    async def put_schedule(self, ask: ScheduleRequest) -> ScheduleView:
        path = wire.path("v1", "schedules", ask.pipeline.name)
        return await self._ask("PUT", path, ScheduleView, ask.model_dump_json().encode())

    async def list_schedules(self) -> ScheduleList:
        return await self._ask("GET", "/v1/schedules", ScheduleList)

    async def pause_schedule(self, ask: PauseScheduleRequest) -> ScheduleView:
        verb = "pause" if ask.is_paused else "resume"
        path = wire.path("v1", "schedules", ask.name, verb)
        return await self._ask("POST", path, ScheduleView)

    async def remove_schedule(self, name: str) -> None:
        path = wire.path("v1", "schedules", name)
        await self._transport.request("DELETE", path, retry_for_s=self._retry_for_s)

    async def backfill(self, ask: BackfillRequest) -> BackfillView:
        path = wire.path("v1", "schedules", ask.name, "backfills")
        body = wire.BACKFILL.dump(ask)
        return await self._ask("POST", path, BackfillView, body, key=ask.idempotency_key)

    async def list_backfills(self) -> BackfillList:
        return await self._ask("GET", "/v1/backfills", BackfillList)

    async def cancel_backfill(self, backfill_id: int) -> BackfillView:
        path = wire.path("v1", "backfills", backfill_id, "cancel")
        return await self._ask("POST", path, BackfillView)
