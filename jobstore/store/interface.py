"""What every store of jobs promises. Each verb is one durable, atomic write.

Concurrent calls share a transaction where the store can: a verb is for one thing, the store makes
lists of them. After each commit the store hands its changes, in order, to `on_commit`, before any
caller hears of its own.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from jobstore.store.claim import Granted
from jobstore.store.decided import PLAIN, Origin
from jobstore.store.defer import Fired, Lapsed
from jobstore.store.expire import Expired
from jobstore.store.finish import Accepted, Late
from jobstore.store.journal import Change
from jobstore.store.past import PastRun
from jobstore.store.reads import LogPlace
from jobstore.store.run import Started
from shared.protocol import gateway as g
from shared.protocol import jobs as j
from shared.protocol.pipeline import PipelineSpec
from shared.protocol.states import RunStatus


class LiveAttempt(NamedTuple):
    """A lease that was held when the store was opened."""

    attempt_id: str
    job_seq: int
    run_id: int
    worker_id: str
    fence: int
    is_running: bool
    is_cancelled: bool


class Leftovers(NamedTuple):
    """What must be armed again at start: durations, since deadlines do not outlast a process."""

    live: list[LiveAttempt]
    retrying: list[tuple[int, float]]  # job seq, delay_s
    queued: list[tuple[int, float]]  # job seq, queue_timeout_s


class JobStore(Protocol):
    """Durable state of runs, jobs and attempts."""

    @property
    def failure(self) -> "asyncio.Future[None]":
        """Set when the store has met an I/O error: it acknowledges nothing any more."""

    async def start(self) -> Leftovers: ...

    async def stop(self) -> None: ...

    # -- people -------------------------------------------------------------------------------

    async def submit(
        self,
        pipeline: PipelineSpec,
        *,
        key: str,
        origin: Origin = PLAIN,
    ) -> int:
        """The run's id; the same key and pipeline name the same run. KeyReused."""

    async def cancel(self, run_id: int, job_id: str | None, why: str) -> None:
        """What had not started has ended; what runs has been asked to stop."""

    async def approve(self, ask: j.ApproveRequest) -> None:
        """The job waits for nobody any more, or was cancelled. Conflict, UnknownJob."""

    async def mark(self, ask: j.MarkRequest) -> None:
        """The job is a success. Conflict: it is with a worker. UnknownJob."""

    # -- workers ------------------------------------------------------------------------------

    async def claim(self, ask: g.ClaimRequest) -> "asyncio.Future[list[Granted]]":
        """Done at once when there is a job; else when one comes, or with [] when superseded.

        A claim that waits is served inside the transaction that makes a job ready.
        """

    async def withdraw(self, ask: g.ClaimRequest) -> None:
        """The claim waits no more: its future is done."""

    async def refuse(self, ask: g.RefuseRequest, *, rest_s: float) -> None:
        """The job is back in its place and rests `rest_s` for this worker."""

    async def serve_waiting(self) -> None:
        """Claims that wait are looked at again: a rest is over."""

    async def run(self, ask: g.RunRequest) -> Started: ...

    async def finish(
        self, ask: g.FinishRequest, *, log_inline: bytes | None, max_lost: int
    ) -> Accepted | Late:
        """The result is settled, or kept as evidence because it came too late."""

    async def expire(self, leases: Sequence[Expired], *, max_lost: int) -> None:
        """Those that are still live have lapsed or are lost."""

    async def note_beats(self, late: Sequence[str], heard: Sequence[str]) -> None:
        """Events tell which running attempts miss heartbeats, or were heard again."""

    async def wake(self, job_seqs: Sequence[int]) -> None:
        """Those that still wait for their next try are queued."""

    async def wake_up(self, fired: Sequence[Fired]) -> None:
        """Those that still wait for this go on with what came about."""

    async def give_up_waiting(self, lapsed: Sequence[Lapsed]) -> None:
        """Those that still wait for this wait no more: it did not come about."""

    async def time_out_queued(self, job_seq: int) -> bool:
        """False: claimed just now, ask again. True: it timed out, or is past queueing."""

    # -- looking ------------------------------------------------------------------------------

    async def attempt_state(self, attempt_id: str) -> str:
        """Its status. UnknownAttempt."""

    async def list_runs(self, ask: j.RunFilter) -> list[j.RunSummary]: ...

    async def show_run(
        self, run_id: int, phases: Mapping[int, str], looks: Mapping[int, str]
    ) -> j.RunView: ...

    async def list_attempts(self, run_id: int, job_id: str) -> list[j.AttemptView]: ...

    async def list_artifacts(self, run_id: int, job_id: str | None) -> list[j.JobArtifact]: ...

    async def find_dependency(self, attempt_id: str, job_id: str) -> int | None: ...

    async def list_events(self, run_id: int, after: int, limit: int) -> list[j.Event]: ...

    async def log_of(self, run_id: int, job_id: str, attempt_id: str | None) -> LogPlace: ...

    async def show_status(self, run_id: int) -> RunStatus: ...

    async def past_run(self, run_id: int) -> PastRun: ...


class OnCommit(Protocol):
    def __call__(self, changes: Sequence[Change], /) -> None: ...
