"""The three hops as Protocols. A service, its HTTP client and a fault wrapper all implement them.

The embedded mode hands the service object itself to its caller; daemons hand an HTTP client.
Callers cannot tell which they hold. Errors are those of `shared/errors.py`; `Unavailable` may
come from every verb and leaves its effect unknown, so each verb may be sent again.
"""

from collections.abc import AsyncIterator
from typing import Final, Protocol

from shared.ids import AttemptId, JobId, RunId, WorkerId
from shared.protocol import components as c
from shared.protocol import execution as e
from shared.protocol import gateway as g
from shared.protocol import jobs as j
from shared.protocol import registry as r
from shared.protocol import values as v
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

PIECE_BYTES: Final = 65_536
Body = AsyncIterator[bytes]  # pieces of at most PIECE_BYTES


class Gateway(Protocol):
    """What a worker may ask. The gateway forwards each verb to the job service unchanged."""

    async def claim(self, ask: g.ClaimRequest) -> g.ClaimReply:
        """Lease up to `free_slots` jobs. The same claim_id again returns the same claims.

        A newer claim of the same worker supersedes one that still waits.
        """

    async def refuse(self, ask: g.RefuseRequest) -> None:
        """The job is back in its place, no try spent. It rests a while for this worker.

        Safe to repeat. StaleFence: somebody else has the job, which is as good.
        """

    async def run(self, ask: g.RunRequest) -> g.RunContext:
        """The attempt is running and one try is spent. Again: the same context.

        StaleFence or Conflict: do not start; facts["state"] is the state that won.
        """

    async def heartbeat(self, ask: g.HeartbeatRequest) -> g.HeartbeatReply:
        """Every lease that is still this worker's now lasts lease_s from when this was received."""

    async def append_log(self, chunk: g.LogChunk, body: Body) -> g.LogReply:
        """The bytes are appended. LogOffsetMismatch says where the server's copy ends."""

    async def put_artifact(self, upload: g.ArtifactUpload, body: Body) -> g.ArtifactReply:
        """The bytes are stored under their hash, verified and durable; or a part of them is kept
        until the rest comes. A repeat is free. PartOffsetMismatch says where to go on."""

    async def list_inputs(self, ask: g.InputListRequest) -> g.InputList:
        """All artifacts of one dependency of this attempt."""

    def read_input(self, ask: g.InputRequest) -> Body:
        """The bytes of one of them."""

    async def finish(self, ask: g.FinishRequest) -> g.FinishReply:
        """A Receipt: the result is durable. Incomplete: send what it lists, then finish again.

        Safe to repeat for ever. StaleFence: the result came too late and is kept as evidence.
        """


class Execution(Protocol):
    """What a running task may ask, through its supervisor. Each opens what the scope's run has.

    StaleFence, UnknownAttempt, AttemptArchived: the attempt is over; stop its process.
    """

    async def get_variable(self, scope: e.Scope, ask: e.GetVariable) -> e.Variable:
        """UnknownVariable."""

    async def set_variable(self, scope: e.Scope, ask: e.SetVariable) -> None: ...

    async def delete_variable(self, scope: e.Scope, ask: e.DeleteVariable) -> None:
        """Safe to repeat."""

    async def list_variables(self, scope: e.Scope, ask: e.ListVariables) -> e.Keys: ...

    async def get_connection(self, scope: e.Scope, ask: e.GetConnection) -> e.Connection:
        """UnknownConnection."""

    async def set_connection(self, scope: e.Scope, ask: e.SetConnection) -> None: ...

    async def delete_connection(self, scope: e.Scope, ask: e.DeleteConnection) -> None:
        """Safe to repeat."""

    async def list_connections(self, scope: e.Scope, ask: e.ListConnections) -> e.Keys: ...

    async def get_xcom(self, scope: e.Scope, ask: e.GetXCom) -> e.XCom:
        """UnknownJob: the run has no such job. TooLarge: ask for slices."""

    async def count_xcom(self, scope: e.Scope, ask: e.CountXCom) -> e.XComCount:
        """Conflict: what was left there is no list."""

    async def get_xcom_item(self, scope: e.Scope, ask: e.GetXComItem) -> e.XCom: ...

    async def get_xcom_slice(self, scope: e.Scope, ask: e.GetXComSlice) -> e.XComSlice: ...

    async def set_xcom(self, scope: e.Scope, ask: e.SetXCom) -> None:
        """It replaces what was there. TooLarge: the value has more than MAX_VALUE_BYTES."""

    async def delete_xcom(self, scope: e.Scope, ask: e.DeleteXCom) -> None: ...

    async def list_xcoms(self, scope: e.Scope, ask: e.ListXComs) -> e.Keys: ...

    async def list_dependencies(self, scope: e.Scope, ask: e.ListDependencies) -> g.Dependencies:
        """The jobs that this one needed, as they are now."""

    async def new_callback(self, scope: e.Scope, ask: e.NewCallback) -> e.Callback:
        """Conflict: nobody could reach this job service by HTTP."""

    def read_bundle(self, scope: e.Scope, sha256: str) -> Body:
        """The files that the run's tasks are in. UnknownBundle."""


