"""What a stand-in for the job service need not know: nobody asks it for that."""

from shared.ids import JobId, RunId
from shared.protocol.history import JobHistory, PruneReply, PruneRequest, RunDiff
from shared.protocol.notifications import NotificationList
from shared.protocol.questions import AnswerRequest, PostCallback, QuestionList
from shared.protocol.schedules import (
    BackfillList,
    BackfillRequest,
    BackfillView,
    PauseScheduleRequest,
    ScheduleList,
    ScheduleRequest,
    ScheduleView,
)
from shared.services import Components, SharedValues


class Unasked:
    """Everything beside `JobService`: none of it is expected to be called."""

    @property
    def values(self) -> SharedValues:
        raise AssertionError

    @property
    def components(self) -> Components:
        raise AssertionError

    async def job_history(self, name: str, job_id: JobId | None, *, runs: int) -> JobHistory:
        raise AssertionError

    async def diff(self, before: RunId, after: RunId) -> RunDiff:
        raise AssertionError

    async def prune(self, ask: PruneRequest) -> PruneReply:
        raise AssertionError

    async def put_schedule(self, ask: ScheduleRequest) -> ScheduleView:
        raise AssertionError

    async def list_schedules(self) -> ScheduleList:
        raise AssertionError

    async def pause_schedule(self, ask: PauseScheduleRequest) -> ScheduleView:
        raise AssertionError

    async def remove_schedule(self, name: str) -> None:
        raise AssertionError

    async def backfill(self, ask: BackfillRequest) -> BackfillView:
        raise AssertionError

    async def list_backfills(self) -> BackfillList:
        raise AssertionError

    async def cancel_backfill(self, backfill_id: int) -> BackfillView:
        raise AssertionError

    async def list_notifications(self, run_id: RunId) -> NotificationList:
        raise AssertionError

    async def list_questions(self, run_id: RunId | None) -> QuestionList:
        raise AssertionError

    async def answer(self, ask: AnswerRequest) -> None:
        raise AssertionError

    async def post_callback(self, ask: PostCallback) -> None:
        raise AssertionError
