"""A keeper: the parent of one job at a time, which outlives its worker.

It starts the job, passes signals on, holds it to its limits, and tells how it ended once nothing
below it lives. What ends while no worker is there is left in a file, for the next one.
"""

import os
import select
import signal
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from worker.launcher import wire
from worker.launcher.bounds import Bounds, Breach, now
from worker.launcher.cgroups import Groups, find_groups
from worker.launcher.starting import start
from worker.launcher.trees import KEEPERS_NAME, adopt_orphans, children, kill_children

STILL_ALIVE_S: Final = 0.05  # between two rounds of killing what does not go


class Job:
    """What a keeper knows of the job that it started last."""

    def __init__(self, attempt: bytes, pid: int, bounds: Bounds | None) -> None:
        self.attempt = attempt  # empty: the job does not outlive its worker
        self.pid = pid
        self.bounds = bounds
        self.began = now()
        self.until = float("inf")
        self.status: int | None = None  # as wait(2) told, once its first process has ended
        self.is_over = False
        self.breach: Breach | None = None
        self.cpu_s = 0.0
        self.peak_bytes = 0
        self.ended: tuple[bytes, ...] = ()  # what was told of its end


class Keeper:
    """`launcher` ends when the launcher does; `master` is the worker's, and may be replaced."""

    def __init__(
        self, launcher: socket.socket, master: socket.socket, name: str, worker: int
    ) -> None:
        self._launcher: socket.socket | None = launcher
        self._master: socket.socket | None = master
        self._name = name  # of its jobs' control groups
        self._worker = worker  # who started the launcher
        self._groups: Groups | None = None  # found when the first job needs one
        self._started = 0
        self._job: Job | None = None
        self._child_ended, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        adopt_orphans(KEEPERS_NAME)

    def live(self) -> None:
        """Returns when nobody needs it any more, and nothing of its job lives."""
        while self._is_needed():
            for ready in self._wait():
                if self._master is not None and ready == self._master.fileno():
                    self._hear(self._master, self._obey)
                elif self._launcher is not None and ready == self._launcher.fileno():
                    self._hear(self._launcher, self._obey_launcher)
                else:
                    with suppress(BlockingIOError):
                        os.read(ready, 1_024)
            self._attend()

    def _is_needed(self) -> bool:
        """A worker is there, or a job that goes on without one."""
        if self._master is not None:
            return True
        job = self._job
        if job is None:
            return False
        if not job.is_over:
            return True
        self._leave_behind(job)
        return False

    def _wait(self) -> list[int]:
        poll = select.poll()
        for end in (self._master, self._launcher):
            if end is not None:
                poll.register(end, select.POLLIN)
        poll.register(self._child_ended, select.POLLIN)
        wait_s = self._wait_s()
        return [fd for fd, _ in poll.poll(None if wait_s is None else max(0, wait_s) * 1_000)]

    def _wait_s(self) -> float | None:
        job = self._job
        if job is None or job.is_over:
            return None
        if job.status is not None:
            return STILL_ALIVE_S
        look_s = job.bounds.look_s if job.bounds is not None else None
        if job.until == float("inf"):
            return look_s
        left_s = job.until - now()
        return left_s if look_s is None else min(left_s, look_s)

    # -- what is said ------------------------------------------------------------------------

    def _hear(self, end: socket.socket, obey: Callable[[list[bytes], list[int]], None]) -> None:
        try:
            parts, files = wire.receive(end)
        except wire.Gone:
            self._lose(end)
            return
        try:
            obey(parts, files)
        finally:
            for file in files:
                os.close(file)

    def _lose(self, end: socket.socket) -> None:
        end.close()
        if end is self._launcher:
            self._launcher = None
            return
        self._master = None
        if self._job is not None and not self._job.attempt:
            self._kill()

    def _obey_launcher(self, parts: list[bytes], files: list[int]) -> None:
        """Another worker is there. What the last one said before it went was heard."""
        while self._master is not None and _has_come(self._master):
            self._hear(self._master, self._obey)
        if self._master is not None:
            self._master.close()
        self._master = socket.socket(fileno=files.pop())
        job = self._job
        if job is None:
            self._say(b"idle")
            return
        self._say(b"kept", job.attempt, str(job.pid).encode())
        if job.is_over:
            self._say(*job.ended)

    def _obey(self, parts: list[bytes], files: list[int]) -> None:
        match parts:
            case [b"start", *rest]:
                self._start(rest, files)
            case [b"term"]:
                self._terminate()
            case [b"kill"]:
                self._kill()
            case [b"until", at] if self._job is not None:
                self._job.until = float(at)
            case [b"release"] if self._job is not None and self._job.is_over:
                self._job = None

    def _say(self, *parts: bytes) -> None:
        if self._master is not None:
            try:
                wire.send(self._master, *parts)
            except (wire.Gone, BlockingIOError):
                self._lose(self._master)

    # -- the job -----------------------------------------------------------------------------

    def _start(self, parts: list[bytes], files: list[int]) -> None:
        self._job = None
        attempt, cwd, scratch, limits, until, count, *words = parts
        if float(until) <= now():
            self._say(b"failed", wire.LATE)
            return
        argv, pairs = words[: int(count)], words[int(count) :]
        env = dict(pair.split(b"=", 1) for pair in pairs)
        bounds = None
        self._started += 1
        try:
            if limits:
                self._groups = self._groups or find_groups(self._worker)
                name = f"{self._name}-{self._started}"
                bounds = Bounds(_read_limits(limits), os.fsdecode(scratch), name, self._groups)
                _write(bounds.warnings, files[-1])
            pid = start(argv, env, cwd, files, bounds)
        except (OSError, ValueError) as error:
            if bounds is not None:
                bounds.close()
            said = str(error.errno) if isinstance(error, OSError) else str(error)
            self._say(b"failed", said.encode())
            return
        self._job = Job(attempt, pid, bounds)
        self._job.until = float(until)
        self._say(b"started", str(pid).encode())

    def _terminate(self) -> None:
        """SIGTERM to its group, and to what it left to us: that of no other can be taken for it."""
        job = self._job
        if job is None or job.is_over:
            return
        with suppress(ProcessLookupError, PermissionError):
            if job.status is None:
                os.killpg(job.pid, signal.SIGTERM)
        for pid in children(os.getpid()):
            with suppress(ProcessLookupError, PermissionError):
                if pid != job.pid:
                    os.kill(pid, signal.SIGTERM)

    def _kill(self) -> None:
        job = self._job
        if job is not None and not job.is_over:
            if job.bounds is not None:
                job.bounds.kill()
            kill_children()

    def _attend(self) -> None:
        """What has ended was waited for; the job is over when nothing is left."""
        job = self._job
        if job is None or job.is_over:
            return
        is_alone = self._reap(job)
        if job.status is None:
            self._look(job)
            return
        while not is_alone:
            # Whatever outlives the first process is killed, until there is nothing to wait for.
            self._kill()
            is_alone = self._reap(job)
            if not is_alone and not select.select([self._child_ended], [], [], STILL_ALIVE_S)[0]:
                return  # to hear what is said meanwhile, and look again
            with suppress(BlockingIOError):
                os.read(self._child_ended, 1_024)
        self._finish(job)

    def _reap(self, job: Job) -> bool:
        """Whether no process is left below this one."""
        while True:
            try:
                pid, status, used = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return True
            if pid == 0:
                return False
            job.cpu_s += used.ru_utime + used.ru_stime
            job.peak_bytes = max(job.peak_bytes, used.ru_maxrss * 1_024)  # Linux counts in KiB
            if pid == job.pid:
                job.status = status

    def _look(self, job: Job) -> None:
        at = now()
        if at >= job.until:
            job.breach = job.breach or Breach("lease", "the lease could not be renewed in time")
        elif job.bounds is not None and job.breach is None:
            job.breach = job.bounds.look(at)
        if job.breach is not None:
            self._kill()

    def _finish(self, job: Job) -> None:
        """The job is over, and whoever is there was told."""
        wall_s = now() - job.began
        remarks: list[str] = []
        if job.bounds is not None:
            job.breach = job.breach or job.bounds.last_look(now())
            remarks = job.bounds.remarks()
            job.bounds.close()
        assert job.status is not None, "it has ended"
        job.is_over = True
        kind, message = (job.breach.kind, job.breach.message) if job.breach else ("", "")
        job.ended = (
            b"ended",
            str(os.waitstatus_to_exitcode(job.status)).encode(),
            *(f"{number:.6f}".encode() for number in (wall_s, job.cpu_s)),
            str(job.peak_bytes).encode(),
            kind.encode(),
            message.encode("utf-8", "replace"),
            *(line.encode() for line in remarks),
        )
        self._say(*job.ended)

    def _leave_behind(self, job: Job) -> None:
        """How it ended is in a file of the launcher's folder, in which this process works."""
        if job.attempt:
            name = os.fsdecode(job.attempt)
            with suppress(OSError):  # a full disk: the attempt is lost, as its lease runs out
                with open(f"{name}.part", "wb") as file:
                    file.write(b"\0".join((str(job.pid).encode(), *job.ended)))
                os.rename(f"{name}.part", f"{name}.ended")


def _has_come(end: socket.socket) -> bool:
    """Whether a packet, or its end, is there to be read."""
    poll = select.poll()  # select(2) takes no descriptor above 1,023
    poll.register(end, select.POLLIN)
    return bool(poll.poll(0))


def _write(warnings: list[str], stderr: int) -> None:
    """They come before anything that the job says."""
    with suppress(OSError):  # a full disk: the job will hear of it, too
        os.write(stderr, "".join(f"[drawbar] {line}\n" for line in warnings).encode())


def _read_limits(text: bytes) -> dict[str, float]:
    pairs = (pair.split("=") for pair in text.decode().split(","))
    return {name: float(value) for name, value in pairs}
