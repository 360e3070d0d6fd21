"""An event loop with virtual time on which several simulated processes run, ordered by a seed.

Scheduling rule: first in, first out inside a process, as asyncio promises and libraries rely on; a
seeded choice between processes, because processes of an operating system have no mutual order.
When no process can go on, time jumps to the next timer. The digest covers every step and every
byte on the wire, so two runs with equal digests did the same things in the same order.
"""

import asyncio
import hashlib
import heapq
import random
import socket
from collections.abc import Callable
from contextvars import Context, copy_context
from operator import attrgetter
from typing import IO, TYPE_CHECKING, Any, Final, NoReturn, Protocol, TypeVar, TypeVarTuple

from simulation.handles import Future, Handle, Task, TimerHandle, label_of, where_is
from simulation.process import PROCESS, Machine, Process

if TYPE_CHECKING:
    from simulation.network import Network

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

_number: Final = attrgetter("number")

STEP_S: Final = 5e-6  # what one callback takes; without it a busy loop would never let time pass


class Escaped(RuntimeError):
    """Simulated code reached for the real world."""


class Deadlock(RuntimeError):
    """Nothing can ever run again; the message lists what waits for what."""


class Moments(Protocol):
    """Hears of every moment at which a process could be killed."""

    def comes(self, process: Process, name: str) -> bool:
        """Whether `process` is to die here, before what follows."""


