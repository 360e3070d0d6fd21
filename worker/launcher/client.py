"""The worker's side: a launcher that is there, and keepers borrowed from it.

The launcher is found by its socket in the worker's folder; nobody else can listen there, as the
folder is the worker's alone, and who answers is checked all the same.
"""

import asyncio
import os
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

import structlog

from shared.ids import AttemptId
from worker.launcher import wire
from worker.launcher.link import Link
from worker.launcher.trees import KEEPERS_NAME
from worker.ports import CannotStart, WorkerAtFault

ANSWER_S: Final = 30.0  # on a machine that is very busy
MOST_IDLE: Final = 32  # keepers, of a third of a MiB each
FORGET_S: Final = 0.2  # a keeper without a new job for so long is told to forget its last one
SOCKET: Final = "socket"

log = structlog.get_logger()


class Keeper:
    """A keeper that is this worker's."""

    def __init__(self, number: int, pid: int, link: Link, launcher: "Launcher") -> None:
        """`pid` 0: it is a launcher's that does not tell."""
        self.link = link
        self.recalls: AttemptId | None = None  # whose process has ended, as is known
        self.home = launcher.link  # to the launcher that made it: another has others' numbers
        self._number = number
        self._pid = pid
        self._launcher = launcher

    def give_back(self, recalls: AttemptId | None = None) -> None:
        """Its job has ended, and nobody will ask for it again. `recalls`: the attempt's name."""
        self.recalls = recalls
        self._launcher.take_back(self)

    def forget(self) -> None:
        """No later worker is told of its last job."""
        if self.recalls is not None:
            self.recalls = None
            self.link.say(b"release")

    def is_stopped(self) -> bool:
        """By a signal, as jobs can send it one: it does not answer until another lets it go on."""
        with suppress(OSError):
            return Path(f"/proc/{self._pid}/stat").read_bytes().rpartition(b") ")[2][:1] == b"T"
        return False

    def slay(self) -> None:
        """It does not answer: it is killed, and what it kept is ended by its launcher. Should that
        be gone as well, no word comes before the end of `link`."""
        if self._pid:
            with suppress(OSError):
                if Path(f"/proc/{self._pid}/comm").read_bytes().rstrip() == KEEPERS_NAME:
                    os.kill(self._pid, signal.SIGKILL)
        elif self.home is not None:
            self.home.say(b"slay", str(self._number).encode())


