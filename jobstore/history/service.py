"""What past runs tell, and how long they are kept: `History` beside the job service's own verbs."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Final

import structlog

from jobstore.artifacts import Artifacts
from jobstore.artifacts import path_of as blob_path
from jobstore.history import going, pruning, reads
from jobstore.logs import path_of, times_path_of
from shared.errors import BadRequest
from shared.figures import figures
from shared.files import Files
from shared.ids import AttemptId, JobId, RunId
from shared.protocol.history import JobHistory, PastJob, PruneReply, PruneRequest, RunDiff
from shared.runtime import Runtime
from shared.sqlite import Database

log = structlog.get_logger()

LONGEST_HISTORY: Final = 1_000  # runs
MOST_JOBS: Final = 50_000  # of all runs in one answer, unless one run has more
TAKEN_OUT: Final = 50  # runs in one write
RETAIN_EVERY_S: Final = 3_600.0
_NOTHING: Final = pruning.Leaving((), ())


class HistoryService:
    """`History`, in the job service's own database and files."""

    def __init__(
        self,
        database: Database,
        artifacts: Artifacts,
        files: Files,
        runtime: Runtime,
        *,
        keep_s: float | None,
    ) -> None:
        """`keep_s`: how long ended runs are kept by themselves; None: for ever."""
        self._db = database
        self._artifacts = artifacts
        self._files = files
        self._runtime = runtime
        self._keep_s = keep_s
        self._pruning = asyncio.Lock()
        self._stuck: set[str] = set()  # files that could not be removed, as was told
        self._retain_at = runtime.mono()

    async def job_history(self, name: str, job_id: JobId | None, *, runs: int) -> JobHistory:
        if not 1 <= runs <= LONGEST_HISTORY:
            raise BadRequest(f"runs must be a number from 1 to {LONGEST_HISTORY}", field="runs")
        found = await self._db.read(partial(reads.latest_runs, name=name, limit=runs))
        jobs: list[PastJob] = []
        looked_at = 0
        step = len(found) if job_id is not None else 1  # a run may have very many jobs
        while looked_at < len(found) and len(jobs) < MOST_JOBS:
            page = found[looked_at : looked_at + step]
            jobs += await self._db.read(
                partial(reads.past_jobs, name=name, runs=page, job_id=job_id)
            )
            looked_at += len(page)
        return JobHistory(jobs=tuple(jobs), runs=looked_at, **figures(jobs)._asdict())

    async def diff(self, before: RunId, after: RunId) -> RunDiff:
        return await self._db.read(partial(reads.compare, before=before, after=after))

    async def prune(self, ask: PruneRequest) -> PruneReply:
        async with self._pruning:
            runs = await self._find_old(ask)
            reply = await self._weigh(runs)
            if not ask.is_dry:
                await self._take_out([run.run_id for run in runs])
        if reply.runs and not ask.is_dry:
            log.info("history.pruned", name=ask.name, **reply.model_dump())
        return reply

    async def keep_once(self) -> None:
        """What was pruned is all gone, and what is older than it is to be kept, is pruned."""
        if not self._pruning.locked():
            async with self._pruning:
                await self._clear()
        if self._keep_s is not None and self._runtime.mono() >= self._retain_at:
            self._retain_at = self._runtime.mono() + RETAIN_EVERY_S
            await self.prune(PruneRequest(keep_s=self._keep_s))

    async def _find_old(self, ask: PruneRequest) -> list[going.Going]:
        ended_before = max(int((self._runtime.now().timestamp() - ask.keep_s) * 1_000_000), 0)
        found: list[going.Going] = []
        while page := await self._db.read(
            partial(
                going.old_runs,
                ended_before=ended_before,
                name=ask.name,
                after=found[-1].run_id if found else 0,
            )
        ):
            found += page
        return found

    async def _weigh(self, runs: list[going.Going]) -> PruneReply:
        tally = going.Tally()
        all_going = {run.run_id for run in runs}
        for page in going.pages(runs):
            await self._db.read(partial(going.weigh, page=page, all_going=all_going, tally=tally))
        hashes = sorted(tally.uses)
        freed = 0
        for first in range(0, len(hashes), going.PAGE):
            some = hashes[first : first + going.PAGE]
            freed += await self._db.read(partial(going.freed_bytes, hashes=some, tally=tally))
        return PruneReply(
            runs=len(runs),
            jobs=sum(run.jobs for run in runs),
            log_bytes=tally.log_bytes,
            artifact_bytes=freed,
        )

    async def _take_out(self, run_ids: list[int]) -> None:
        for first in range(0, len(run_ids), TAKEN_OUT):
            some = run_ids[first : first + TAKEN_OUT]
            await self._db.write(partial(pruning.take_out, run_ids=some))
        await self._clear()

    async def _clear(self) -> None:
        """Nothing is left of pruned runs but blobs that somebody is about to use, and files that
        the disk does not let go."""
        if not await self._db.read(pruning.has_some):
            return
        while await self._db.write(pruning.clear_some):
            pass  # other writes get their turn between
        files = _NOTHING
        while any(files := await self._db.read(partial(pruning.leaving, after=files))):
            gone = await self._remove(files)
            if any(gone):
                await self._db.write(partial(pruning.forget, gone=gone))

    async def _remove(self, files: pruning.Leaving) -> pruning.Leaving:
        """Those of the files that are dealt with. The others stay listed, for a later round."""
        logs: list[str] = []
        blobs: list[str] = []
        for attempt_id in files.logs:
            path = path_of(AttemptId(attempt_id))
            with self._told_once(path):
                await self._files.remove(times_path_of(AttemptId(attempt_id)))
                await self._files.remove(path)
                logs.append(attempt_id)
        for sha in files.blobs:
            with self._told_once(blob_path(sha)):
                if await self._artifacts.discard(sha, self._is_used):
                    blobs.append(sha)
        return pruning.Leaving(logs, blobs)

    @contextmanager
    def _told_once(self, path: str) -> Iterator[None]:
        """That the disk does not let the file go is logged, and ends nothing."""
        try:
            yield
        except OSError as error:
            if path not in self._stuck:
                self._stuck.add(path)
                log.warning("history.file_stays", path=path, error=error.strerror)
        else:
            self._stuck.discard(path)

    async def _is_used(self, sha256: str) -> bool:
        return await self._db.read(partial(pruning.is_used, sha256=sha256))
