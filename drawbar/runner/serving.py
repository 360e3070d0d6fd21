"""`python -m drawbar.runner --serve`: imports a flow once, and forks a task runner when asked to.

Descriptor 0 is a socket of datagrams to the worker. The first message names the flow; each later
one brings the three descriptors of a task, and is answered with the copy's pid. A copy runs in a
session of its own, with nothing of this process but its memory. When the worker hangs up, all
copies are ended. docs/tasks.md says what differs from a fresh interpreter.
"""

from __future__ import annotations

import _ctypes
import _socket
import errno
import json
import os
import select
import signal
import sys
import time
from contextlib import suppress

from drawbar.runner.main import main
from drawbar.runner.preload import Preloaded, Unfit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

MESSAGE = 65_536
PR_SET_CHILD_SUBREAPER = 36
INT = 4  # bytes of a descriptor in a control message
MARK = b"DRAWBAR_ATTEMPT_ID="  # as in worker/runners/marks.py
ENV_START, ENV_END = 47, 48  # of proc(5) stat, counted after the command
PAGE = os.sysconf("SC_PAGE_SIZE")
# Fresh interpreters that run tasks have not imported these; here they are hidden from the flow.
LEFT_OUT = ("_ctypes", "_socket", "gc", "resource", "select", __name__, "drawbar.runner.preload")


def serve() -> int:
    """The worker has hung up, or nobody has wanted anything for a while."""
    mark = _find_mark()
    del os.environ[MARK[:-1].decode()]
    link = _socket.socket(fileno=0)
    wanted, (output,) = _receive(link)
    libc = _ctypes.dlopen(None, os.RTLD_NOW)  # type: ignore[arg-type]  # None: this program
    fflush = _ctypes.dlsym(libc, "fflush")
    # Orphans of copies become our children: nothing of a task outlives it.
    _ctypes.call_function(_ctypes.dlsym(libc, "prctl"), (PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0))
    hidden = {name: sys.modules.pop(name) for name in LEFT_OUT if name in sys.modules}
    try:
        flow = Preloaded(wanted, output)
    except Unfit as error:
        _send(link, cold=str(error))
        return 0
    hidden.clear()
    os.chdir("/")
    _send(link, ready=_resident_bytes())
    return _Server(link, flow, mark, fflush, wanted["idle_s"]).run()


class _Server:
    """The worker at one end, copies of this process at the other."""

    def __init__(
        self, link: Any, flow: Preloaded, mark: tuple[int, int], fflush: int, idle_s: float
    ) -> None:
        self._link = link
        self._flow = flow
        self._mark = mark
        self._fflush = fflush
        self._idle_ms = idle_s * 1_000
        self._poll = select.poll()
        self._poll.register(0, select.POLLIN)
        self._copies: dict[int, int] = {}  # pidfd → pid
        self._attempts: dict[int, str] = {}  # pid → whose copy it is
        self._until: dict[int, float] = {}  # pid → when it is killed

    def run(self) -> int:
        while True:
            ready = self._poll.poll(self._patience_ms())
            if not ready and not self._copies:
                return 0
            self._kill_overdue()
            for fd, _ in ready:
                if fd:
                    self._end(fd)
                elif not self._attend():
                    self._kill_all()
                    return 0

    def _patience_ms(self) -> float | None:
        if self._until:
            return max(0.0, min(self._until.values()) - _now()) * 1_000 + 1
        return None if self._copies else self._idle_ms

    def _kill_overdue(self) -> None:
        """The lease of an attempt may be another's now, and the worker has not ended its copy."""
        now = _now()
        for pid in [pid for pid, at in self._until.items() if at <= now]:
            del self._until[pid]
            self._signal(pid, signal.SIGKILL)

    def _attend(self) -> bool:
        """One message was obeyed. False: the worker has hung up."""
        asked, descriptors = _receive(self._link)
        if asked is None:
            return False
        try:
            if "signal" in asked:
                self._signal(asked["pid"], asked["signal"])
            elif "permit" in asked:
                self._permit(asked["permit"])
            else:
                self._start(asked, descriptors)
        finally:
            for fd in descriptors:
                os.close(fd)
        return True

    def _start(self, asked: dict[str, Any], descriptors: list[int]) -> None:
        """A copy runs the task, or the worker knows why not."""
        number = asked["start"]
        if self._flow.is_stale():
            _send(self._link, refused=number, stale=True)
            return
        if asked["until"] is not None and asked["until"] <= _now():
            _send(self._link, refused=number, errno=errno.ETIME)  # its lease has ended
            return
        try:
            os.chdir(asked["cwd"])  # here, where a failure can be told
            pid = os.fork()
        except OSError as error:
            _send(self._link, refused=number, errno=error.errno)
            return
        finally:
            if os.getpid() == _SELF:
                os.chdir("/")
        if pid == 0:
            self._become_task(asked, descriptors)
        pidfd = os.pidfd_open(pid)
        self._copies[pidfd] = pid
        self._attempts[pid] = asked["env"].get(MARK[:-1].decode(), "")
        if asked["until"] is not None:
            self._until[pid] = asked["until"]
        self._poll.register(pidfd, select.POLLIN)
        _send(self._link, pidfd, started=number, pid=pid)

    def _permit(self, times: list[tuple[int, float | None]]) -> None:
        for pid, at in times:
            if at is None:
                self._until.pop(pid, None)
            elif pid in self._attempts:
                self._until[pid] = at

    def _signal(self, pid: int, number: int) -> None:
        """To the group of a copy that has not been reaped, and so its number is its own."""
        if pid in self._attempts:
            with suppress(PermissionError):
                try:
                    os.killpg(pid, number)
                except ProcessLookupError:  # it has not made its session yet
                    os.kill(pid, number)

    def _end(self, pidfd: int) -> None:
        """A copy is a zombie: the rest of its group is ended, then its status is told."""
        pid = self._copies.pop(pidfd)
        self._poll.unregister(pidfd)
        os.close(pidfd)
        _kill_group(pid)
        _, status, used = os.wait4(pid, 0)
        del self._attempts[pid]
        self._until.pop(pid, None)
        self._kill_orphans()
        cpu_s = used.ru_utime + used.ru_stime
        _send(self._link, ended=pid, status=status, cpu_s=cpu_s, max_rss=used.ru_maxrss * 1024)

    def _kill_orphans(self) -> None:
        """What outlived its copy in a session of its own, and therefore became our child, is gone.

        A copy that still runs keeps its own, which are told apart by their mark.
        """
        living = {MARK + name.encode() for name in self._attempts.values()}
        while orphans := [
            pid
            for pid in _children()
            if pid not in self._attempts and not (living and _marks(pid) <= living)
        ]:
            for pid in orphans:
                os.kill(pid, signal.SIGKILL)
            for pid in orphans:
                os.waitpid(pid, 0)

    def _kill_all(self) -> None:
        for pid in self._attempts:
            _kill_group(pid)
            os.kill(pid, signal.SIGKILL)
        while _children():  # also of what they leave behind
            for pid in _children():
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)

    def _become_task(self, asked: dict[str, Any], descriptors: list[int]) -> NoReturn:
        """In the copy: a task runner, as a fresh interpreter would be one."""
        code = 1
        try:
            os.setsid()
            self._link.detach()
            for target, fd in enumerate(descriptors):
                os.dup2(fd, target)
            os.closerange(3, max(map(int, os.listdir("/proc/self/fd"))) + 1)
            os.environ.update(asked["env"])
            _write_mark(self._mark, asked["env"].get(MARK[:-1].decode(), ""))
            for name in sys.modules.keys() - self._flow.modules:
                del sys.modules[name]
            _reseed()
            if self._flow.output:
                os.write(2, self._flow.output)
            code = main(lambda _: self._flow.module)
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else 1
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            _leave(code, self._fflush)