class JobService(Gateway, Protocol):
    """The only owner of truth: the worker's verbs (through a gateway) and people's verbs."""

    async def submit(self, ask: j.SubmitRequest) -> j.SubmitReply:
        """The run is stored and its first jobs are queued. BadPipeline: nothing was stored."""

    async def retry(self, ask: j.RetryRequest) -> j.SubmitReply: ...

    async def cancel(self, ask: j.CancelRequest) -> None:
        """No job of the run starts any more; what runs is told to stop. Safe to repeat."""

    async def approve(self, ask: j.ApproveRequest) -> None:
        """The job goes on, or is cancelled. Conflict: it does not wait for anybody."""

    async def mark(self, ask: j.MarkRequest) -> None:
        """The job counts as a success, and what waited for it goes on. Conflict: it runs."""

    async def list_runs(self, ask: j.RunFilter) -> j.RunList:
        """The newest of those that match, newest first."""

    async def show_run(self, run_id: RunId) -> j.RunView: ...

    async def list_attempts(self, run_id: RunId, job_id: JobId) -> j.AttemptList:
        """Every claim of the job, oldest first."""

    async def list_artifacts(self, run_id: RunId, job_id: JobId | None) -> j.ArtifactList: ...

    def read_artifact(self, run_id: RunId, job_id: JobId, path: str) -> Body: ...

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
        """The log of the job's latest attempt, or of `attempt`; `follow` ends with the job.

        `timestamps`: each line begins with when it came. `offset` counts without those.
        """

    async def list_events(self, run_id: RunId, *, after: int, limit: int) -> j.EventList:
        """Events of the run with seq > `after`, in order."""

    def follow_events(self, run_id: RunId, *, after: int) -> AsyncIterator[j.Event]:
        """Events as they are committed, from seq > `after` until the run has ended."""


class History(Protocol):
    """What past runs tell, and how long they are kept."""

    async def job_history(self, name: str, job_id: JobId | None, *, runs: int) -> JobHistory:
        """A job (None: every job) in the latest `runs` ended runs of the pipeline `name`."""

    async def diff(self, before: RunId, after: RunId) -> RunDiff: ...

    async def prune(self, ask: PruneRequest) -> PruneReply:
        """The matching runs are gone, with all that belonged to nothing else."""


class Schedules(Protocol):
    """Runs that start by themselves."""

    async def put_schedule(self, ask: ScheduleRequest) -> ScheduleView:
        """It starts runs from now on. BadPipeline: no schedule, or one that means nothing."""

    async def list_schedules(self) -> ScheduleList: ...

    async def pause_schedule(self, ask: PauseScheduleRequest) -> ScheduleView: ...

    async def remove_schedule(self, name: str) -> None:
        """It starts nothing any more. UnknownSchedule."""

    async def backfill(self, ask: BackfillRequest) -> BackfillView:
        """Its runs are started one after another from now on. BadRequest: too many, or none."""

    async def list_backfills(self) -> BackfillList:
        """Those that still run, and the latest of the others, newest first."""

    async def cancel_backfill(self, backfill_id: int) -> BackfillView:
        """It starts no more runs; one that runs goes on. Safe to repeat. UnknownBackfill."""


