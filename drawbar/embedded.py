"""All of drawbar in one process, handed to each other as objects: no HTTP, no tokens.

`drawbar run` and tests live on it. It runs the same services and the same worker as the daemons,
so what works here works there. It imports nothing of HTTP: that would double its start-up time.
"""

import asyncio
import hashlib
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from gateway.service import GatewayService
from jobstore.execution_data.vault import Vault, keys_from
from jobstore.service import JobStoreService
from jobstore.settings import JobStoreSettings
from jobstore.triggers.ports import Outside
from registry.service import RegistryService
from shared.components import ComponentRunner, Running
from shared.errors import ServiceError, UnknownRun
from shared.files import DiskFiles
from shared.ids import JobId, RunId, WorkerId
from shared.protocol.gateway import FinishRequest, LogSummary, Outcome, Result, Usage
from shared.protocol.jobs import AttemptView, CancelRequest, Resume, SubmitRequest
from shared.protocol.pipeline import PipelineSpec, SecuritySpec
from shared.protocol.states import JobStatus
from shared.runtime import Runtime
from worker.daemon import Worker
from worker.machine import default_slots, prepare_machine
from worker.runners.kept import KeptRunner
from worker.settings import Images, WorkerSettings
from worker.tasks.runner import TaskRunner, task_runner

NAME: Final = "embedded"
# Beats cost nothing here, and make a cancellation quick. The worker is never lost without the job
# service, so leases are long: a process suspended with Ctrl-Z finds its jobs still its own.
SETTINGS: Final = JobStoreSettings(heartbeat_s=0.2, lease_s=600.0)


class Embedded:
    """A job service, a registry, a gateway and a worker, on the files below `data`.

    The caller holds the data directory for itself alone.
    """

    def __init__(
        self,
        data: Path,
        runtime: Runtime,
        *,
        slots: int | None = None,
        base_dir: Path | None = None,
        job_env: Mapping[str, str] | None = None,
        labels: Mapping[str, str] | None = None,
        security: SecuritySpec | None = None,
        plugin_dirs: tuple[str, ...] = (),
        images: Images = "refuse",
        docker: str | None = None,
        outside: Outside | None = None,
        is_warm: bool = True,
        settings: JobStoreSettings = SETTINGS,
    ) -> None:
        """Jobs run below `base_dir` (None: in scratch folders) with `job_env` below their own."""
        self._data = data
        self._runtime = runtime
        self._base_dir = base_dir
        self._worker_settings = WorkerSettings(
            name=NAME,
            slots=slots or default_slots(),
            labels=labels or {},
            base_env=job_env or {},
            shell_env=job_env or {},
            is_own_shell=True,
            security=security or SecuritySpec(),
            plugin_dirs=plugin_dirs,
            images=images,
            docker=docker,
            is_warm=is_warm,
        )
        self.jobs = JobStoreService(
            data / "jobstore" / "jobs.db",
            DiskFiles(data / "jobstore" / "files", runtime),
            runtime,
            settings,
            Vault(keys_from(data / "keys", runtime, os.environ)),
            outside,
        )
        self.registry = RegistryService(data / "registry" / "registry.db", runtime)
        self._runner: KeptRunner | None = None
        self._tasks: TaskRunner | None = None
        self._worker: Worker | None = None
        self._components: list[ComponentRunner] = []
        self._foreground = Foreground(data / "foreground-run")
        self.failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def start(self) -> None:
        """Jobs are run. A run whose process was killed is over, and not taken up again."""
        # Not a TaskGroup: the failure of one must not cancel the other half-way into its file.
        outcomes = await asyncio.gather(
            self.jobs.start(), self.registry.start(), return_exceptions=True
        )
        for outcome in outcomes:
            if outcome is not None:
                raise outcome
        await self._foreground.end(self.jobs, "the process that ran it was killed")
        here = self._data / "workers" / NAME
        self._runner, workspace = prepare_machine(here, self._base_dir, self._runtime)
        self._tasks = task_runner(
            self._runner,
            self.jobs.execution,
            here,
            self._runtime,
            self._worker_settings,
        )
        self._worker = Worker(
            self._worker_settings,
            GatewayService(self.jobs, self._runtime),
            self.registry,
            self._tasks,
            workspace,
            self._runtime,
        )
        for part in (self.jobs, self.registry, self._worker):
            part.failure.add_done_callback(self._fail)
        await self._worker.start()
        parts = (("keeper", self.jobs), ("triggerer", self.jobs.triggers), ("worker", self._worker))
        for kind, one in parts:
            component = ComponentRunner(
                Running(one), self.jobs.components, self._runtime, kind=kind, name=NAME
            )
            self._components.append(component)
            await component.accompany()  # a run of a few milliseconds writes nothing of it

    async def stop(self) -> None:
        """Nothing runs any more; what still did was killed. Everything is on disk."""
        for component in self._components:
            await component.stop()
        if self._worker is not None:
            await self._worker.stop()
            with suppress(ServiceError):  # the store failed: the next start will do it
                await self._foreground.end(self.jobs, "the process that ran it was stopped")
        if self._tasks is not None:
            await self._tasks.close()
        if self._runner is not None:
            self._runner.close()
        await self.registry.stop()
        await self.jobs.stop()

    async def submit(
        self,
        pipeline: PipelineSpec,
        *,
        skip: tuple[JobId, ...] = (),
        resume: Resume | None = None,
    ) -> RunId:
        """The run is stored, and known to be this process's own."""
        ask = SubmitRequest(
            idempotency_key=self._runtime.new_id(), pipeline=pipeline, skip=skip, resume=resume
        )
        run_id = (await self.jobs.submit(ask)).run_id
        self._foreground.remember(run_id)
        return run_id

    def forget(self) -> None:
        """The run that was submitted has ended."""
        self._foreground.forget()

    def _fail(self, failed: "asyncio.Future[None]") -> None:
        if not failed.cancelled() and (error := failed.exception()) and not self.failure.done():
            self.failure.set_exception(error)
            self.failure.exception()  # retrieved: watching it is optional


