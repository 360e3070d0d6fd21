"""Every place at which a fault can be injected, and what can be done there.

A point is named `service.verb.moment`. What lies between two parts is a *hop*: its caller's
points are before_send and after_send, its server's received and before_reply; each verb of
`shared/services.py` has them. `drawbar faults` prints this list.
"""

from collections.abc import Iterator
from enum import StrEnum
from fnmatch import fnmatchcase
from inspect import getmembers, iscoroutinefunction, isfunction
from typing import Final, NamedTuple

from shared.services import (
    Components,
    Execution,
    Gateway,
    Registry,
    SharedValues,
    WholeJobService,
)


class Action(StrEnum):
    ERROR = "error"  # the step fails, as if the other side had said so
    DELAY = "delay"
    STALL = "stall"  # until the fault is taken away
    DROP_REQUEST = "drop_request"  # the call is not made, its caller hears Unavailable
    DROP_REPLY = "drop_reply"  # the call is made, its caller hears Unavailable
    DUPLICATE = "duplicate"  # the call is made twice, the second answer counts
    REORDER = "reorder"  # the call waits until another one has passed
    TRUNCATE = "truncate"  # the bytes end early
    CORRUPT = "corrupt"  # a bit is flipped
    DISK_FULL = "disk_full"
    FSYNC_ERROR = "fsync_error"
    EIO_READ = "eio_read"
    EIO_WRITE = "eio_write"
    CLOCK_SKEW = "clock_skew"  # the wall clock is ahead, or behind, while this is on
    CLOCK_RATE = "clock_rate"  # it runs too fast, too slowly, backwards
    KILL = "kill"  # SIGKILL to this process
    PAUSE = "pause"  # SIGSTOP, and SIGCONT after a while


A = Action
BETWEEN: Final[tuple[Action, ...]] = (A.DELAY, A.STALL, A.KILL, A.PAUSE)  # two steps
ANYWHERE: Final[tuple[Action, ...]] = (A.ERROR, *BETWEEN)
CALL: Final[tuple[Action, ...]] = (*ANYWHERE, A.DROP_REQUEST, A.DROP_REPLY, A.DUPLICATE, A.REORDER)
BYTES: Final[tuple[Action, ...]] = (A.TRUNCATE, A.CORRUPT)
# An answer that is read bit by bit: to ask twice, or later, is nothing new there.
STREAM: Final[tuple[Action, ...]] = (*ANYWHERE, A.DROP_REQUEST)
CLOCK: Final[tuple[Action, ...]] = (A.CLOCK_SKEW, A.CLOCK_RATE)


class Point(NamedTuple):
    name: str
    actions: tuple[Action, ...]
    what: str


Verbs = tuple[str, ...]


def _verbs_of(protocol: type) -> Verbs:
    return tuple(name for name, _ in getmembers(protocol, isfunction) if not name.startswith("_"))


def _streams_of(*protocols: type) -> frozenset[str]:
    return frozenset(
        verb
        for protocol in protocols
        for verb in _verbs_of(protocol)
        if not iscoroutinefunction(getattr(protocol, verb))
    )


WORKER_VERBS: Final = _verbs_of(Gateway)
TASK_VERBS: Final = _verbs_of(Execution)
RECORD_VERBS: Final = _verbs_of(Components)
PEOPLE_VERBS: Final = tuple(
    verb
    for verb in (*_verbs_of(WholeJobService), *_verbs_of(SharedValues))
    if verb not in WORKER_VERBS
)
# Verbs whose answer is a stream, and those that carry bytes, one way or the other.
STREAMS: Final = _streams_of(WholeJobService, Execution)
UPLOADS: Final = frozenset({"append_log", "put_artifact"})
BODIES: Final = UPLOADS | STREAMS - {"follow_events"}
# Parts of a service that have verbs of their own.
WITHIN: Final = frozenset({"values", "components", "execution"})
OWN_RECORD: Final = tuple(verb for verb in RECORD_VERBS if not verb.startswith("list_"))
REGISTRY_VERBS: Final = _verbs_of(Registry)
HOPS: Final[tuple[tuple[str, Verbs, str], ...]] = (
    ("worker", (*WORKER_VERBS, *TASK_VERBS, *OWN_RECORD), "gateway"),
    ("worker", ("enrol", "report", "leave"), "registry"),
    ("gateway", (*WORKER_VERBS, *TASK_VERBS, *OWN_RECORD), "jobstore"),
)
SERVERS: Final[tuple[tuple[str, Verbs], ...]] = (
    ("gateway", (*WORKER_VERBS, *TASK_VERBS)),
    ("jobstore", (*WORKER_VERBS, *TASK_VERBS, *RECORD_VERBS, *PEOPLE_VERBS)),
    ("registry", REGISTRY_VERBS),
)
FILES: Final[dict[str, tuple[Action, ...]]] = {
    "append": (A.DISK_FULL, A.EIO_WRITE, A.TRUNCATE, A.CORRUPT),
    "read": (A.EIO_READ, A.TRUNCATE, A.CORRUPT),
    "sync": (A.FSYNC_ERROR,),
    "publish": (A.FSYNC_ERROR, A.DISK_FULL),
    "remove": (A.EIO_WRITE,),
}
OUTBOX: Final[dict[str, tuple[tuple[Action, ...], str]]] = {
    "note": ((A.DISK_FULL, A.EIO_WRITE), "a fact about an attempt is noted in the journal"),
    "probe": ((A.DISK_FULL, A.EIO_WRITE), "a journal that could not be written is tried again"),
    "park": ((A.DISK_FULL, A.EIO_WRITE), "a result that has to wait is written to a file"),
    "sync": ((A.FSYNC_ERROR,), "that file is synced"),
}


