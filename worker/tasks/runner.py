"""`Runner` for tasks, and for everything else through the shell runner below it."""

import os
import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

from shared.ids import AttemptId
from shared.protocol.execution import Scope
from shared.protocol.task import VERSION, StartFrame, encode_start
from shared.runtime import Runtime
from shared.services import Execution
from worker.joblog import open_log
from worker.ports import CannotStart, Launch, Process, TaskLaunch
from worker.runners.shell import ShellRunner
from worker.tasks.bundles import Bundles
from worker.tasks.masking import Masker
from worker.tasks.pipes import Lines, LogPipe, Writer, close_all, open_pipe
from worker.tasks.requests import Requests
from worker.tasks.supervisor import TaskProcess


def python_runner() -> tuple[str, ...]:
    """The command that runs Python functions, on the interpreter and the drawbar of this process.

    It is named as a file and started isolated, so that it is never a module of the job's folder.
    """
    spec = find_spec("drawbar")
    assert spec is not None, "a worker without drawbar"
    assert spec.origin is not None, "drawbar is a package"
    return (sys.executable, "-I", str(Path(spec.origin).parent / "runner" / "__main__.py"))


def task_runner(
    shell: ShellRunner, execution: Execution, data: Path, runtime: Runtime
) -> "TaskRunner":
    """A runner of tasks and commands that keeps the tasks' files below `data`."""
    bundles = Bundles(data / "bundles", execution, runtime)
    bundles.clear()
    return TaskRunner(shell, execution, bundles, runtime)


class TaskRunner:
    """Starts a supervised task runner for a job that is a task."""

    def __init__(
        self,
        shell: ShellRunner,
        execution: Execution,
        bundles: Bundles,
        runtime: Runtime,
        python: Sequence[str] | None = None,
    ) -> None:
        self._shell = shell
        self._execution = execution
        self._bundles = bundles
        self._runtime = runtime
        self._python = tuple(python or python_runner())

    async def start(self, launch: Launch) -> Process:
        if launch.task is None:
            return await self._shell.start(launch)
        task, context = launch.task, launch.task.context
        assert context.task is not None, "a launch of a task is made of one"
        scope = Scope(attempt_id=context.attempt_id, worker_id=task.worker_id, fence=context.fence)
        spec = context.task.spec
        folder = None
        if spec.bundle is not None:
            folder = await self._bundles.open(scope, spec.bundle, task)
        start = self._start_frame(task, None if folder is None else str(folder))
        argv = spec.runner or self._python
        if folder is not None and spec.runner:  # a runner that came along
            argv = tuple(_in_bundle(word, folder) for word in argv)
        return await self._spawn(launch, argv, scope, start)

    async def attach(self, attempt_id: AttemptId) -> Process | None:
        """Commands only: a task's pipes end with its worker."""
        return await self._shell.attach(attempt_id)

    def permit(self, until: Mapping[AttemptId, float]) -> None:
        self._shell.permit(until)

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

    async def _spawn(
        self, launch: Launch, argv: Sequence[str], scope: Scope, start: bytes
    ) -> TaskProcess:
        ours: list[int] = []
        theirs: list[int] = []
        try:
            log_file = open_log(launch.log, os.O_WRONLY)
            ours.append(log_file)
            for is_input in (True, False, False):
                read, write = open_pipe()
                theirs.append(read if is_input else write)
                ours.append(write if is_input else read)
            wanted = Launch(argv=argv, env=launch.env, cwd=launch.cwd, log=launch.log)
            process = await self._shell.start_wired(wanted, *theirs)
        except OSError as error:  # out of descriptors
            close_all(*ours)
            raise CannotStart(f"cannot open the task's pipes: {error.strerror}") from error
        except CannotStart:
            close_all(*ours)
            raise
        finally:
            close_all(*theirs)
        _, replies, frames, output = ours
        masker = Masker()
        requests = Requests(
            self._execution, scope, masker, self._runtime, lambda why: supervised.end(why)
        )
        supervised = TaskProcess(
            process,
            requests,
            Lines(frames),
            Writer(replies),
            LogPipe(output, log_file, masker),
            start,
            self._runtime,
        )
        return supervised


def _in_bundle(word: str, folder: Path) -> str:
    """`./name` in a runner's command is a file of the bundle."""
    if not word.startswith("./"):
        return word
    return os.path.join(folder, word[2:])