def _now() -> float:
    return time.monotonic()  # noqa: TID251 - a task's process, and its worker names times on it


_SELF = os.getpid()


def _leave(code: int, fflush: int) -> NoReturn:
    """The end of an interpreter, without taking it apart: that would copy all of its memory."""
    try:
        threading = sys.modules.get("threading")
        if threading is not None:
            threading._shutdown()
        import atexit

        atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        _ctypes.call_function(fflush, (0,))
    except BaseException:
        sys.excepthook(*sys.exc_info())
        code = code or 120  # as Python has it
    finally:
        os._exit(code)


def _reseed() -> None:
    """Python's own generator sees to itself; that of numpy would say the same in each copy."""
    numpy = sys.modules.get("numpy.random")
    if numpy is not None:
        numpy.seed()


def _kill_group(pid: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def _children() -> list[int]:
    with open(f"/proc/self/task/{_SELF}/children") as file:
        return [int(pid) for pid in file.read().split()]


def _marks(pid: int) -> set[bytes]:
    """Of which attempt a process says that it is; nothing if it does not."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            return {entry for entry in file.read().split(b"\0") if entry.startswith(MARK)}
    except OSError:
        return set()


# -- messages -----------------------------------------------------------------------------------


def _receive(link: Any) -> tuple[Any, list[int]]:
    """A message and its descriptors; None and none when the worker has hung up."""
    flags = _socket.MSG_CMSG_CLOEXEC
    try:
        text, control, _, _ = link.recvmsg(MESSAGE, _socket.CMSG_SPACE(3 * INT), flags)
    except ConnectionError:
        return None, []
    descriptors = [
        int.from_bytes(data[at : at + INT], sys.byteorder)
        for level, kind, data in control
        if (level, kind) == (_socket.SOL_SOCKET, _socket.SCM_RIGHTS)
        for at in range(0, len(data), INT)
    ]
    return (json.loads(text) if text else None), descriptors


def _send(link: Any, *descriptors: int, **fields: object) -> None:
    control = b"".join(fd.to_bytes(INT, sys.byteorder) for fd in descriptors)
    rights = [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, control)] if control else []
    with suppress(ConnectionError):  # the next look at the link tells
        link.sendmsg([json.dumps(fields).encode()], rights)


# -- the mark -----------------------------------------------------------------------------------


def _find_mark() -> tuple[int, int]:
    """Where in memory, and how long, the attempt's name is in what this process was started with.

    The kernel shows that memory as /proc/PID/environ, by which a worker finds what an earlier one
    has left behind. A copy would otherwise bear nobody's mark.
    """
    with open("/proc/self/stat", "rb") as file:
        fields = file.read().rpartition(b")")[2].split()
    begin, end = int(fields[ENV_START]), int(fields[ENV_END])
    memory = os.open("/proc/self/mem", os.O_RDONLY)
    try:
        environ = os.pread(memory, end - begin, begin)
    finally:
        os.close(memory)
    at = environ.index(MARK) + len(MARK)
    return begin + at, environ.index(b"\0", at) - at


def _write_mark(mark: tuple[int, int], name: str) -> None:
    address, size = mark
    memory = os.open("/proc/self/mem", os.O_WRONLY)
    try:
        os.pwrite(memory, name.encode()[:size].ljust(size, b"\0"), address)
    finally:
        os.close(memory)


def _resident_bytes() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * PAGE
