"""Every place at which a fault can be injected, and what can be done there.

A point is named `service.verb.moment`. What lies between two parts is a *hop*: its caller's
points are before_send and after_send, its server's received and before_reply. `drawbar faults`
prints this list.
"""

from collections.abc import Iterator
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Final, NamedTuple


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
    CLOCK_FORWARD = "clock_forward"
    CLOCK_BACK = "clock_back"
    KILL = "kill"  # SIGKILL to this process
    PAUSE = "pause"  # SIGSTOP, and SIGCONT after a while


A = Action
ANYWHERE: Final[tuple[Action, ...]] = (A.ERROR, A.DELAY, A.STALL, A.KILL, A.PAUSE)
CALL: Final[tuple[Action, ...]] = (*ANYWHERE, A.DROP_REQUEST, A.DROP_REPLY, A.DUPLICATE, A.REORDER)
BYTES: Final = (A.TRUNCATE, A.CORRUPT)


class Point(NamedTuple):
    name: str
    actions: tuple[Action, ...]
    what: str


WORKER_VERBS: Final = (
    "claim", "refuse", "run", "heartbeat", "append_log", "put_artifact", "list_inputs",
    "read_input", "finish",
)  # fmt: skip
PEOPLE_VERBS: Final = ("submit", "retry", "cancel", "approve", "mark", "show_run", "list_runs")
REGISTRY_VERBS: Final = ("enrol", "report", "leave", "wish")
BODIES: Final = ("append_log", "put_artifact", "read_input")  # verbs that carry bytes
Verbs = tuple[str, ...]
HOPS: Final[tuple[tuple[str, Verbs, str], ...]] = (
    ("worker", WORKER_VERBS, "gateway"),
    ("worker", REGISTRY_VERBS, "registry"),
    ("gateway", WORKER_VERBS, "jobstore"),
)
SERVERS: Final[tuple[tuple[str, Verbs], ...]] = (
    ("gateway", WORKER_VERBS),
    ("jobstore", (*WORKER_VERBS, *PEOPLE_VERBS)),
    ("registry", REGISTRY_VERBS),
)
FILES: Final[dict[str, tuple[Action, ...]]] = {
    "append": (A.DISK_FULL, A.EIO_WRITE, A.TRUNCATE, A.CORRUPT),
    "read": (A.EIO_READ, A.TRUNCATE, A.CORRUPT),
    "sync": (A.FSYNC_ERROR,),
    "publish": (A.FSYNC_ERROR, A.DISK_FULL),
    "remove": (A.EIO_WRITE,),
}


def _all() -> Iterator[Point]:
    for caller, verbs, server in HOPS:
        for verb in verbs:
            data = BYTES if verb in BODIES else ()
            yield Point(f"{caller}.{verb}.before_send", CALL + data, f"{verb} goes to the {server}")
            yield Point(f"{caller}.{verb}.after_send", ANYWHERE, f"the {server} answered {verb}")
    for server, verbs in SERVERS:
        for verb in verbs:
            yield Point(f"{server}.{verb}.received", CALL, f"{verb} has come in")
            yield Point(f"{server}.{verb}.before_reply", ANYWHERE, f"{verb} is done, not answered")
    for store in ("jobstore", "registry"):
        failures = (*ANYWHERE, A.DISK_FULL, A.FSYNC_ERROR)
        yield Point(f"{store}.store.before_commit", failures, "a transaction is about to be made")
        yield Point(f"{store}.store.after_commit", ANYWHERE, "it is durable, nobody knows yet")
    for verb, failures in FILES.items():
        name = f"jobstore.file.{verb}"
        yield Point(name, (A.DELAY, A.STALL, A.KILL, A.PAUSE, *failures), f"{verb} on the disk")
    for service in ("worker", "gateway", "registry", "jobstore"):
        clock = (A.CLOCK_FORWARD, A.CLOCK_BACK)
        yield Point(f"{service}.clock.read", clock, "the wall clock is read")
    yield from STEPS


# Moments between two steps, which the code itself names.
STEPS: Final = (
    Point("worker.spawn.before", ANYWHERE, "the job's process is about to be started"),
    Point("worker.spawn.after", ANYWHERE, "it runs, and nothing more has happened"),
    Point("worker.claim.after", ANYWHERE, "a claim came, and nothing was done with it"),
    Point("worker.finish.after_receipt", ANYWHERE, "the receipt came, and nothing was tidied up"),
    Point("worker.task.request", (*ANYWHERE, *BYTES), "a task's frame was read from its pipe"),
    Point("worker.task.reply", (*ANYWHERE, *BYTES), "a frame is about to be written to a task"),
    Point("jobstore.schedule.before_record", ANYWHERE, "a schedule's run exists, unrecorded"),
    Point("jobstore.backfill.before_record", ANYWHERE, "a backfill's run exists, unrecorded"),
)
POINTS: Final = {point.name: point for point in _all()}


def matching(pattern: str) -> list[Point]:
    """The points whose name fits a pattern with wildcards."""
    return [point for name, point in POINTS.items() if fnmatchcase(name, pattern)]