class Foreground:
    """Which run belongs to the process that holds the data directory, noted in a file.

    Whoever killed `drawbar run` wants its jobs to stop. Without the note, the next `drawbar run`
    would go on with them.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def remember(self, run_id: RunId) -> None:
        self._path.write_text(f"{run_id}\n")

    def forget(self) -> None:
        self._path.unlink(missing_ok=True)

    async def end(self, jobs: JobStoreService, why: str) -> None:
        """The noted run, if there is one, has ended. No process of it lives: the caller knows."""
        try:
            run_id = RunId(int(self._path.read_text()))
        except (FileNotFoundError, ValueError):  # ValueError: killed while it was written
            return
        with suppress(UnknownRun):  # the database was replaced
            await jobs.cancel(CancelRequest(run_id=run_id, reason=why))
            for job in (await jobs.show_run(run_id)).jobs:
                if job.status is JobStatus.RUNNING:
                    attempts = (await jobs.list_attempts(run_id, job.id)).attempts
                    await _finish_for(jobs, run_id, job.id, attempts[-1], why)
        self.forget()


async def _finish_for(
    jobs: JobStoreService, run_id: RunId, job_id: JobId, attempt: AttemptView, why: str
) -> None:
    """The report that the worker could not make any more: as much of the log as had arrived."""
    digest, size = hashlib.sha256(), 0
    async for piece in jobs.read_log(
        run_id, job_id, attempt=attempt.attempt_id, offset=0, follow=False
    ):
        digest.update(piece)
        size += len(piece)
    await jobs.finish(
        FinishRequest(
            attempt_id=attempt.attempt_id,
            worker_id=WorkerId(attempt.worker_id),
            fence=attempt.fence,
            result=Result(outcome=Outcome.CANCELLED, message=why),
            log=LogSummary(
                size_bytes=size,
                sha256=digest.hexdigest(),
                tail_offset=size,
                tail=b"",
                lost_bytes=0,
            ),
            artifacts=(),
            usage=Usage(wall_s=0.0, cpu_s=None, max_rss_bytes=None),
        )
    )
