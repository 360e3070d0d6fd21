"""`Runner` for tasks, and for everything else through the shell runner below it."""

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

from shared.ids import AttemptId
from shared.protocol.execution import Scope
from shared.protocol.task import VERSION, StartFrame, encode_start
from shared.runtime import Runtime
from shared.services import Execution
from worker.ports import Launch, Process, TaskLaunch
from worker.runners.containers.kit import BUNDLE, PYTHON
from worker.runners.containers.runner import ContainerRunner
from worker.runners.kept import KeptRunner
from worker.settings import WorkerSettings
from worker.tasks.bundles import Bundles
from worker.tasks.masking import Masker
from worker.tasks.pipes import Lines, LogPipe, Writer
from worker.tasks.requests import Requests
from worker.tasks.supervisor import TaskProcess
from worker.tasks.wires import Wires
from worker.warm.servers import Flow, WarmServers, flow_of


def python_runner() -> tuple[str, ...]:
    """The command that runs Python functions, on the interpreter and the drawbar of this process.

    It is named as a file and started isolated, so that it is never a module of the job's folder.
    """
    spec = find_spec("drawbar")
    assert spec is not None, "a worker without drawbar"
    assert spec.origin is not None, "drawbar is a package"
    return (sys.executable, "-I", str(Path(spec.origin).parent / "runner" / "__main__.py"))


def task_runner(
    shell: KeptRunner,
    execution: Execution,
    data: Path,
    runtime: Runtime,
    settings: WorkerSettings,
) -> "TaskRunner":
    """A runner of tasks and commands, on the machine and in containers, that keeps the tasks'
    files below `data`. Containers that an earlier incarnation left are being removed."""
    bundles = Bundles(data / "bundles", execution, runtime)
    bundles.clear()
    warm = WarmServers(shell, python_runner(), data / "warm", runtime) if settings.is_warm else None
    if warm is not None:
        warm.clear()
    containers = ContainerRunner(settings, data, os.environ, runtime)
    containers.begin()
    return TaskRunner(shell, execution, bundles, runtime, warm, containers=containers)


class TaskRunner:
    """Starts a supervised task runner for a job that is a task."""

    def __init__(
        self,
        shell: KeptRunner,
        execution: Execution,
        bundles: Bundles,
        runtime: Runtime,
        warm: WarmServers | None = None,
        python: Sequence[str] | None = None,
        containers: ContainerRunner | None = None,
    ) -> None:
        """`warm` None: every task starts cold. `containers` None: there are none."""
        self._shell = shell
        self._execution = execution
        self._bundles = bundles
        self._runtime = runtime
        self._warm = warm
        self._containers = containers
        self._python = tuple(python or python_runner())

    async def close(self) -> None:
        """No process is kept for tasks to come. Safe to repeat."""
        if self._warm is not None:
            await self._warm.close()
        if self._containers is not None:
            await self._containers.close()

    async def start(self, launch: Launch) -> Process:
        if launch.task is None:
            return await self._runner_of(launch).start(launch)
        task, context = launch.task, launch.task.context
        assert context.task is not None, "a launch of a task is made of one"
        scope = Scope(attempt_id=context.attempt_id, worker_id=task.worker_id, fence=context.fence)
        spec = context.task.spec
        folder = None
        if spec.bundle is not None:
            folder = await self._bundles.open(scope, spec.bundle, task)
        argv = spec.runner or self._python
        if launch.container is not None and self._containers is not None:
            launch = await self._containers.with_task_runner(launch, folder)
            argv = spec.runner or PYTHON
            folder = None if folder is None else Path(BUNDLE)
        start = self._start_frame(task, None if folder is None else str(folder))
        if folder is not None and spec.runner:  # a runner that came along
            argv = tuple(_in_bundle(word, folder) for word in argv)
        flow = None
        is_plain = context.limits is None and launch.container is None
        if self._warm is not None and not spec.runner and is_plain:
            flow = flow_of(folder, spec.file, spec.module, launch)
        return await self._begin(launch, argv, scope, start, flow)

    def _runner_of(self, launch: Launch) -> KeptRunner | ContainerRunner:
        if launch.container is None:
            return self._shell
        assert self._containers is not None, "a container is asked for only of a worker with some"
        return self._containers

    async def attach(self, attempt_id: AttemptId) -> Process | None:
        """Commands only: a task's pipes end with its worker."""
        if self._containers is not None:
            await self._containers.attach(attempt_id)
        return await self._shell.attach(attempt_id)

    def permit(self, until: Mapping[AttemptId, float]) -> None:
        self._shell.permit(until)
        if self._warm is not None:
            self._warm.permit(until)

    def _start_frame(self, task: TaskLaunch, folder: str | None) -> bytes:
        context = task.context
        assert context.task is not None
        return encode_start(
            StartFrame(
                protocol=VERSION,
                attempt_id=context.attempt_id,
                run_id=context.run_id,
                pipeline=context.pipeline,
                job_id=context.job_id,
                map_index=context.task.map_index,
                tries=context.tries,
                tries_left=context.tries_left,
                should_retry=context.should_retry,
                timeout_s=context.timeout_s,
                started_at=self._runtime.now(),
                logical_date=context.task.run.logical_date,
                params=context.task.run.params,
                dependencies=context.dependencies,
                task=context.task.spec,
                folder=folder,
                resume=context.task.resume,
            )
        )

    async def _begin(
        self, launch: Launch, argv: Sequence[str], scope: Scope, start: bytes, flow: Flow | None
    ) -> TaskProcess:
        """The task's supervisor. Its process is a copy of a warm server, if there is one."""
        warm = self._warm
        if warm is not None and flow is not None and warm.has(flow):
            with Wires(launch.log) as wires:
                copy = await warm.start(flow, launch, wires.theirs)
                if copy is not None:
                    return self._supervise(copy, wires, scope, start, None)
        with Wires(launch.log) as wires:
            wanted = replace(launch, argv=argv)
            process = await self._runner_of(launch).start_wired(wanted, *wires.theirs)
            return self._supervise(process, wires, scope, start, flow)

    def _supervise(
        self, process: Process, wires: Wires, scope: Scope, start: bytes, flow: Flow | None
    ) -> TaskProcess:
        """`flow`: it can be kept warm as soon as this task has told how it ended."""

        async def warm_up() -> None:
            if self._warm is not None and flow is not None:
                await self._warm.prepare(flow)

        masker = Masker()
        requests = Requests(
            self._execution, scope, masker, self._runtime, lambda why: supervised.end(why)
        )
        log_file, replies, frames, output = wires.take()
        supervised = TaskProcess(
            process,
            requests,
            Lines(frames),
            Writer(replies),
            LogPipe(output, log_file, masker),
            start,
            self._runtime,
            warm_up,
        )
        return supervised


def _in_bundle(word: str, folder: Path) -> str:
    """`./name` in a runner's command is a file of the bundle."""
    if not word.startswith("./"):
        return word
    return os.path.join(folder, word[2:])
