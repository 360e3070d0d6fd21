"""A scheduler on a clock that the test sets."""

from datetime import datetime, timedelta
from typing import Any

from shared.ids import RunId
from shared.protocol import jobs as j
from shared.protocol.pipeline import PipelineSpec
from shared.protocol.schedules import (
    BackfillRequest,
    ScheduleRequest,
    ScheduleView,
)
from tests.support.jobstore import Hands, a_job
from tests.support.runtime import T0

HOUR_S = 3_600.0  # T0 is noon


def nightly(cron: str = "@hourly", name: str = "nightly", **schedule: Any) -> ScheduleRequest:
    spec = {"name": name, "jobs": [a_job("one")], "schedule": {"cron": cron, **schedule}}
    return ScheduleRequest(pipeline=PipelineSpec.model_validate(spec))


class Clock:
    """A scheduler, and the clock on the wall, which is all that it goes by."""

    def __init__(self, hands: Hands) -> None:
        self.hands = hands
        self.table = hands.service.scheduler()

    async def at(self, hours: float) -> None:
        """It is so many hours after T0, and the scheduler has looked."""
        now = self.hands.runtime.now()
        self.hands.runtime.step_wall_clock((T0 - now).total_seconds() + hours * HOUR_S)
        await self.table.look_once()

    async def runs(self) -> list[j.RunSummary]:
        """Oldest first."""
        found = await self.hands.service.list_runs(j.RunFilter(limit=1_000))
        return list(found.runs)[::-1]

    async def view(self, name: str = "nightly") -> ScheduleView:
        listed = (await self.hands.service.list_schedules()).schedules
        return next(view for view in listed if view.name == name)

    async def scheduled_for(self, run_id: RunId) -> str:
        """What the run's job reads in DRAWBAR_SCHEDULED_AT."""
        claim = await self.hands.start()
        context = await self.hands.run(claim)
        assert claim.run_id == run_id
        await self.hands.finish(claim)
        return context.env["DRAWBAR_SCHEDULED_AT"]


def noon(hours: float) -> datetime:
    return T0 + timedelta(hours=hours)


def a_backfill(
    since: str = "2025-12-01", until: str = "2025-12-04", key: str = "k", name: str = "nightly"
) -> BackfillRequest:
    return BackfillRequest.model_validate(
        {"idempotency_key": key, "name": name, "since": since, "until": until}
    )
