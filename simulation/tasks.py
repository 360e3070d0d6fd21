"""The worker's own runner of tasks, supervisors and all, with simulated pipes and processes."""

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from shared.protocol.execution import Scope
from shared.runtime import Runtime
from shared.services import Execution
from simulation.callers import Callers
from simulation.launcher import SimLauncher
from simulation.pipes import LogPipe, Wires
from simulation.process import Process
from simulation.runner import SimRunner
from simulation.task import SimTask
from worker.ports import Launch
from worker.tasks.bundles import Bundles
from worker.tasks.masking import Masker
from worker.tasks.requests import Requests
from worker.tasks.runner import TaskRunner
from worker.tasks.supervisor import TaskProcess
from worker.warm.servers import Flow


class SimTaskRunner(TaskRunner):
    """Where a real one opens pipes and forks, this one does so in the simulated world."""

    def __init__(
        self,
        shell: SimRunner,
        execution: Execution,
        runtime: Runtime,
        host: Process,
        launcher: SimLauncher,
        callers: Callable[[], Callers],
    ) -> None:
        """`host`: the worker's process. `callers`: those who are there once a task needs them."""
        bundles = Bundles(Path("/nowhere"), execution, runtime)  # no task here brings files
        super().__init__(shell, execution, bundles, runtime, python=("sim",))  # type: ignore[arg-type]  # a stand-in
        self._on_machine = shell
        self._host = host
        self._launcher = launcher
        self._callers = callers
        self._chance = random.Random(f"pipes-{host.loop.seed}-{host.label}")

    async def _begin(
        self, launch: Launch, argv: Sequence[str], scope: Scope, start: bytes, flow: Flow | None
    ) -> TaskProcess:
        launcher, attempt_id = self._launcher, scope.attempt_id
        log = LogPipe(self._host, launcher.disk, str(launch.log), launcher.history, attempt_id)
        wires = Wires(self._host, launcher.host, self._chance, log)
        make = partial(SimTask, wires=wires, callers=self._callers())
        process = await self._on_machine.start(replace(launch, argv=argv), make)
        requests = Requests(
            self._execution, scope, Masker(), self._runtime, lambda why: supervised.end(why)
        )
        supervised = TaskProcess(
            process,
            requests,
            wires.requests,  # type: ignore[arg-type]  # a stand-in, like the next two
            wires.replies,  # type: ignore[arg-type]
            wires.log,  # type: ignore[arg-type]
            start,
            self._runtime,
            _nothing,
        )
        return supervised


async def _nothing() -> None:
    """Nothing is kept warm."""
