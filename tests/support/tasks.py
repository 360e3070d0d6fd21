"""Tasks of a flow file, run by a real supervisor in real processes."""

import os
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from drawbar.document import load
from shared.ids import AttemptId, JobId, RunId, WorkerId
from shared.protocol.execution import Resumption, RunFacts, Scope
from shared.protocol.gateway import Result, RunContext, TaskContext
from shared.protocol.pipeline import TaskSpec
from shared.runtime import Runtime, SystemRuntime
from tests.support.execution import MemoryExecution
from worker.ports import Exit, Launch, Process, TaskLaunch
from worker.runners.kept import KeptRunner
from worker.tasks.bundles import Bundles
from worker.tasks.outcome import judge_task
from worker.tasks.runner import TaskRunner, python_runner
from worker.warm.servers import Flow, WarmServers, flow_of

HEAD = "from drawbar import *\nfrom drawbar import task, pipeline\n"

RETURNED: Final = ("(own)", "return_value")  # where a task's result is kept

# A task's private copy of descriptor 1, for one that means harm.
REQUESTS: Final = (
    "__import__('drawbar.sdk.current', fromlist=['_'])"
    ".ask.__globals__['_Running'].ask.__self__._requests"
)


def attempt(number: int) -> AttemptId:
    """Of a stage's start of that number. Tests end processes by this mark, on all of the machine:
    those of another test process have another."""
    return AttemptId(f"attempt-{os.getpid()}-{number}")


@dataclass(frozen=True)
class Ended:
    """What the worker would report, and what it would collect."""

    exit: Exit
    result: Result
    log: str
    artifacts: tuple[str, ...]


class TaskStage:
    """A task runner on this machine, with an execution API in memory."""

    def __init__(
        self,
        folder: Path,
        runtime: Runtime | None = None,
        *,
        is_warm: bool = False,
        warms_first: bool = True,
    ) -> None:
        """`is_warm`: there are warm servers, and, if it `warms_first`, one for each first task."""
        self.folder = folder
        self.runtime = runtime or SystemRuntime()
        self.execution = MemoryExecution()
        self.shell = KeptRunner(folder / "launcher")
        self.bundles = Bundles(folder / "bundles", self.execution, self.runtime)
        self.bundles.clear()
        self.warm = WarmServers(self.shell, python_runner(), folder / "warm", self.runtime)
        self.warm.clear()
        self.is_warm = is_warm
        self._warms_first = is_warm and warms_first
        self.flow: Flow | None = None  # that a server was started for last
        warm = self.warm if is_warm else None
        self.runner = TaskRunner(self.shell, self.execution, self.bundles, self.runtime, warm)
        self.cwd = folder / "cwd"
        self.cwd.mkdir()
        self._count = 0

    async def close(self) -> None:
        await self.warm.close()
        self.shell.close()
        self.bundles.clear()

    def spec_of(self, text: str, job: str = "go", name: str = "flow.py") -> TaskSpec:
        """The task of that job in a flow file, whose files can be fetched from now on."""
        home = self.folder / "flow"
        home.mkdir(exist_ok=True)
        file = home / name
        file.write_text(HEAD + textwrap.dedent(text))
        pipeline = load(file).spec
        assert pipeline.bundle is not None
        self.execution.bundles[pipeline.bundle.sha256] = pipeline.bundle.content
        task = next(j for j in pipeline.jobs if j.id == job).task
        assert task is not None
        return task

    async def start(
        self,
        spec: TaskSpec,
        *,
        map_index: int | None = None,
        resume: Resumption | None = None,
        env: dict[str, str] | None = None,
        **context: Any,
    ) -> tuple[Process, Path]:
        self._count += 1
        attempt_id = attempt(self._count)
        log = self.folder / f"{self._count}.log"
        launch = Launch(
            argv=(),
            env={"PATH": "/usr/bin:/bin", "DRAWBAR_ATTEMPT_ID": attempt_id, **(env or {})},
            cwd=self.cwd,
            log=log,
            task=TaskLaunch(
                context=RunContext(
                    attempt_id=attempt_id,
                    fence=1,
                    run_id=RunId(7),
                    job_id=JobId("go"),
                    pipeline="p",
                    argv=(),
                    task=TaskContext(
                        spec=spec,
                        run=RunFacts(params={"day": "monday"}),
                        map_index=map_index,
                        resume=resume,
                    ),
                    env={},
                    working_dir=None,
                    timeout_s=60.0,
                    artifacts=(),
                    inputs=(),
                    dependencies=(),
                    tries=2,
                    tries_left=1,
                    should_retry=True,
                    lease_s=30.0,
                    heartbeat_s=2.0,
                    **context,
                ),
                worker_id=WorkerId("w"),
                is_stopped=lambda: False,
            ),
        )
        if self._warms_first:
            await self.warm_up(spec, launch)
        return await self.runner.start(launch), log

    async def warm_up(self, spec: TaskSpec, launch: Launch) -> None:
        """What a task of that flow does when it has ended."""
        assert launch.task is not None
        assert spec.bundle is not None
        scope = Scope(attempt_id=AttemptId("first"), worker_id=WorkerId("w"), fence=1)
        folder = await self.bundles.open(scope, spec.bundle, launch.task)
        flow = flow_of(folder, spec.file, spec.module, launch)
        if flow is not None and not spec.runner:
            await self.warm.prepare(flow)
            self.flow = flow

    async def run(self, spec: TaskSpec, **options: Any) -> Ended:
        process, log = await self.start(spec, **options)
        ended = await process.wait()
        await process.reap()
        assert ended.task is not None
        return Ended(
            exit=ended,
            result=judge_task(ended, ended.task),
            log=log.read_bytes().decode(errors="replace"),
            artifacts=ended.task.artifacts,
        )

    async def run_flow(self, text: str, job: str = "go", **options: Any) -> Ended:
        return await self.run(self.spec_of(text, job), **options)

    async def run_body(self, body: str, arguments: str = "", **options: Any) -> Ended:
        """A task `go` with that body, called with these arguments by name."""
        names = ", ".join(part.partition("=")[0] for part in arguments.split(",") if part)
        inner = textwrap.indent(textwrap.dedent(body), "    ")
        return await self.run_flow(
            f"@task\ndef go({names}):\n{inner}\nwith pipeline('p'): go({arguments})\n", **options
        )