class Notifications(Protocol):
    """Messages about the ends of runs."""

    async def list_notifications(self, run_id: RunId) -> NotificationList: ...


class SharedValues(Protocol):
    """Variables and connections, as people keep them. A secret is shown to who has it revealed."""

    async def show_variables(self, ask: v.ValuesFilter) -> v.VariableList: ...

    async def show_variable(self, key: str, *, reveal: bool) -> v.VariableView:
        """UnknownVariable."""

    async def put_variable(self, ask: v.PutVariable) -> None: ...

    async def remove_variable(self, key: str) -> None:
        """UnknownVariable."""

    async def show_connections(self, ask: v.ValuesFilter) -> v.ConnectionList: ...

    async def show_connection(self, name: str, *, reveal: bool) -> v.ConnectionView:
        """UnknownConnection."""

    async def put_connection(self, connection: e.Connection) -> None:
        """It replaces one of that name as a whole."""

    async def remove_connection(self, name: str) -> None:
        """UnknownConnection."""

    async def rotate_keys(self) -> v.RotateReply:
        """The keys were read anew, and all is sealed with the first. Misconfigured: they do not
        open all there is, and nothing was changed."""


class Waits(Protocol):
    """What reaches jobs that wait without a worker."""

    async def list_questions(self, run_id: RunId | None) -> QuestionList:
        """Those that are open, of one run or of all, the oldest first."""

    async def answer(self, ask: AnswerRequest) -> None:
        """The task goes on with the answer. Safe to repeat. Conflict: nothing is asked."""

    async def post_callback(self, ask: PostCallback) -> None:
        """The task goes on with the message. Safe to repeat. Conflict: another one came before."""


class Components(Protocol):
    """The record of the long-running parts. All verbs but the last are those of a part's runner.

    UnknownComponent: make a new record. StaleFence: another has its place, and it has to stop.
    """

    async def create_component(self, ask: c.CreateComponent) -> None:
        """It is recorded. Safe to repeat."""

    async def prepare_component(self, ask: c.PrepareComponent) -> c.PreparedComponent:
        """It holds its place from now on; who held it before is refused. Again: the same fence."""

    async def beat_component(self, ask: c.ComponentBeat) -> None:
        """It was heard of."""

    async def complete_component(self, ask: c.CompleteComponent) -> None:
        """It has ended in good order. Safe to repeat."""

    async def list_components(self, ask: c.ComponentFilter) -> c.ComponentList: ...


class HasComponents(Protocol):
    @property
    def components(self) -> Components: ...


class WholeJobService(
    JobService, History, Schedules, Notifications, Waits, HasComponents, Protocol
):
    """Everything that the job service does for people."""

    @property
    def values(self) -> SharedValues: ...


class Registry(Protocol):
    """Who is alive, what each worker does, and what operators want of it."""

    async def enrol(self, ask: r.EnrolRequest) -> r.EnrolReply:
        """A new incarnation of the worker called `name`; the one before is superseded."""

    async def check_name(self, name: str) -> r.NameCheck:
        """Whoever asks could enrol, and this is who has the name. Nothing changes."""

    async def report(self, ask: r.StatusReport) -> r.StatusReply:
        """The worker is known to live. WorkerSuperseded or UnknownWorker: stop, or enrol again."""

    async def leave(self, worker_id: WorkerId, incarnation: int) -> None:
        """The worker said goodbye: it is offline without a fuss. Safe to repeat."""

    async def list_workers(self) -> r.WorkerList: ...

    async def show_worker(self, name: str) -> r.WorkerDetails:
        """The worker, and what operators did to it. UnknownWorker."""

    async def wish(self, name: str, ask: r.WishRequest) -> r.WorkerView:
        """What the operator wants is durable, and told to the worker on its next report."""

    async def set_worker(self, name: str, ask: r.SettingsRequest) -> r.WorkerView:
        """Slots and labels are durable, and told to the worker as a wish is."""

    async def remove(self, name: str) -> None:
        """The worker is forgotten. Conflict: it is not offline."""