def _all() -> Iterator[Point]:
    for caller, verbs, server in HOPS:
        for verb in verbs:
            yield Point(
                f"{caller}.{verb}.before_send", _calls(verb), f"{verb} goes to the {server}"
            )
            yield Point(f"{caller}.{verb}.after_send", ANYWHERE, f"the {server} answered {verb}")
    for server, verbs in SERVERS:
        for verb in verbs:
            yield Point(f"{server}.{verb}.received", _calls(verb), f"{verb} has come in")
            yield Point(f"{server}.{verb}.before_reply", ANYWHERE, f"{verb} is done, not answered")
    for store in ("jobstore", "registry"):
        failures = (*ANYWHERE, A.DISK_FULL, A.FSYNC_ERROR, A.EIO_WRITE)
        yield Point(f"{store}.store.before_commit", failures, "a transaction is about to be made")
        yield Point(f"{store}.store.after_commit", ANYWHERE, "it is durable, nobody knows yet")
    for verb, failures in FILES.items():
        yield Point(f"jobstore.file.{verb}", (*BETWEEN, *failures), f"{verb} on the disk")
    for verb, (failures, what) in OUTBOX.items():
        yield Point(f"worker.outbox.{verb}", (A.KILL, A.PAUSE, *failures), what)
    for service in ("worker", "gateway", "registry", "jobstore"):
        yield Point(f"{service}.clock.read", CLOCK, "the wall clock is read")
    yield from STEPS


def _calls(verb: str) -> tuple[Action, ...]:
    whole = STREAM if verb in STREAMS else CALL
    return (*whole, *BYTES) if verb in BODIES else whole


# Moments between two steps, which the code itself names, in the order of an attempt.
STEPS: Final = (
    Point("worker.claim.after", BETWEEN, "claims came, and their attempts are beginning"),
    Point("worker.run.after", BETWEEN, "an attempt may start, and that was noted"),
    Point("worker.phase.noted", BETWEEN, "a phase is about to begin, and that was noted"),
    Point("worker.spawn.before", BETWEEN, "the job's process is about to be started"),
    Point("worker.spawn.unnoted", BETWEEN, "a process runs, and nobody has noted which"),
    Point("worker.spawn.after", BETWEEN, "it runs, and nothing more has happened"),
    Point("worker.result.unnoted", BETWEEN, "the job has ended, and nobody has noted how"),
    Point("worker.result.noted", BETWEEN, "that was noted"),
    Point("worker.artifacts.collected", BETWEEN, "all that it left was found, and not sent"),
    Point("worker.settle.before", BETWEEN, "the result has its receipt"),
    Point("worker.settle.after", BETWEEN, "that was noted, and the files are still there"),
    Point("worker.task.request", (*BETWEEN, *BYTES), "a task's frame was read from its pipe"),
    Point("worker.task.reply", (*BETWEEN, *BYTES), "a frame is about to be written to a task"),
    Point("jobstore.schedule.before_record", ANYWHERE, "a schedule's run exists, unrecorded"),
    Point("jobstore.backfill.before_record", ANYWHERE, "a backfill's run exists, unrecorded"),
)
POINTS: Final = {point.name: point for point in _all()}


def matching(pattern: str) -> list[Point]:
    """The points whose name fits a pattern with wildcards."""
    return [point for name, point in POINTS.items() if fnmatchcase(name, pattern)]
