"""The worker's conversation with the registry, and the operator's."""

from datetime import datetime

from pydantic import Field

from shared.ids import WorkerId
from shared.protocol.base import Message, Number
from shared.protocol.gateway import MAX_SLOTS
from shared.protocol.pipeline import MAX_DURATION_S, Labels, Name
from shared.protocol.states import Desired, WorkerStatus

MAX_NAMED = 10_000  # attempts that one report can name
MAX_LABELS = 100  # of one worker
MAX_REASON = 500
MAX_BY = 200  # of the name of whoever wished something


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
    slots: int | None = None  # what operators made of those that it enrolled with; None: no change
    labels: Labels | None = None
    token: str | None = None  # worker token, one hour (HTTP only)


class NameCheckRequest(Message):
    name: Name


class NameCheck(Message):
    """Whether a worker of that name could enrol, without doing it."""

    status: WorkerStatus | None  # of the one that has it, which would be superseded; None: nobody


class Finding(Message):
    """What a worker found when it looked after itself. One that is not good keeps it from jobs."""

    name: str = Field(max_length=50)  # disk | memory | clock | runner | …
    is_good: bool
    says: str = Field(max_length=500)


class StatusReport(Message):
    """I live, and this is what I do. Acknowledged before a claimed job may start."""

    worker_id: WorkerId
    incarnation: Number
    status: WorkerStatus
    attempts: tuple[str, ...] = Field(max_length=MAX_NAMED)
    free_slots: int = Field(ge=0, le=MAX_SLOTS)
    health: tuple[Finding, ...] = Field(default=(), max_length=50)


class StatusReply(Message):
    desired: Desired
    reason: str | None
    deadline_s: float | None  # of a drain: how long running jobs may go on
    is_now: bool = False  # of a stop: without grace
    slots: int | None = None  # as in EnrolReply
    labels: Labels | None = None
    next_report_s: float
    token: str | None = None  # a fresh worker token, when the old one is near its end


class Goodbye(Message):
    """This incarnation ends, and means to."""

    incarnation: Number


class WishRequest(Message):
    """What an operator wants of a worker, and why."""

    desired: Desired
    reason: str = Field(min_length=1, max_length=MAX_REASON)
    deadline_s: float | None = Field(default=None, ge=0, le=MAX_DURATION_S)  # of a drain
    for_s: float | None = Field(default=None, gt=0, le=MAX_DURATION_S)  # of a pause; None: for good
    is_now: bool = False  # of a stop: jobs are killed at once
    by: str = Field(default="", max_length=MAX_BY)


class SettingsRequest(Message):
    """What a worker's slots and labels are from now on, with whatever it was started."""

    slots: int | None = Field(default=None, ge=1, le=MAX_SLOTS)  # None: as they are
    labels: dict[Name, Name | None] = Field(default_factory=dict)  # None: it has no such label
    is_reset: bool = False  # first, all that was set before is forgotten
    reason: str = Field(default="", max_length=MAX_REASON)
    by: str = Field(default="", max_length=MAX_BY)


class Told(Message):
    """What somebody did to a worker."""

    at: datetime
    by: str
    what: str  # run | pause | drain | stop | stop now | or what was set
    reason: str
    for_s: float | None  # of a pause: how long it lasts; of a drain: how long jobs may go on


class WorkerView(Message):
    """A worker as people see it."""

    worker_id: WorkerId
    name: str
    incarnation: int
    status: WorkerStatus  # offline when it has been silent for too long
    desired: Desired
    reason: str | None
    by: str | None = None  # who wished it, and when
    since: datetime | None = None
    until: datetime | None = None  # of a pause: when it ends by itself
    labels: Labels
    slots: int
    is_set: bool = False  # slots or labels are not those with which it was started
    free_slots: int
    attempts: tuple[str, ...]
    host: str
    pid: int
    version: str
    enrolled_at: datetime
    silent_s: float  # since its last report, on the registry's monotonic clock
    is_late: bool = False  # two reports are missing, and it is not yet taken for offline
    health: tuple[Finding, ...] = ()


class WorkerList(Message):
    workers: tuple[WorkerView, ...]


class WorkerDetails(Message):
    """One worker, and what was done to it, the latest first."""

    worker: WorkerView
    told: tuple[Told, ...]
