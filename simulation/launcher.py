"""The launcher of a simulated machine: it keeps the processes of jobs, and outlives its worker.

Like worker/launcher: who was started for an attempt is found again by the next worker; what is not
permitted to run on is killed, also while no worker is there; a loss of power ends all of it.
"""

import asyncio
import math
import random
from collections.abc import Callable, Collection
from typing import Final

from shared.ids import AttemptId
from shared.protocol.gateway import Usage
from simulation.files import SimDisk
from simulation.history import History
from simulation.process import Process
from simulation.script import Script, artifact_of, line_of
from simulation.workspace import log_of, work_of
from worker.ports import Breach, Exit, Launch, LeaseOver

HOP_S: Final = (1e-5, 1e-3)  # from the worker to its launcher, and back
START_S: Final = (1e-3, 2e-2)
KILL_S: Final = 1e-3
SPAWN_FAILS: Final = 0.02
BURSTS: Final = 3  # in which a process writes its lines
SIGTERM, SIGKILL = 15, 9


class SimLauncher:
    """Starts, keeps and ends. `host` is its own process, on the worker's machine."""

    def __init__(self, host: Process, disk: SimDisk, history: History) -> None:
        self.kept: dict[AttemptId, SimProcess] = {}  # started last for each attempt
        self.host = host
        self.disk = disk
        self.history = history
        self.chance = random.Random(f"launcher-{host.loop.seed}-{host.label}")
        self._last_pid = 1000 * host.incarnation
        host.at_death.append(self._lose_power)

    @property
    def is_busy(self) -> bool:
        return any(process.exit is None for process in self.kept.values())

    def hear(self, call: Callable[[], None], delay: tuple[float, float] = HOP_S) -> None:
        """A worker has said something."""
        self.host.loop.after(self.chance.uniform(*delay), self.host, call)

    def start(
        self,
        launch: Launch,
        until: float,
        worker: Process,
        answer: "asyncio.Future[SimProcess | None]",
        make: "Make | None" = None,
    ) -> None:
        """The process runs, and the worker hears of it if it lives; None: it cannot be started.
        LeaseOver: it is too late for that.

        `make`: which process; None: that of a command.
        """
        assert launch.attempt_id is not None
        loop, process = self.host.loop, None
        if until <= loop.now:
            loop.after(self.chance.uniform(*START_S), worker, _refuse, answer)
            return
        if self.chance.random() >= SPAWN_FAILS:
            self._last_pid += 1
            make = make or SimProcess
            process = make(self, self._last_pid, launch.attempt_id, launch, until)
            self.kept[launch.attempt_id] = process
            self.history.event_of(
                worker.label,
                "check" if process.is_check else "spawn",
                attempt=launch.attempt_id,
                inputs=self._inputs_of(launch.attempt_id),
            )
            process.begin()
        loop.after(self.chance.uniform(*START_S), worker, _tell, answer, process)

    def forget(self, process: "SimProcess") -> None:
        """How it ended was noted."""
        if self.kept.get(process.attempt_id) is process:
            del self.kept[process.attempt_id]

    def end_all(self, but: Collection[AttemptId]) -> None:
        """What an earlier worker started and nobody knows of is killed."""
        for attempt_id in [kept for kept in self.kept if kept not in but]:
            self.kept[attempt_id].end(None, SIGKILL)
            self.forget(self.kept[attempt_id])

    def _inputs_of(self, attempt_id: str) -> list[tuple[str, bytes]]:
        folder = work_of(attempt_id, "in")
        return [(name, self.disk.seen(f"{folder}/{name}")) for name in self.disk.names(folder)]

    def _lose_power(self) -> None:
        for process in self.kept.values():
            process.lose_power()


class SimProcess:
    """One process: writes lines, leaves an artifact, exits; or is stopped before."""

    def __init__(
        self, launcher: SimLauncher, pid: int, attempt_id: AttemptId, launch: Launch, until: float
    ) -> None:
        self.pid = pid
        self.attempt_id = attempt_id
        self.exit: Exit | None = None
        self.is_over = asyncio.Event()
        self._launcher = launcher
        self._host = launcher.host
        self._script = Script.of(launch.argv, launcher.chance)
        self._until = until
        self._began_at = launcher.host.loop.now
        self._written = 0

    @property
    def is_check(self) -> bool:
        """It is not the job's command, but one that looks whether that is as it should be."""
        return self._script.is_check

    def begin(self) -> None:
        self._host.spawn(self._live(), "process")
        self._watch()

    def terminate(self) -> None:
        if not self._script.ignores_term:
            self._host.loop.after(self._script.term_s, self._host, self.end, None, SIGTERM)

    def kill(self) -> None:
        self._host.loop.after(KILL_S, self._host, self.end, None, SIGKILL)

    def permit(self, until: float) -> None:
        """It may run on, up to that time of the world."""
        self._until = until

    def end(self, exit_code: int | None, signal: int | None, breach: Breach | None = None) -> None:
        """It is over. Nothing when it was before."""
        if self.exit is None:
            self._say_ended(exit_code, signal)
            usage = Usage(
                wall_s=self._host.loop.now - self._began_at, cpu_s=None, max_rss_bytes=None
            )
            self.exit = Exit(exit_code=exit_code, signal=signal, usage=usage, breach=breach)
            self.is_over.set()

    def lose_power(self) -> None:
        if self.exit is None:
            self._say_ended(None, SIGKILL)

    def _say_ended(self, exit_code: int | None, signal: int | None) -> None:
        self._launcher.history.event_of(
            self._host.label,
            "checked" if self.is_check else "exit",
            attempt=self.attempt_id,
            exit_code=exit_code,
            signal=signal,
            log_bytes=self._written,
        )

    def _watch(self) -> None:
        """Killed when its time is over, whether a worker is there or not."""
        if self.exit is None and self._until < math.inf:
            if self._host.loop.now >= self._until:
                breach = Breach("lease", "it was not permitted to run any longer")
                self.end(None, SIGKILL, breach)
            else:
                self._host.loop.at(self._until, self._host, self._watch)

    async def _live(self) -> None:
        script, bursts = self._script, BURSTS
        for burst in range(bursts):
            await asyncio.sleep(script.seconds / (bursts + 1))
            if self.exit is not None:
                return
            lines = range(script.lines * burst // bursts, script.lines * (burst + 1) // bursts)
            self._write(b"".join(line_of(self.attempt_id, n) for n in lines))
        await asyncio.sleep(script.seconds / (bursts + 1))
        if self.exit is None and script.exit_code == 0 and not script.is_check:
            place = work_of(self.attempt_id, "out.txt")
            self._launcher.disk.append(place, 0, artifact_of(self.attempt_id))
        self.end(script.exit_code, None)

    def _write(self, data: bytes) -> None:
        disk, log = self._launcher.disk, log_of(self.attempt_id)
        if data:
            disk.append(log, len(disk.seen(log)), data)
            self._written += len(data)


Make = Callable[[SimLauncher, int, AttemptId, Launch, float], SimProcess]


def _refuse(answer: "asyncio.Future[SimProcess | None]") -> None:
    if not answer.done():
        answer.set_exception(LeaseOver())


def _tell(answer: "asyncio.Future[SimProcess | None]", process: SimProcess | None) -> None:
    if not answer.done():
        answer.set_result(process)
