"""The warm servers of a worker: one for each flow and environment, few at a time.

The first task of a flow starts cold. When it has said how it ended, its modules can be imported,
and a server is started that does so; later tasks of the flow are copies of it. Where that fails,
whatever the reason is, a task starts cold, as if there were no servers.
"""

import asyncio
import shutil
import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Final

import structlog

from shared.ids import AttemptId
from shared.runtime import Runtime
from worker.environment import IDENTITY
from worker.ports import CannotStart, Launch
from worker.runners.kept import KeptRunner
from worker.tasks.pipes import close_all, open_pipe
from worker.warm.messages import send
from worker.warm.process import WarmProcess
from worker.warm.server import MARK, Gone, Unfit, WarmServer

MOST_SERVERS: Final = 8
MOST_BYTES: Final = 512 * 1024 * 1024  # resident, of all servers together
MOST_UNFIT: Final = 1_000  # flows that are remembered as unfit
IDLE_S: Final = 300.0  # then a server ends
IMPORT_S: Final = 10.0  # a task that waits for a server longer than that starts cold
PLACE: Final = "-" * 100  # where a copy writes its attempt's id

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Flow:
    """What decides what is imported, and how: a server is for the tasks that agree in all of it."""

    folder: str
    file: str | None
    module: str
    env: frozenset[tuple[str, str]]


def flow_of(folder: Path | None, file: str | None, module: str, launch: Launch) -> Flow | None:
    """None: the task cannot start warm. Files that did not come in a bundle may change, and an
    environment that names the attempt is not that of another."""
    attempt = launch.env.get(MARK)
    env = {name: value for name, value in launch.env.items() if name not in IDENTITY}
    if folder is None or attempt is None or len(attempt) > len(PLACE):
        return None
    if any(attempt in value for value in env.values()):
        return None
    return Flow(str(folder), file, module, frozenset(env.items()))


class WarmServers:
    """Started as needed, below `root`, which is this worker's alone."""

    def __init__(
        self, shell: KeptRunner, command: Sequence[str], root: Path, runtime: Runtime
    ) -> None:
        """`command`: that of a task runner, which serves with `--serve`."""
        self._shell = shell
        self._command = (*command, "--serve")
        self._root = root
        self._runtime = runtime
        self._names = count()
        self._servers: dict[Flow, WarmServer] = {}  # the least recently used first
        self._alive: set[WarmServer] = set()  # also those that get no more tasks
        self._ending: list[WarmServer] = []
        self._unfit: dict[Flow, None] = {}
        self._starting = asyncio.Lock()

    def clear(self) -> None:
        """The root exists and is empty."""
        shutil.rmtree(self._root, ignore_errors=True)
        self._root.mkdir(parents=True, mode=0o700)

    async def close(self) -> None:
        """No server lives, and none is started. Safe to repeat."""
        async with self._starting:
            for server in list(self._alive):
                await server.end()
            await self._bury()

    async def prepare(self, flow: Flow) -> None:
        """A server for that flow lives or is being started, unless the flow is unfit."""
        async with self._starting:
            await self._bury()
            if flow in self._servers or flow in self._unfit:
                return
            while len(self._servers) >= MOST_SERVERS:
                self._retire(next(iter(self._servers)))
            try:
                self._servers[flow] = await self._spawn(flow)
            except (CannotStart, OSError) as error:
                log.warning("warm.not_started", error=str(error))

    def has(self, flow: Flow) -> bool:
        """Whether a server for that flow lives, or is being started."""
        return flow in self._servers

    def permit(self, until: Mapping[AttemptId, float]) -> None:
        """See `worker.ports.Runner.permit`."""
        for server in self._alive:
            server.permit(until)

    async def start(
        self, flow: Flow, launch: Launch, descriptors: Sequence[int]
    ) -> WarmProcess | None:
        """The task's process, with these descriptors, which stay the caller's. None: start it
        cold, and with other descriptors."""
        server = self._servers.pop(flow, None)
        if server is None:
            return None
        self._servers[flow] = server  # the most recently used
        who = {name: launch.env[name] for name in IDENTITY if name in launch.env}
        try:
            async with asyncio.timeout(IMPORT_S):
                await server.ready()
            self._make_room(flow, server.resident_bytes)
            return await server.start(str(launch.cwd), who, launch.until, descriptors)
        except Unfit as error:
            self._give_up(flow, str(error))
        except TimeoutError:
            self._give_up(flow, f"its modules take more than {IMPORT_S:g} s to be imported")
        except Gone as error:
            log.info("warm.gone", file=flow.file, why=str(error))
            self._retire(flow)
        except CannotStart as error:
            # A cold start will not do better, but it tells the reason as people know it.
            log.info("warm.refused", file=flow.file, why=str(error))
        return None

    async def _spawn(self, flow: Flow) -> WarmServer:
        folder = self._root / str(next(self._names))
        folder.mkdir(mode=0o700)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        output = open_pipe()
        try:
            launch = Launch(
                argv=self._command, env={**dict(flow.env), MARK: PLACE}, cwd=folder, log=folder
            )
            process = await self._shell.start_wired(launch, theirs.fileno(), output[1], output[1])
            server = WarmServer(process, ours, folder, self._runtime, self._ended)
            send(ours, _setup(flow), [output[0]])
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
            close_all(*output)
        self._alive.add(server)
        return server

    def _make_room(self, wanted: Flow, size_bytes: int) -> None:
        """All servers together are small enough. Unfit: this one alone is not."""
        if size_bytes > MOST_BYTES:
            raise Unfit(f"its modules take more than {MOST_BYTES >> 20} MiB")
        for flow in list(self._servers):
            if sum(server.resident_bytes for server in self._servers.values()) <= MOST_BYTES:
                return
            if flow != wanted:
                self._retire(flow)

    def _give_up(self, flow: Flow, why: str) -> None:
        """Its tasks start cold from now on."""
        log.info("warm.unfit", file=flow.file, module=flow.module, why=why)
        if len(self._unfit) >= MOST_UNFIT:
            self._unfit.pop(next(iter(self._unfit)))
        self._unfit[flow] = None
        self._retire(flow)

    def _retire(self, flow: Flow) -> None:
        """It gets no more tasks. Safe to repeat."""
        server = self._servers.pop(flow, None)
        if server is not None:
            server.leave()

    def _ended(self, server: WarmServer) -> None:
        for flow, known in list(self._servers.items()):
            if known is server:
                del self._servers[flow]
        self._alive.discard(server)
        self._ending.append(server)

    async def _bury(self) -> None:
        """What was left of servers that have hung up is gone."""
        while self._ending:
            server = self._ending.pop()
            await server.end()
            with suppress(OSError):
                await self._runtime.offload(shutil.rmtree, server.folder)


def _setup(flow: Flow) -> dict[str, Any]:
    task = {"module": flow.module, "file": flow.file}
    return {"task": task, "folder": flow.folder, "idle_s": IDLE_S}
