"""The job service: the only owner of truth about runs, jobs and attempts.

It decides and orders; the store remembers. Leases and timers are the keeper's.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from jobstore.artifacts import Artifacts, entry_at, one_piece
from jobstore.attempts import RunningAttempts
from jobstore.components.service import ComponentService
from jobstore.execution import run_context
from jobstore.execution_data.service import ExecutionService
from jobstore.execution_data.values import Values
from jobstore.execution_data.vault import Vault, no_keys
from jobstore.followers import Followers, Recent
from jobstore.history.service import HistoryService
from jobstore.keeper import Keeper
from jobstore.leases import LeaseBook
from jobstore.logs import Logs
from jobstore.notifications.outbox import Outbox
from jobstore.origin import origin_of, origin_of_retry, unknown_skips
from jobstore.schedules.scheduler import Scheduler
from jobstore.schedules.service import ScheduleService
from jobstore.settings import JobStoreSettings
from jobstore.store.claim import Granted
from jobstore.store.journal import Change
from jobstore.store.sqlite import SqliteJobStore
from jobstore.store.submit import bundles_of
from jobstore.triggers.ports import Outside
from jobstore.triggers.service import WaitService
from jobstore.triggers.triggerer import Triggerer
from jobstore.watchers import Watchers
from shared.errors import (
    BadPipeline,
)
from shared.files import Files
from shared.ids import AttemptId, JobId, RunId
from shared.loops import Loops
from shared.pipeline_rules import find_mistakes
from shared.protocol import gateway as g
from shared.protocol import jobs as j
from shared.protocol.execution import Connection, GetConnection
from shared.protocol.history import JobHistory, PruneReply, PruneRequest, RunDiff
from shared.protocol.notifications import NotificationList
from shared.protocol.pipeline import PipelineSpec
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
from shared.runtime import Runtime
from shared.services import Body

KEEP_EVERY_S = 0.1
NOTE_LATE_EVERY_S = 0.5  # of a second and more by which they are late
LOOK_BACK_EVERY_S = 60.0


class JobStoreService:
    """`JobService`, on one SQLite file and a folder of logs and blobs."""

    def __init__(
        self,
        path: Path,
        files: Files,
        runtime: Runtime,
        settings: JobStoreSettings | None = None,
        vault: Vault | None = None,
        outside: Outside | None = None,
    ) -> None:
        """Without a vault there are neither variables nor connections; without `outside` no
        triggers that look at files or servers, and no callbacks."""
        self._settings = settings or JobStoreSettings()
        self._runtime = runtime
        self._store = SqliteJobStore(path, runtime=runtime, on_commit=self._on_commit)
        self._leases = LeaseBook(
            start_ttl_s=self._settings.start_ttl_s,
            lease_s=self._settings.lease_s,
            heartbeat_s=self._settings.heartbeat_s,
        )
        self._watchers = Watchers()
        recent = Recent()
        self._keeper = Keeper(
            runtime, self._watchers, recent, self._leases, lease_s=self._settings.lease_s
        )
        self._logs = Logs(files, runtime, max_bytes=self._settings.max_log_bytes)
        self._artifacts = Artifacts(files, runtime, max_bytes=self._settings.max_artifact_bytes)
        self._attempts = RunningAttempts(
            self._store,
            self._leases,
            self._logs,
            self._artifacts,
            self._watchers,
            runtime,
            max_lost=self._settings.max_lost,
        )
        self._followers = Followers(self._store, self._logs, self._watchers, recent)
        self._history = HistoryService(
            self._store.database,
            self._artifacts,
            files,
            runtime,
            keep_s=self._settings.keep_s,
        )
        self._loops = Loops(runtime)
        self._loops.add("jobstore.store", self._watch_store)
        self._loops.every("jobstore.keeper", KEEP_EVERY_S, self._keep_once)
        self._loops.every("jobstore.late", NOTE_LATE_EVERY_S, self._note_late_once)
        self._loops.every("jobstore.history", LOOK_BACK_EVERY_S, self._history.keep_once)
        self._loops.every("jobstore.incoming", LOOK_BACK_EVERY_S, self._sweep_once)
        self._schedules = ScheduleService(self._store.database, runtime)
        self.outbox = Outbox(self._store.database)
        self.components = ComponentService(self._store.database, runtime)
        outside = outside or Outside()
        self._waits = WaitService(self._store, self._store.database, outside, runtime)
        self.values = Values(self._store.database, vault or Vault(no_keys))
        self.execution = ExecutionService(
            self._store.database, self._artifacts, self._leases, self.values, self._waits
        )
        self.triggers = Triggerer(
            self._store, self._store.database, outside, self._connection, runtime
        )
        self._loops.add("jobstore.triggerer", self._watch_triggers)

    @property
    def failure(self) -> "asyncio.Future[None]":
        """Set when the store failed, or what happens by itself does not happen any more: this
        process has to end, and recover at its next start."""
        return self._loops.failure

    @property
    def wait_s(self) -> float:
        """How long writes wait for their transaction, at this moment."""
        return self._store.database.wait_s

    async def commit_ended(self) -> None:
        """The transaction that was under way has ended; the next may have begun."""
        await self._store.database.commit_ended()

    async def start(self) -> None:
        """Leases that were held are granted anew, waits begin again, and verbs are served."""
        self._keeper.restore(await self._store.start())
        await self._artifacts.clear_incoming(self._is_live)
        await self.triggers.start()
        await self._loops.start()

    async def stop(self) -> None:
        await self._loops.stop()
        await self.triggers.stop()
        await self._store.stop()

    # -- the worker's verbs, in the order in which a job meets them ----------------------------

    async def claim(self, ask: g.ClaimRequest) -> g.ClaimReply:
        answer = await self._store.claim(ask)
        try:
            async with asyncio.timeout(ask.wait_s or None):
                granted = await asyncio.shield(answer)
        except TimeoutError:
            await self._store.withdraw(ask)
            granted = await answer
        except asyncio.CancelledError:
            answer.cancel()
            raise
        return g.ClaimReply(
            claims=tuple(self._claim_of(grant) for grant in granted),
            reason=None if granted else "no_job",
        )

    async def refuse(self, ask: g.RefuseRequest) -> None:
        await self._store.refuse(ask, rest_s=self._settings.rest_s)
        self._keeper.rest(ask.attempt_id, self._settings.rest_s)

    async def run(self, ask: g.RunRequest) -> g.RunContext:
        started = await self._store.run(ask)
        return run_context(ask, started, self._settings)

    async def heartbeat(self, ask: g.HeartbeatRequest) -> g.HeartbeatReply:
        return await self._attempts.heartbeat(ask)

    async def append_log(self, chunk: g.LogChunk, body: Body) -> g.LogReply:
        return await self._attempts.append_log(chunk, body)

    async def put_artifact(self, upload: g.ArtifactUpload, body: Body) -> g.ArtifactReply:
        return await self._attempts.put_artifact(upload, body)

    async def list_inputs(self, ask: g.InputListRequest) -> g.InputList:
        return await self._attempts.list_inputs(ask)

    def read_input(self, ask: g.InputRequest) -> Body:
        return self._attempts.read_input(ask)

    async def finish(self, ask: g.FinishRequest) -> g.FinishReply:
        return await self._attempts.finish(ask)

    # -- people's verbs ------------------------------------------------------------------------

    async def submit(self, ask: j.SubmitRequest) -> j.SubmitReply:
        mistakes = [*find_mistakes(ask.pipeline), *unknown_skips(ask)]
        if mistakes:
            raise BadPipeline(
                "; ".join(mistake.message for mistake in mistakes[:20]),
                mistakes=[{"path": m.path, "message": m.message} for m in mistakes[:100]],
            )
        past = None if ask.resume is None else await self._store.past_run(ask.resume.run_id)
        origin = origin_of(ask, past)
        with self._artifacts.keep(bundles_of(ask.pipeline)):
            pipeline = await self._keep_bundle(ask.pipeline)
            run_id = await self._store.submit(pipeline, key=ask.idempotency_key, origin=origin)
        return j.SubmitReply(run_id=RunId(run_id))

    async def retry(self, ask: j.RetryRequest) -> j.SubmitReply:
        past = await self._store.past_run(ask.run_id)
        with self._artifacts.keep(bundles_of(past.pipeline)):
            pipeline = await self._keep_bundle(past.pipeline)
            run_id = await self._store.submit(
                pipeline, key=ask.idempotency_key, origin=origin_of_retry(ask, past)
            )
        return j.SubmitReply(run_id=RunId(run_id))

    async def cancel(self, ask: j.CancelRequest) -> None:
        await self._store.cancel(ask.run_id, ask.job_id, ask.reason)

    async def approve(self, ask: j.ApproveRequest) -> None:
        await self._store.approve(ask)

    async def mark(self, ask: j.MarkRequest) -> None:
        await self._store.mark(ask)

    async def list_runs(self, ask: j.RunFilter) -> j.RunList:
        return j.RunList(runs=tuple(await self._store.list_runs(ask)))

    async def show_run(self, run_id: RunId) -> j.RunView:
        looks = self.triggers.last_looks(run_id)
        return await self._store.show_run(run_id, self._leases.phases_of(run_id), looks)

    async def list_attempts(self, run_id: RunId, job_id: JobId) -> j.AttemptList:
        return j.AttemptList(attempts=tuple(await self._store.list_attempts(run_id, job_id)))

    async def list_artifacts(self, run_id: RunId, job_id: JobId | None) -> j.ArtifactList:
        return j.ArtifactList(artifacts=tuple(await self._store.list_artifacts(run_id, job_id)))

    async def read_artifact(self, run_id: RunId, job_id: JobId, path: str) -> Body:
        listed = await self._store.list_artifacts(run_id, job_id)
        entry = entry_at([item.artifact for item in listed], path)
        async for piece in self._artifacts.read(entry.sha256):
            yield piece

    def read_log(
        self,
        run_id: RunId,
        job_id: JobId,
        *,
        attempt: AttemptId | None,
        offset: int,
        follow: bool,
        timestamps: bool = False,
    ) -> Body:
        return self._followers.read_log(
            run_id, job_id, attempt=attempt, offset=offset, follow=follow, timestamps=timestamps
        )

    async def list_events(self, run_id: RunId, *, after: int, limit: int) -> j.EventList:
        return j.EventList(events=tuple(await self._store.list_events(run_id, after, limit)))

    def follow_events(self, run_id: RunId, *, after: int) -> AsyncIterator[j.Event]:
        return self._followers.follow_events(run_id, after=after)

    # -- history, which is kept next door ------------------------------------------------------

    async def job_history(self, name: str, job_id: JobId | None, *, runs: int) -> JobHistory:
        return await self._history.job_history(name, job_id, runs=runs)

    async def diff(self, before: RunId, after: RunId) -> RunDiff:
        return await self._history.diff(before, after)

    async def prune(self, ask: PruneRequest) -> PruneReply:
        return await self._history.prune(ask)

    # -- schedules and notifications, which are kept next door ---------------------------------

    async def put_schedule(self, ask: ScheduleRequest) -> ScheduleView:
        return await self._schedules.put_schedule(ask)

    async def list_schedules(self) -> ScheduleList:
        return await self._schedules.list_schedules()

    async def pause_schedule(self, ask: PauseScheduleRequest) -> ScheduleView:
        return await self._schedules.pause_schedule(ask)

    async def remove_schedule(self, name: str) -> None:
        await self._schedules.remove_schedule(name)

    async def backfill(self, ask: BackfillRequest) -> BackfillView:
        return await self._schedules.backfill(ask)

    async def list_backfills(self) -> BackfillList:
        return await self._schedules.list_backfills()

    async def cancel_backfill(self, backfill_id: int) -> BackfillView:
        return await self._schedules.cancel_backfill(backfill_id)

    async def list_notifications(self, run_id: RunId) -> NotificationList:
        return await self.outbox.list_notifications(run_id)

    # -- what reaches jobs that wait, which is kept next door ----------------------------------

    async def list_questions(self, run_id: RunId | None) -> QuestionList:
        return await self._waits.list_questions(run_id)

    async def answer(self, ask: AnswerRequest) -> None:
        await self._waits.answer(ask)

    async def post_callback(self, ask: PostCallback) -> None:
        await self._waits.post_callback(ask)

    def scheduler(self) -> Scheduler:
        """The part that starts runs when they are due. At most one may be started."""
        return Scheduler(self._store.database, self, self._runtime)

    # -- what happens by itself ----------------------------------------------------------------

    def _is_live(self, attempt_id: AttemptId) -> bool:
        return self._leases.get(attempt_id) is not None

    async def _sweep_once(self) -> None:
        await self._artifacts.sweep(self._is_live)

    async def _watch_store(self) -> None:
        await asyncio.shield(self._store.failure)

    async def _watch_triggers(self) -> None:
        await asyncio.shield(self.triggers.failure)

    async def _connection(self, name: str) -> Connection:
        return await self.values.get_connection(GetConnection(name=name))

    async def _keep_once(self) -> None:
        await self._keeper.keep_once(self._store, max_lost=self._settings.max_lost)

    async def _note_late_once(self) -> None:
        await self._keeper.note_late_once(self._store)

    def _on_commit(self, changes: Sequence[Change]) -> None:
        self._keeper.note(changes)
        self.triggers.note(changes)
        for change in changes:
            attempt_id = change.event.attempt_id
            if change.event.kind == "attempt.lost" and attempt_id is not None:
                self._logs.close(attempt_id)  # nobody may report it any more

    # -- details -------------------------------------------------------------------------------

    def _claim_of(self, granted: Granted) -> g.Claim:
        return g.Claim(
            attempt_id=AttemptId(granted.attempt_id),
            fence=granted.fence,
            run_id=RunId(granted.run_id),
            job_id=JobId(granted.job_id),
            start_ttl_s=self._settings.start_ttl_s,
            slots=granted.slots,
        )

    async def _keep_bundle(self, pipeline: PipelineSpec) -> PipelineSpec:
        """The files of its tasks are stored by their hash; the pipeline goes on without them."""
        bundle = pipeline.bundle
        if bundle is not None:
            entry = g.ArtifactEntry(
                path="bundle.zip", size_bytes=len(bundle.content), sha256=bundle.sha256
            )
            await self._artifacts.put(entry, one_piece(bundle.content))
        for sha256 in bundles_of(pipeline):
            if not await self._artifacts.has(sha256):
                raise BadPipeline(f"the files {sha256} of its tasks did not come with it")
        return pipeline.model_copy(update={"bundle": None})