class SimulatedLoop(asyncio.BaseEventLoop):
    """The loop. `network` must be set before anything connects."""

    network: "Network"
    _stopping: bool
    _clock_resolution: float

    def __init__(self, seed: int, trace: IO[str] | None = None) -> None:
        super().__init__()
        self.seed = seed
        self.now = 0.0  # virtual seconds since the universe began
        self.steps = 0
        self.moments: Moments | None = None  # at which a systematic sweep may kill
        self.errors: list[str] = []  # what reached the exception handler
        self.chance = random.Random(f"loop-{seed}")
        self._clock_resolution = 1e-9
        self._trace = trace
        self._digest = hashlib.blake2b(digest_size=12)
        self._timers: list[tuple[float, int, asyncio.Handle, Process]] = []
        self._timer_count = 0
        self._task_count = 0
        self._hash_count = 0
        self._process_count = 0
        self._processes: list[Process] = []
        self._waiting: dict[Process, None] = {}  # those with something in their queue
        self._graveyard: list[Process] = []
        self._remains: list[asyncio.Handle] = []
        self.machines: dict[str, Machine] = {}
        self.world = self.start_process(Machine("world"))
        self.current = self.world

    # -- processes ----------------------------------------------------------------------------

    def start_process(self, machine: Machine) -> Process:
        """A new incarnation; its monotonic clock starts anywhere, unless the machine has one."""
        self.machines[machine.name] = machine
        machine.incarnations += 1
        mono_base = machine.mono_base
        if mono_base is None:
            mono_base = round(self.chance.uniform(10.0, 1e6), 3)
            machine.mono_base = mono_base if machine.has_clock else None
        process = Process(self, machine, mono_base, self._process_count)
        self._process_count += 1
        self._graveyard += [p for p in self._processes if not p.is_alive]
        self._processes = [p for p in self._processes if p.is_alive] + [process]
        return process

    def at(self, when: float, process: Process, call: Callable[..., object], *args: object) -> None:
        """`process` makes `call` at virtual time `when`, unless it is dead by then."""
        self._push_timer(when, Handle(call, args, self, process.context), process)

    def after(
        self, delay: float, process: Process, call: Callable[..., object], *a: object
    ) -> None:
        """`process` makes `call` in `delay` virtual seconds, unless it is dead by then."""
        self.at(self.now + delay, process, call, *a)

    def close(self) -> None:
        """The universe has ended: nothing of it is referenced from here any more."""
        super().close()
        self._processes, self._graveyard, self._remains, self._timers = [], [], [], []
        self._waiting.clear()
        self.machines.clear()
        self.moments = None
        self.network.close()
        self.world = self.current = Process(self, Machine("nowhere"), 0.0, 0)

    # -- proof --------------------------------------------------------------------------------

    def record(self, line: str) -> None:
        """`line` is part of the digest and of the trace."""
        self._digest.update(line.encode())
        if self._trace is not None:
            self._trace.write(line + "\n")

    def note(self, line: str) -> None:
        """`line` is in the trace only."""
        if self._trace is not None:
            self._trace.write(f"{self.now:.6f} {self.current.label} {line}\n")

    @property
    def is_traced(self) -> bool:
        return self._trace is not None

    @property
    def digest(self) -> str:
        return self._digest.hexdigest()

    # -- scheduling ---------------------------------------------------------------------------

    def _run_once(self) -> None:
        ready = self._find_ready()
        if not ready:
            return  # the loop is stopping
        process = ready[0] if len(ready) == 1 else self.chance.choice(ready)
        handle = process.queue.popleft()
        if not process.queue:
            del self._waiting[process]
        if handle._cancelled:
            return
        self.steps += 1
        self.current = process
        self.record(f"{self.now:.6f} {process.label} {label_of(handle)}")
        handle._run()
        self.current = self.world
        self.now += STEP_S

    def _find_ready(self) -> list[Process]:
        """Processes that can run now; time has moved on to the first moment at which one can."""
        while True:
            now = self.now
            if self._timers and self._timers[0][0] <= now:
                self._serve_timers()
            ready = [p for p in self._waiting if p.paused_until <= now and p.is_alive]
            if ready or self._stopping:
                if len(ready) > 1:
                    ready.sort(key=_number)
                return ready
            moments = [p.paused_until for p in self._waiting if p.is_alive]
            if self._timers:
                moments.append(self._timers[0][0])
            if not moments:
                raise Deadlock(self._describe_waiting())
            self.now = max(now, min(moments))

    def _serve_timers(self) -> None:
        timers = self._timers
        while timers and timers[0][0] <= self.now:
            _, _, handle, process = heapq.heappop(timers)
            if handle._cancelled:
                continue
            if process.is_alive:
                self._queue(process, handle)
            else:
                self._remains.append(handle)

    def _queue(self, process: Process, handle: asyncio.Handle) -> None:
        if not process.queue:
            self._waiting[process] = None
        process.queue.append(handle)

    def _describe_waiting(self) -> str:
        waiting = [
            f"{p.label}: {task.get_name()} at {where_is(task)}"
            for p in self._processes
            for task in p.tasks
            if p.is_alive and not task.done()
        ]
        return "nothing can ever run again; " + ("; ".join(waiting) or "no task is left")

    def _push_timer(self, when: float, handle: asyncio.Handle, process: Process) -> None:
        self._timer_count += 1
        heapq.heappush(self._timers, (when, self._timer_count, handle, process))

    # -- what asyncio and libraries call ------------------------------------------------------

    def time(self) -> float:
        return self.now + self.current.mono_base

    def call_soon(
        self,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.Handle:
        if self.is_closed():
            raise RuntimeError("the universe has ended")
        context = copy_context() if context is None else context
        handle = Handle(callback, args, self, context)
        self._queue(context.get(PROCESS, self.world), handle)
        return handle

    def call_soon_threadsafe(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        return self.call_soon(callback, *args, context=context)

    def call_later(
        self,
        delay: float,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def call_at(
        self,
        when: float,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        context = copy_context() if context is None else context
        handle = TimerHandle(when, callback, args, self, context)
        self._push_timer(when - self.current.mono_base, handle, context.get(PROCESS, self.world))
        return handle

    def create_task(
        self, coro: Any, *, name: object = None, context: Context | None = None
    ) -> asyncio.Task[Any]:
        context = copy_context() if context is None else context
        process = context.get(PROCESS, self.world)
        self._task_count += 1
        name = name or getattr(coro, "__qualname__", "coroutine")
        task = Task(coro, number=self._task_count, loop=self, name=str(name), context=context)
        task._log_destroy_pending = False  # type: ignore[attr-defined]  # a dead process leaves pending tasks
        process.tasks.append(task)
        if len(process.tasks) % 1024 == 0:
            process.tasks = [t for t in process.tasks if not t.done()]
        return task

    def create_future(self) -> asyncio.Future[Any]:
        return Future(loop=self)

    def next_hash(self) -> int:
        """One that no other future has."""
        self._hash_count += 1
        return self._hash_count

    def default_exception_handler(self, context: dict[str, Any]) -> None:
        line = f"{self.current.label}: {context.get('message')}: {context.get('exception')!r}"
        self.errors.append(line)
        self.note(line)

    def run_in_executor(
        self, executor: Any, func: Callable[[*Ts], T], *args: *Ts
    ) -> asyncio.Future[T]:
        """A thread's work happens in one step, after a seeded delay, and is answered later still:
        a kill may fall between the effect and the answer."""
        answer: asyncio.Future[T] = self.create_future()
        process = self.current

        def settle(result: T | None, error: BaseException | None) -> None:
            if answer.done():
                return
            if error is not None:
                answer.set_exception(error)
            else:
                answer.set_result(result)  # type: ignore[arg-type]  # None is T when func gives None

        def work() -> None:
            result, error = None, None
            try:
                result = func(*args)
            except BaseException as raised:
                error = raised
            self.after(self.chance.uniform(1e-6, 5e-4), process, settle, result, error)

        self.after(self.chance.uniform(*process.machine.disk_s), process, work)
        return answer

    async def getaddrinfo(self, host: Any, port: Any, **_: Any) -> Any:
        await asyncio.sleep(self.chance.uniform(1e-4, 2e-3))
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (self.network.address_of(host), port))]

    async def getnameinfo(self, sockaddr: Any, flags: int = 0) -> tuple[str, str]:
        return sockaddr[0], str(sockaddr[1])

    async def sock_connect(self, sock: Any, address: Any) -> None:
        await self.network.connect(self.current, sock, address)

    async def create_connection(
        self, protocol_factory: Callable[[], Any], *_: Any, sock: Any = None, **__: Any
    ) -> tuple[Any, Any]:
        if sock is None:
            raise Escaped("a connection without the injected socket factory")
        return self.network.attach(sock, protocol_factory)

    async def create_server(
        self, protocol_factory: Callable[[], Any], host: Any = None, port: Any = None, **_: Any
    ) -> Any:
        return self.network.listen(self.current, port, protocol_factory)

    def _write_to_self(self) -> None:
        pass

    def _process_events(self, event_list: Any) -> None:
        pass

    def _closed_door(self, *_: Any, **__: Any) -> NoReturn:
        raise Escaped("simulated code reached for a process, signal, pipe, file or raw socket")

    subprocess_exec = subprocess_shell = add_reader = add_writer = _closed_door  # type: ignore[assignment]
    add_signal_handler = create_datagram_endpoint = create_unix_connection = _closed_door  # type: ignore[assignment]
    connect_read_pipe = connect_write_pipe = sock_recv = sock_sendall = _closed_door
