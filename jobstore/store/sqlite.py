"""The job store on SQLite: each verb is one call in the batching writer's next transaction."""

import asyncio
import json
import random
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from jobstore.states import LIVE
from jobstore.store import reads
from jobstore.store.approve import approve_job
from jobstore.store.cancel import cancel_job, cancel_run
from jobstore.store.chain import Chain
from jobstore.store.claim import Granted, Selector, refuse_job
from jobstore.store.decided import PLAIN, Origin
from jobstore.store.defer import Fired, Lapsed, give_up_waiting, wake_up
from jobstore.store.expire import Expired, expire_lease, time_out_queued, wake_jobs
from jobstore.store.finish import Accepted, Late, finish_attempt
from jobstore.store.interface import Leftovers, LiveAttempt, OnCommit
from jobstore.store.journal import ENDS, Journal
from jobstore.store.late import note_beats
from jobstore.store.mark import mark_job
from jobstore.store.past import PastRun, past_run
from jobstore.store.run import Started, run_attempt
from jobstore.store.stopwatch import Stopwatch
from jobstore.store.submit import digest_of, submit_run
from jobstore.store.told import answer_question, open_callback, post_callback
from jobstore.store.waiting import WaitingRoom
from jobstore.store.work import Batch, Work
from shared.errors import UnknownAttempt
from shared.protocol import gateway as g
from shared.protocol import jobs as j
from shared.protocol.pipeline import PipelineSpec
from shared.protocol.questions import AnswerRequest, PostCallback
from shared.protocol.states import AttemptStatus, JobStatus, RunStatus
from shared.runtime import Runtime
from shared.sqlite import Database, Tx

P = ParamSpec("P")
T = TypeVar("T")


