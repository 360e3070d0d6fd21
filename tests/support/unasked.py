"""What a stand-in for the job service need not know: nobody asks it for that."""

from shared.ids import JobId, RunId
from shared.protocol import jobs as j


class Unasked:
    """`History`, `Schedules` and `Notices`, none of which is expected to be called."""

    async def job_history(self, name: str, job_id: JobId | None, *, runs: int) -> j.JobHistory:
        raise AssertionError

    async def diff(self, before: RunId, after: RunId) -> j.RunDiff:
        raise AssertionError

    async def prune(self, ask: j.PruneRequest) -> j.PruneReply:
        raise AssertionError

    async def put_schedule(self, ask: j.ScheduleRequest) -> j.ScheduleView:
        raise AssertionError

    async def list_schedules(self) -> j.ScheduleList:
        raise AssertionError

    async def pause_schedule(self, ask: j.PauseScheduleRequest) -> j.ScheduleView:
        raise AssertionError

    async def remove_schedule(self, name: str) -> None:
        raise AssertionError

    async def backfill(self, ask: j.BackfillRequest) -> j.BackfillView:
        raise AssertionError

    async def list_backfills(self) -> j.BackfillList:
        raise AssertionError

    async def cancel_backfill(self, backfill_id: int) -> j.BackfillView:
        raise AssertionError

    async def list_notifications(self, run_id: RunId) -> j.NotificationList:
        raise AssertionError
