"""The launcher: what forks keepers, and introduces them to whichever worker is there.

It does nothing for a job itself. Should a job kill its keeper, what the job has left becomes the
launcher's own children; it ends them, and tells the worker in the keeper's place.
"""

import gc
import os
import resource
import select
import signal
import socket
from contextlib import suppress
from typing import Final

from worker.launcher import wire
from worker.launcher.keeper import Keeper
from worker.launcher.trees import adopt_orphans, children, kill_children

LAUNCHERS_NAME: Final = b"drawbar-launch"
AGAIN_S: Final = 0.05  # between two rounds of killing what does not go
PATIENCE_S: Final = 60.0  # for the first word of who started it
KILLED: Final = (b"ended", b"-9", b"0", b"0", b"0", b"lost", b"something killed its keeper")


class Kept:
    """A keeper, as its launcher knows it."""

    def __init__(self, number: int, pid: int, own: socket.socket, spare: socket.socket) -> None:
        self.number = number
        self.pid = pid
        self.own = own  # to introduce another worker
        self.spare = spare  # the keeper's end towards its worker, to speak in its place


class Launcher:
    """Listens on `door`."""

    def __init__(self, door: socket.socket) -> None:
        self._door = door
        self._worker: socket.socket | None = None
        self._had_worker = False
        self._kept: dict[int, Kept] = {}
        self._dead: list[Kept] = []  # keepers whose jobs are being ended
        self._made = 0
        self._starter = os.getppid()
        self._files = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._child_ended, self._wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        # Two sockets for each keeper: far more jobs than the usual limit of 1,024 files.
        resource.setrlimit(resource.RLIMIT_NOFILE, (self._files[1], self._files[1]))
        door.listen(8)  # anew, so that peers are told this process's credentials (unix(7))
        door.setblocking(False)
        adopt_orphans(LAUNCHERS_NAME)
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)  # it goes when it is not needed any more

    def live(self) -> None:
        """Returns when no worker is there, and no job."""
        self._listen_to_children()
        while self._worker is not None or self._kept or self._dead or not self._had_worker:
            poll = select.poll()
            poll.register(self._door, select.POLLIN)
            poll.register(self._child_ended, select.POLLIN)
            if self._worker is not None:
                poll.register(self._worker, select.POLLIN)
            wait_s = None if self._had_worker else PATIENCE_S
            if self._dead:
                wait_s = AGAIN_S
            found = poll.poll(None if wait_s is None else wait_s * 1_000)
            if not found and not self._had_worker:
                return  # who started it has ended before it could say a word
            for ready, _ in found:
                if ready == self._door.fileno():
                    self._welcome()
                elif ready == self._child_ended:
                    with suppress(BlockingIOError):
                        os.read(ready, 1_024)
                elif self._worker is not None and ready == self._worker.fileno():
                    self._hear(self._worker)
            self._reap()

    def _listen_to_children(self) -> None:
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)

    # -- the worker --------------------------------------------------------------------------

    def _welcome(self) -> None:
        with suppress(BlockingIOError):
            worker, _ = self._door.accept()
            worker.setblocking(True)
            if self._worker is not None:
                self._worker.close()
            self._worker = worker
            self._had_worker = True
            self._say(b"hello", wire.VERSION, str(os.getpid()).encode())

    def _hear(self, worker: socket.socket) -> None:
        try:
            parts, _ = wire.receive(worker)
        except wire.Gone:
            worker.close()
            self._worker = None
            return
        match parts:
            case [b"keeper"]:
                self._make_keeper()
            case [b"attach"]:
                self._introduce()
            case [b"slay", number] if (kept := self._kept.get(int(number))) is not None:
                with suppress(ProcessLookupError):
                    os.kill(kept.pid, signal.SIGKILL)

    def _say(self, *parts: bytes, files: tuple[int, ...] = ()) -> None:
        if self._worker is not None:
            with suppress(wire.Gone):  # noticed when it is heard
                wire.send(self._worker, *parts, files=files)

    # -- keepers -----------------------------------------------------------------------------

    def _make_keeper(self) -> None:
        try:
            theirs, masters = wire.pair()
            own, launchers = wire.pair()
            self._made += 1
            pid = os.fork()
        except OSError as error:
            self._say(b"none", (error.strerror or "").encode())
            return
        if pid == 0:
            own.close()
            masters.close()
            self._become_keeper(launchers, theirs)
        launchers.close()
        self._kept[self._made] = Kept(self._made, pid, own, theirs)
        self._name_keeper(self._kept[self._made], masters)
        masters.close()

    def _become_keeper(self, launcher: socket.socket, master: socket.socket) -> None:
        """This process is a keeper, to its end."""
        status = 1
        try:
            for kept in [*self._kept.values(), *self._dead]:
                kept.own.close()
                kept.spare.close()
            if self._worker is not None:
                self._worker.close()
            self._door.close()
            signal.set_wakeup_fd(-1)
            os.close(self._child_ended)
            os.close(self._wake)
            resource.setrlimit(resource.RLIMIT_NOFILE, self._files)
            name = f"{os.getppid()}-{self._made}"
            Keeper(launcher, master, name, self._starter).live()
            status = 0
        finally:
            os._exit(status)

    def _introduce(self) -> None:
        """Every keeper has the worker that is here for its master."""
        for kept in self._kept.values():
            try:
                theirs, masters = wire.pair()
            except OSError:
                break  # out of descriptors: those left are found when the next worker asks
            with suppress(wire.Gone), theirs, masters:
                wire.send(kept.own, b"master", files=(theirs.fileno(),))
                kept.spare.close()
                kept.spare = theirs.dup()
                self._name_keeper(kept, masters)
        self._say(b"all")

    def _name_keeper(self, kept: Kept, masters: socket.socket) -> None:
        names = (str(kept.number).encode(), str(kept.pid).encode())
        self._say(b"keeper", *names, files=(masters.fileno(),))

    def _reap(self) -> None:
        """Keepers that have ended are forgotten, once nothing lives of what they left. What does
        not go at once is killed again and again, while others are served."""
        numbers = {kept.pid: number for number, kept in self._kept.items()}
        while True:
            try:
                pid, _ = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                break
            if pid in numbers:
                self._dead.append(self._kept.pop(numbers[pid]))
        if not self._dead:
            return
        keepers = frozenset(kept.pid for kept in self._kept.values())
        if set(children(os.getpid())) - keepers:
            kill_children(keepers)
            return
        for kept in self._dead:
            with suppress(wire.Gone, BlockingIOError):
                wire.send(kept.spare, *KILLED)
            kept.spare.close()
            kept.own.close()
        self._dead.clear()


def main(folder: str) -> None:
    """The listening socket is standard input; keepers leave in `folder` how jobs ended."""
    os.chdir(folder)
    for name in os.listdir("/proc/self/fd"):  # the worker's, should some be inheritable
        with suppress(OSError):  # the listing's own is closed by now
            if int(name) > 2:
                os.close(int(name))
    door = socket.socket(fileno=os.dup(0))
    null = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(null, standard)
    os.close(null)
    launcher = Launcher(door)
    gc.collect()
    gc.freeze()  # keepers share what they do not write to
    gc.disable()
    launcher.live()
