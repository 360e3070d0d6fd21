"""A whole installation as real processes on free ports, in a temporary folder."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any

from shared.errors import ServiceError, Unavailable
from shared.http.clients import GatewayClient, JobsClient, RegistryClient
from shared.http.transport import Credential, Transport
from shared.ids import JobId, RunId
from shared.keys import load_keys
from shared.protocol.jobs import AttemptView, Event, JobView, RunView, SubmitRequest
from shared.protocol.pipeline import JobSpec, PipelineSpec
from shared.protocol.registry import WorkerView
from shared.runtime import SystemRuntime
from shared.tokens import Minter, Role
from tests.support.daemons import (
    LIMIT_S,
    Daemon,
    Finished,
    Port,
    processes_with,
    run_command,
    until,
)


class Gate:
    """Jobs wait before it until a test opens it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.wait = f"until [ -e '{path}' ]; do sleep 0.05; done"  # for `sh`

    def open(self) -> None:
        self._path.touch()


class Cluster:
    """Job service, registry, gateway and workers; none of them runs until it is started."""

    def __init__(self, folder: Path, *, lease_s: float = 30.0, silent_after_s: float = 4.0) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.work = folder / "work"  # where jobs leave traces, and commands are typed
        for made in (self.data, self.work, folder / "tmp"):
            made.mkdir()
        self._daemons: list[Daemon] = []
        self._ports = [Port() for _ in range(3)]
        jobstore, registry, gateway = (f"127.0.0.1:{port.number}" for port in self._ports)
        self.env = {
            **{k: v for k, v in os.environ.items() if not k.startswith("DRAWBAR_")},
            "DRAWBAR_DATA": str(self.data),
            "DRAWBAR_JOBSTORE_URL": f"http://{jobstore}",
            "DRAWBAR_REGISTRY_URL": f"http://{registry}",
            "DRAWBAR_GATEWAY_URL": f"http://{gateway}",
            "TMPDIR": str(folder / "tmp"),  # jobs inherit it, which is how they are found
        }
        self.jobstore = self.daemon("jobstore", "--listen", jobstore, "--lease", str(lease_s))
        self.registry = self.daemon(
            "registry", "--listen", registry, "--silent-after", str(silent_after_s)
        )
        self.gateway = self.daemon("gateway", "--listen", gateway)
        self.services = {
            "jobstore": self.jobstore,
            "registry": self.registry,
            "gateway": self.gateway,
        }
        self._runtime = SystemRuntime()
        self._keys = load_keys(self.data / "keys", self._runtime)
        self._transports: list[Transport] = []
        self._numbers = count(1)
        self.connect()

    @property
    def minter(self) -> Minter:
        """Makes any token."""
        return Minter(self._keys.signing, self._runtime)

    def connect(self) -> None:
        """`jobs` and `operator` ask where `env` says that the services are."""
        token = self.minter.client("tests", Role.ADMIN)
        jobs = self.transport(self.env["DRAWBAR_JOBSTORE_URL"], "jobstore", lambda: token)
        self.jobs = JobsClient(jobs, retry_for_s=LIMIT_S)
        operator = self.transport(self.env["DRAWBAR_REGISTRY_URL"], "registry", lambda: token)
        self.operator = RegistryClient(operator)

    # -- processes ---------------------------------------------------------------------------

    def daemon(self, *words: str, name: str | None = None, **env: str) -> Daemon:
        """A daemon of this installation, ended with it."""
        url = next((f"http://{w}" for w in words if w.startswith("127.0.0.1:")), None)
        log = self.folder / f"{name or words[0]}.log"
        daemon = Daemon(words, {**self.env, **env}, log, url)
        self._daemons.append(daemon)
        return daemon

    async def start_services(self) -> None:
        """All three serve."""
        async with asyncio.TaskGroup() as group:
            for service in self.services.values():
                group.create_task(service.start())

    def worker(self, name: str = "ann", *flags: str, slots: int = 4) -> Daemon:
        return self.daemon("worker", "--name", name, "--slots", str(slots), *flags, name=name)

    async def start_worker(self, name: str = "ann", *flags: str, slots: int = 4) -> Daemon:
        """It has enrolled and said that it is free."""
        worker = self.worker(name, *flags, slots=slots)
        await worker.start()
        await self.until_present(name, worker)
        return worker

    async def until_present(self, name: str, worker: Daemon) -> None:
        """This very process has reported to the registry."""

        async def is_present() -> bool:
            assert worker.is_alive, f"the worker ended:\n{worker.said()[-2_000:]}"
            found = await self.find_worker(name)
            has_reported = found is not None and bool(found.free_slots or found.attempts)
            return found is not None and found.pid == worker.pid and has_reported

        await until(is_present, f"worker {name} is ready")

    async def end(self) -> dict[int, str]:
        """Every daemon is gone, workers first; the processes that were left, now gone too."""
        order = sorted(self._daemons, key=lambda daemon: daemon.words[0] != "worker")
        workers = [daemon.end() for daemon in order if daemon.words[0] == "worker"]
        await asyncio.gather(*workers)
        await asyncio.gather(*(daemon.end() for daemon in order))
        left = self.processes()
        for pid in left:
            _kill(pid)
        for transport in self._transports:
            await transport.close()
        for port in self._ports:
            port.close()
        return left

    def processes(self) -> dict[int, str]:
        """Everything alive that began here: daemons, jobs, and what jobs started."""
        return processes_with("TMPDIR", self.env["TMPDIR"])

    def print_logs(self) -> None:
        """pytest shows them when a test fails."""
        for log in sorted(self.folder.glob("*.log")):
            print(f"--- {log.name}\n{log.read_text()[-6_000:]}")  # noqa: T201  # as said

    def job_processes(self) -> dict[int, str]:
        """Of those, jobs and what they started."""
        daemons = {daemon.pid for daemon in self._daemons if daemon.is_alive}
        return {pid: words for pid, words in self.processes().items() if pid not in daemons}

    async def run(self, *words: str, **env: str) -> Finished:
        """`drawbar …`, typed in the work folder."""
        return await run_command(words, {**self.env, **env}, self.work)

    # -- clients -----------------------------------------------------------------------------

    def transport(self, url: str, service: str, token: Callable[[], str | None]) -> Transport:
        opened = Transport(url, self._runtime, token=token, service=service)
        self._transports.append(opened)
        return opened

    def as_worker(self) -> tuple[RegistryClient, GatewayClient]:
        """What a worker has in its hands."""
        credential = Credential()
        registry = self.transport(self.env["DRAWBAR_REGISTRY_URL"], "registry", credential)
        gateway = self.transport(self.env["DRAWBAR_GATEWAY_URL"], "gateway", credential)
        secret = self._keys.enrolment_secret
        return (
            RegistryClient(registry, enrolment_secret=secret, credential=credential),
            GatewayClient(gateway, retry_for_s=LIMIT_S),
        )

    async def find_worker(self, name: str) -> WorkerView | None:
        """None: the registry does not know it, or cannot be asked."""
        try:
            known = (await self.operator.list_workers()).workers
        except ServiceError:
            return None
        return next((worker for worker in known if worker.name == name), None)

    # -- runs --------------------------------------------------------------------------------

    def gate(self) -> Gate:
        return Gate(self.work / f"gate-{next(self._numbers)}")

    def trace(self, word: str = "ran") -> str:
        """For `sh`: leaves a line with the job and the attempt."""
        return f"echo {word} $DRAWBAR_JOB_ID $DRAWBAR_ATTEMPT_ID >> '{self.work}/traces'"

    def traces(self, word: str = "ran") -> list[tuple[str, str]]:
        """Job and attempt of each line, in order."""
        try:
            lines = (self.work / "traces").read_text().splitlines()
        except FileNotFoundError:
            return []
        found = [line.split() for line in lines]
        return [(job, attempt) for what, job, attempt in found if what == word]

    async def until_traced(self, times: int, word: str = "ran") -> None:
        async def is_traced() -> bool:
            return len(self.traces(word)) >= times

        await until(is_traced, f"{times} jobs left a trace that they {word}")

    async def submit(self, *jobs: JobSpec, key: str | None = None, **pipeline: Any) -> RunId:
        spec = PipelineSpec.model_validate({"name": "test", "jobs": jobs, **pipeline})
        key = key or f"key-{next(self._numbers)}"
        return (await self.jobs.submit(SubmitRequest(idempotency_key=key, pipeline=spec))).run_id

    async def follow(self, run_id: RunId) -> AsyncIterator[Event]:
        """Every event until the run has ended, also across restarts of the job service."""
        seen = 0
        while True:
            try:
                async for event in self.jobs.follow_events(run_id, after=seen):
                    seen = event.seq
                    yield event
            except Unavailable:
                await asyncio.sleep(0.05)
            else:
                return

    async def until_event(
        self, run_id: RunId, kind: str, job_id: str | None = None, *, times: int = 1
    ) -> Event:
        """The event, when it has happened `times` times."""
        async with asyncio.timeout(LIMIT_S):
            async for event in self.follow(run_id):
                times -= event.kind == kind and job_id in (None, event.job_id)
                if times == 0:
                    return event
        raise AssertionError(f"run {run_id} ended without {kind}")

    async def until_ended(self, run_id: RunId) -> RunView:
        async with asyncio.timeout(LIMIT_S):
            async for _ in self.follow(run_id):
                pass
        return await self.jobs.show_run(run_id)

    async def events(self, run_id: RunId) -> list[Event]:
        """All so far, of runs with fewer than ten thousand."""
        return list((await self.jobs.list_events(run_id, after=0, limit=10_000)).events)

    async def job(self, run_id: RunId, job_id: str) -> JobView:
        view = await self.jobs.show_run(run_id)
        return next(job for job in view.jobs if job.id == job_id)

    async def attempts(self, run_id: RunId, job_id: str) -> list[AttemptView]:
        return list((await self.jobs.list_attempts(run_id, JobId(job_id))).attempts)


@asynccontextmanager
async def cluster_in(folder: Path, **settings: float) -> AsyncIterator[Cluster]:
    """The three services run. Afterwards nothing does, and nothing was left behind."""
    cluster = Cluster(folder, **settings)
    try:
        await cluster.start_services()
        yield cluster
    finally:
        left = await cluster.end()
        cluster.print_logs()
    assert not left, f"processes were left behind: {left}"


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
