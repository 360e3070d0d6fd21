"""The worker's conversation with the registry, and the operator's."""

from datetime import datetime

from pydantic import Field

from shared.ids import WorkerId
from shared.protocol.base import Message, Number
from shared.protocol.gateway import MAX_SLOTS
from shared.protocol.pipeline import Labels, Name
from shared.protocol.states import Desired, WorkerStatus

MAX_NAMED = 10_000  # attempts that one report can name


class EnrolRequest(Message):
    """Join under `name`. An earlier incarnation of the same name is superseded."""

    name: Name
    host: str = Field(max_length=255)
    pid: Number
    version: str = Field(max_length=100)
    labels: Labels
    slots: int = Field(ge=1, le=MAX_SLOTS)


class EnrolReply(Message):
    worker_id: WorkerId
    incarnation: Number
    next_report_s: float
    token: str | None = None  # worker token, one hour (HTTP only)


class StatusReport(Message):
    """I live, and this is what I do. Acknowledged before a claimed job may start."""

    worker_id: WorkerId
    incarnation: Number
    status: WorkerStatus
    attempts: tuple[str, ...] = Field(max_length=MAX_NAMED)
    free_slots: int = Field(ge=0, le=MAX_SLOTS)


class StatusReply(Message):
    desired: Desired
    reason: str | None
    deadline_s: float | None  # of a drain: how long running jobs may go on
    next_report_s: float
    token: str | None = None  # a fresh worker token, when the old one is near its end


class Goodbye(Message):
    """This incarnation ends, and means to."""

    incarnation: Number


class WishRequest(Message):
    """What an operator wants of a worker, and why."""

    desired: Desired
    reason: str = Field(min_length=1, max_length=500)
    deadline_s: float | None = Field(default=None, ge=0, allow_inf_nan=False)


class WorkerView(Message):
    """A worker as people see it."""

    worker_id: WorkerId
    name: str
    incarnation: int
    status: WorkerStatus  # offline when it has been silent for too long
    desired: Desired
    reason: str | None
    labels: Labels
    slots: int
    free_slots: int
    attempts: tuple[str, ...]
    host: str
    pid: int
    version: str
    enrolled_at: datetime
    silent_s: float  # since its last report, on the registry's monotonic clock


class WorkerList(Message):
    workers: tuple[WorkerView, ...]
