"""The worker as the registry sees it: what it reports, crossed with what is observed.

What an operator wants of it is another thing, kept apart; the worker learns it from the reply to
its report and answers by reporting another status. `AFTER_ENROLMENT` says what becomes of that
wish when the process that it was meant for is gone.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from shared.errors import BadRequest, UnknownWorker
from shared.protocol.states import Desired, WorkerStatus


class WorkerState(StrEnum):
    EXPECTED = "expected"  # enrolled, or known from before our own restart; no report yet
    READY = "ready"
    WORKING = "working"
    DRAINING = "draining"
    PAUSED = "paused"
    SILENT = "silent"  # no sign of life for too long; any report revives it
    LEFT = "left"  # said goodbye; only an enrolment revives it


class WorkerEvent(StrEnum):
    ENROL = "enrol"
    REPORT_READY = "report_ready"
    REPORT_WORKING = "report_working"
    REPORT_DRAINING = "report_draining"
    REPORT_PAUSED = "report_paused"
    FALL_SILENT = "fall_silent"
    LEAVE = "leave"


S = WorkerState
E = WorkerEvent

PRESENT: Final = (S.EXPECTED, S.READY, S.WORKING, S.DRAINING, S.PAUSED)

# fmt: off
TRANSITIONS: Final[Mapping[tuple[WorkerState, WorkerEvent], WorkerState]] = {
    **{(s, E.ENROL):           S.EXPECTED for s in S},
    **{(s, E.REPORT_READY):    S.READY    for s in (*PRESENT, S.SILENT)},
    **{(s, E.REPORT_WORKING):  S.WORKING  for s in (*PRESENT, S.SILENT)},
    **{(s, E.REPORT_DRAINING): S.DRAINING for s in (*PRESENT, S.SILENT)},
    **{(s, E.REPORT_PAUSED):   S.PAUSED   for s in (*PRESENT, S.SILENT)},
    **{(s, E.FALL_SILENT):     S.SILENT   for s in PRESENT},
    **{(s, E.LEAVE):           S.LEFT     for s in S},
}

REPORTED: Final[Mapping[WorkerStatus, WorkerEvent]] = {
    WorkerStatus.READY:    E.REPORT_READY,
    WorkerStatus.WORKING:  E.REPORT_WORKING,
    WorkerStatus.DRAINING: E.REPORT_DRAINING,
    WorkerStatus.PAUSED:   E.REPORT_PAUSED,
}

SHOWN: Final[Mapping[WorkerState, WorkerStatus]] = {
    S.EXPECTED: WorkerStatus.READY,  # its enrolment was a sign of life; it has no free slot to show
    S.READY:    WorkerStatus.READY,
    S.WORKING:  WorkerStatus.WORKING,
    S.DRAINING: WorkerStatus.DRAINING,
    S.PAUSED:   WorkerStatus.PAUSED,
    S.SILENT:   WorkerStatus.OFFLINE,
    S.LEFT:     WorkerStatus.OFFLINE,
}

AFTER_ENROLMENT: Final[Mapping[Desired, Desired]] = {
    Desired.RUN:     Desired.RUN,
    Desired.PAUSE:   Desired.PAUSE,  # holds until an operator resumes the worker
    Desired.DRAIN:   Desired.RUN,    # was fulfilled by the end of the process
    Desired.STOP:    Desired.RUN,
    Desired.RESTART: Desired.RUN,
}
# fmt: on


def after(state: WorkerState, event: WorkerEvent) -> WorkerState:
    """The state `event` leads to. UnknownWorker: it said goodbye, so it has to enrol again."""
    try:
        return TRANSITIONS[state, event]
    except KeyError:
        raise UnknownWorker(
            f"a worker that has {state} cannot {event}", state=state.value, event=event.value
        ) from None


def reported(status: WorkerStatus) -> WorkerEvent:
    """The event that a report of `status` is. BadRequest: no worker can report that."""
    event = REPORTED.get(status)
    if event is None:
        raise BadRequest(f"a worker cannot report that it is {status}", status=status.value)
    return event