class Launcher:
    """Started when it is first needed. One for each worker, whose `folder` holds its socket."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._link: Link | None = None
        self._idle: list[Keeper] = []
        self._lent: set[Keeper] = set()  # all that are this worker's, idle or not
        self._waiting: list[asyncio.Future[Keeper]] = []
        self._found: list[Keeper] | None = None
        self._all_found: asyncio.Future[None] | None = None
        self._mourned: set[int] = set()  # launchers that will be reaped when they end
        self._forgetting: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        """A launcher is there, or comes up, if that can be; else the first start says why not."""
        with suppress(CannotStart):
            self._connect_or_start()

    def close(self) -> None:
        """The launcher ends, once it has no jobs that outlive this worker."""
        self._forget_all()
        for keeper in self._lent:
            keeper.link.close()
        self._lent.clear()
        self._idle.clear()
        if self._link is not None:
            self._link.close()
            self._link = None

    async def borrow(self) -> Keeper:
        """A keeper without a job. WorkerAtFault: there is none to be had."""
        while self._idle:
            keeper = self._idle.pop()
            if self._is_of_use(keeper):
                keeper.recalls = None  # its next job takes the place of the last
                return keeper
            self._let_go(keeper)
        try:
            return await self._ask()
        except WorkerAtFault:
            if self._link is None or self._link.is_open:
                raise
            return await self._ask()  # a job killed the launcher just now: another takes its place

    async def _ask(self) -> Keeper:
        """A fresh keeper. WorkerAtFault: the launcher has none, or has ended meanwhile."""
        link = self._link
        if link is None or not link.is_open:
            link = self._connect_or_start()
        waiting: asyncio.Future[Keeper] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiting)
        link.say(b"keeper")
        try:
            async with asyncio.timeout(ANSWER_S):
                return await waiting
        except TimeoutError:
            raise WorkerAtFault(f"the launcher did not answer within {ANSWER_S:g} s") from None
        finally:
            with suppress(ValueError):
                self._waiting.remove(waiting)

    async def found(self) -> list[Keeper]:
        """Keepers whose jobs an earlier worker started; none when no launcher has outlived it."""
        link = self._link if self._link is not None and self._link.is_open else self._connect()
        if link is None:
            return []
        self._found = []
        self._all_found = asyncio.get_running_loop().create_future()
        link.say(b"attach")
        try:
            async with asyncio.timeout(ANSWER_S):
                await self._all_found
        except TimeoutError:
            log.warning("launcher.silent", folder=str(self.folder))
            link.close()  # or keepers that it names later would pass for idle ones
        found, self._found = self._found, None
        return found

    def take_back(self, keeper: Keeper) -> None:
        keeper.link.listen(lambda *_: None)
        if self._is_of_use(keeper) and len(self._idle) < MOST_IDLE:
            self._idle.append(keeper)
            if self._forgetting is None and keeper.recalls is not None:
                loop = asyncio.get_running_loop()
                self._forgetting = loop.call_later(FORGET_S, self._forget_all)
        else:
            self._let_go(keeper)

    def _is_of_use(self, keeper: Keeper) -> bool:
        """Whether a later worker finds what it starts: its launcher lives, and introduces it."""
        home = keeper.home
        return keeper.link.is_open and home is not None and home is self._link and home.is_open

    def _let_go(self, keeper: Keeper) -> None:
        """It ends, as it has no job."""
        keeper.forget()
        self._lent.discard(keeper)
        keeper.link.close()

    @property
    def link(self) -> Link | None:
        return self._link

    def forget(self, attempt_id: AttemptId) -> None:
        """No keeper without a job tells of that attempt, of which another process starts."""
        for keeper in self._idle:
            if keeper.recalls == attempt_id:
                keeper.forget()

    def _forget_all(self) -> None:
        """Not at each end: a keeper that is woken once more costs as much as half a start."""
        if self._forgetting is not None:
            self._forgetting.cancel()
            self._forgetting = None
        for keeper in self._idle:
            keeper.forget()

    # -- the launcher itself -----------------------------------------------------------------

    def _connect(self) -> Link | None:
        """A launcher that is there already."""
        end = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            with _Near(self.folder) as path:
                end.connect(path)
        except OSError:
            end.close()
            return None
        return self._listen_to(end)

    def _connect_or_start(self) -> Link:
        # One that left us has ended, though its socket may still seem to listen for a moment.
        link = self._connect() if self._link is None else None
        if link is not None:
            return link
        try:
            self._start()
        except OSError as error:
            raise WorkerAtFault(f"no launcher could be started: {error.strerror}") from error
        link = self._connect()
        if link is None:
            raise WorkerAtFault("the launcher cannot be reached")
        return link

    def _listen_to(self, end: socket.socket) -> Link:
        if self._link is not None:
            self._link.close()
        self._link = link = Link(end)
        link.listen(self._hear)
        uid = link.peer_uid()
        if uid != os.geteuid():
            link.close()
            raise WorkerAtFault(f"{self.folder} belongs to somebody else's launcher (user {uid})")
        return link

    def _start(self) -> None:
        """It listens; connections wait until it has come up."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        door = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with door, _Near(self.folder) as path:
            with suppress(FileNotFoundError):
                os.unlink(path)
            door.bind(path)
            door.listen(8)
            pid = os.posix_spawn(
                sys.executable,
                [sys.executable, "-I", "-S", str(Path(__file__).parent), str(self.folder)],
                {"PATH": os.defpath},
                file_actions=[(os.POSIX_SPAWN_DUP2, door.fileno(), 0)],
                setsid=True,
                setsigmask=[],
            )
        self._reap_when_ended(pid)
        log.debug("launcher.started", pid=pid)

    def _hear(self, parts: list[bytes], files: list[int]) -> None:
        match parts:
            case [b"hello", version, pid]:
                self._reap_when_ended(int(pid))  # a worker that began anew has its children still
                if version != wire.VERSION:
                    log.warning("launcher.of_other_version", version=version.decode())
            case [b"keeper", *_] if not files:
                self._fail("a keeper cannot be reached: out of descriptors")
            case [b"keeper", number, *more]:
                link = Link(socket.socket(fileno=files.pop()))
                keeper = Keeper(int(number), int(more[0]) if more else 0, link, self)
                self._lent.add(keeper)
                if self._found is not None:
                    self._found.append(keeper)
                elif not self._hand_over(keeper):
                    self.take_back(keeper)
            case [b"none", why]:
                self._fail(f"no keeper could be started: {why.decode()}")
            case [b"all"]:
                self._end_search()
            case []:
                self._fail("the launcher has ended")
                self._end_search()

    def _end_search(self) -> None:
        if self._all_found is not None and not self._all_found.done():
            self._all_found.set_result(None)

    def _hand_over(self, keeper: Keeper) -> bool:
        while self._waiting:
            waiting = self._waiting.pop(0)
            if not waiting.done():
                waiting.set_result(keeper)
                return True
        return False

    def _reap_when_ended(self, pid: int) -> None:
        """A launcher that is a child of this process leaves no zombie, also when it ends after
        its worker, which others here may outlive. Safe to repeat."""
        if pid in self._mourned:
            return
        try:
            ended = os.pidfd_open(pid)
        except OSError:  # it has ended and was reaped, or there are no descriptors left
            return
        self._mourned.add(pid)
        loop = asyncio.get_running_loop()

        def reap() -> None:
            loop.remove_reader(ended)
            os.close(ended)
            self._mourned.discard(pid)
            with suppress(ChildProcessError):  # another process started it
                os.waitpid(pid, os.WNOHANG)

        loop.add_reader(ended, reap)

    def _fail(self, why: str) -> None:
        while self._waiting:
            waiting = self._waiting.pop(0)
            if not waiting.done():
                waiting.set_exception(WorkerAtFault(why))


class _Near:
    """The path of the socket, short enough for an address (108 bytes), whatever the folder's."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._fd = -1

    def __enter__(self) -> str:
        self._fd = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        return f"/proc/self/fd/{self._fd}/{SOCKET}"

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)