class SqliteJobStore:
    """`JobStore` in one SQLite file."""

    def __init__(self, path: Path, *, runtime: Runtime, on_commit: OnCommit) -> None:
        self._db = Database(
            path,
            migrations=files("jobstore.store").joinpath("migrations"),
            runtime=runtime,
            name="jobstore",
            before_commit=self._before_commit,
        )
        self._on_commit = on_commit
        self._rng = random.Random(runtime.random.getrandbits(64))
        self._runtime = runtime
        self._room = WaitingRoom()  # this and what follows belong to the database's thread
        self._stopwatch = Stopwatch()
        self._chain = Chain()
        self._batch = Batch(Journal(self._chain))

    @property
    def failure(self) -> "asyncio.Future[None]":
        return self._db.failure

    @property
    def database(self) -> Database:
        """For what keeps tables of its own beside those of the jobs."""
        return self._db

    async def start(self) -> Leftovers:
        await self._db.start()
        self._stopwatch.open(self._runtime.mono())
        self._room.selectors = await self._db.read(
            lambda conn: {
                row[0]: Selector(json.loads(row[1]), row[2])
                for row in conn.execute("SELECT id, labels, slots FROM selector ORDER BY id")
            }
        )
        return await self._db.read(_leftovers)

    async def stop(self) -> None:
        await self._db.stop()

    # -- people -------------------------------------------------------------------------------

    async def submit(
        self,
        pipeline: PipelineSpec,
        *,
        key: str,
        origin: Origin = PLAIN,
    ) -> int:
        digest = digest_of(pipeline, origin)

        def call(work: Work) -> int:
            selectors = dict(self._room.selectors)
            run_id = submit_run(
                work,
                pipeline,
                key=key,
                digest=digest,
                selectors=selectors,
                origin=origin,
            )
            for selector_id in selectors.keys() - self._room.selectors.keys():
                self._room.know_selector(selector_id, selectors[selector_id])
            return run_id

        return await self._write(call)

    async def cancel(self, run_id: int, job_id: str | None, why: str) -> None:
        if job_id is None:
            await self._write(cancel_run, run_id, why)
        else:
            await self._write(cancel_job, run_id, job_id, why)

    async def approve(self, ask: j.ApproveRequest) -> None:
        await self._write(approve_job, ask)

    async def mark(self, ask: j.MarkRequest) -> None:
        await self._write(mark_job, ask)

    # -- workers ------------------------------------------------------------------------------

    async def claim(self, ask: g.ClaimRequest) -> "asyncio.Future[list[Granted]]":
        answer: asyncio.Future[list[Granted]] = asyncio.get_running_loop().create_future()
        try:
            await self._write(self._room.claim, ask, answer)
        except BaseException:
            answer.cancel()  # nobody waits for it: the waiting room lets go of it
            raise
        return answer

    async def withdraw(self, ask: g.ClaimRequest) -> None:
        await self._must_write(self._room.leave, ask.worker_id, ask.claim_id)

    async def refuse(self, ask: g.RefuseRequest, *, rest_s: float) -> None:
        def call(work: Work) -> None:
            seq = refuse_job(work, ask)
            if seq is not None:
                now = work.tx.mono
                self._room.rest(ask.worker_id, seq, now=now, until=now + rest_s)

        await self._write(call)

    async def serve_waiting(self) -> None:
        await self._must_write(self._room.serve_all)

    async def run(self, ask: g.RunRequest) -> Started:
        return await self._write(run_attempt, ask, watch=self._stopwatch)

    async def finish(
        self, ask: g.FinishRequest, *, log_inline: bytes | None, max_lost: int
    ) -> Accepted | Late:
        return await self._write(
            finish_attempt,
            ask,
            log_inline=log_inline,
            max_lost=max_lost,
            watch=self._stopwatch,
            rng=self._rng,
        )

    async def expire(self, leases: Sequence[Expired], *, max_lost: int) -> None:
        def call(work: Work) -> None:
            for expired in leases:
                expire_lease(work, expired, max_lost=max_lost, watch=self._stopwatch, rng=self._rng)

        await self._must_write(call)

    async def note_beats(self, late: Sequence[str], heard: Sequence[str]) -> None:
        await self._must_write(note_beats, late, heard)

    async def wake(self, job_seqs: Sequence[int]) -> None:
        await self._must_write(wake_jobs, list(job_seqs))

    async def wake_up(self, fired: Sequence[Fired]) -> None:
        def call(work: Work) -> None:
            for one in fired:
                wake_up(work, one)

        await self._must_write(call)

    async def give_up_waiting(self, lapsed: Sequence[Lapsed]) -> None:
        def call(work: Work) -> None:
            for one in lapsed:
                give_up_waiting(work, one, watch=self._stopwatch, rng=self._rng)

        await self._must_write(call)

    async def time_out_queued(self, job_seq: int) -> bool:
        return await self._must_write(time_out_queued, job_seq)

    # -- others, to jobs that wait ------------------------------------------------------------

    async def answer_question(self, ask: AnswerRequest) -> None:
        await self._write(answer_question, ask)

    async def post_callback(self, ask: PostCallback) -> None:
        await self._write(post_callback, ask.callback_id, ask.secret, ask.event)

    async def open_callback(self, job_seq: int, secret: str) -> str:
        return await self._write(open_callback, job_seq, secret)

    # -- looking ------------------------------------------------------------------------------

    async def attempt_state(self, attempt_id: str) -> str:
        row = await self._db.read(
            lambda conn: conn.execute(
                "SELECT status FROM attempt WHERE id = ?", (attempt_id,)
            ).fetchone()
        )
        if row is None:
            raise UnknownAttempt(attempt_id=attempt_id)
        return str(row[0])

    async def list_runs(self, ask: j.RunFilter) -> list[j.RunSummary]:
        return await self._db.read(partial(reads.list_runs, ask=ask))

    async def show_run(
        self, run_id: int, phases: Mapping[int, str], looks: Mapping[int, str]
    ) -> j.RunView:
        return await self._db.read(
            partial(reads.show_run, run_id=run_id, phases=phases, looks=looks)
        )

    async def list_attempts(self, run_id: int, job_id: str) -> list[j.AttemptView]:
        return await self._db.read(partial(reads.list_attempts, run_id=run_id, job_id=job_id))

    async def list_artifacts(self, run_id: int, job_id: str | None) -> list[j.JobArtifact]:
        return await self._db.read(partial(reads.list_artifacts, run_id=run_id, job_id=job_id))

    async def find_dependency(self, attempt_id: str, job_id: str) -> int | None:
        return await self._db.read(
            partial(reads.find_dependency, attempt_id=attempt_id, job_id=job_id)
        )

    async def list_events(self, run_id: int, after: int, limit: int) -> list[j.Event]:
        return await self._db.read(
            partial(reads.list_events, run_id=run_id, after=after, limit=limit)
        )

    async def show_status(self, run_id: int) -> RunStatus:
        return await self._db.read(partial(reads.status_of, run_id=run_id))

    async def log_of(self, run_id: int, job_id: str, attempt_id: str | None) -> reads.LogPlace:
        return await self._db.read(
            partial(reads.log_of, run_id=run_id, job_id=job_id, attempt_id=attempt_id)
        )

    async def past_run(self, run_id: int) -> PastRun:
        return await self._db.read(partial(past_run, run_id=run_id))

    # -- on the database's thread -------------------------------------------------------------

    async def _write(
        self, call: Callable[Concatenate[Work, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        return await self._db.write(self._within(call, *args, **kwargs))

    async def _must_write(
        self, call: Callable[Concatenate[Work, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """As `_write`, and never Overloaded: a timer that has gone off does so once."""
        return await self._db.write(self._within(call, *args, **kwargs), must=True)

    def _within(
        self, call: Callable[Concatenate[Work, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> Callable[[Tx], T]:
        def within(tx: Tx) -> T:
            batch = self._batch
            changes, ready = len(batch.journal.changes), batch.ready.copy()
            try:
                return call(Work(tx, batch), *args, **kwargs)
            except Exception:  # the database undoes what the call wrote, this what it noted
                batch.journal.undo(changes)
                batch.ready = ready
                raise

        return within

    def _before_commit(self, tx: Tx) -> None:
        batch, self._batch = self._batch, Batch(Journal(self._chain))
        if batch.ready:
            self._room.serve(Work(tx, batch))
        for change in batch.journal.changes:
            if change.event.kind in ENDS and change.job_seq is not None:
                self._stopwatch.forget(change.job_seq)
        if batch.journal.changes:
            tx.after_commit(partial(self._on_commit, batch.journal.changes))


def _leftovers(conn: sqlite3.Connection) -> Leftovers:
    live = conn.execute(
        "SELECT attempt.id, job.seq, job.run_id, attempt.worker_id, attempt.fence,"
        " attempt.status = ?, job.is_cancelled FROM attempt JOIN job ON job.seq = attempt.job_seq"
        f" WHERE attempt.status IN ('{LIVE[0]}', '{LIVE[1]}') ORDER BY attempt.id",
        (AttemptStatus.RUNNING,),
    ).fetchall()
    retrying = conn.execute(
        f"SELECT seq, delay_s FROM job WHERE status = '{JobStatus.RETRYING}' ORDER BY seq"
    ).fetchall()
    queued = conn.execute(
        "SELECT seq, queue_timeout_s FROM job"
        f" WHERE status IN ('{JobStatus.QUEUED}', '{JobStatus.CLAIMED}')"  # it may lapse
        " AND queue_timeout_s IS NOT NULL AND started_at IS NULL ORDER BY seq"
    ).fetchall()
    return Leftovers([LiveAttempt(*row) for row in live], retrying, queued)
