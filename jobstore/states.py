"""The state machines of runs, stages, jobs and attempts: every edge, and nothing else.

Only the job service moves them. Policy picks the event, the table picks the state; the error
path is the missing key. SQL takes its state names from here. docs/architecture.md is drawn from
these tables.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final, TypeVar

from shared.errors import IllegalTransition
from shared.protocol.states import FAILURES, AttemptStatus, JobStatus, RunStatus, StageStatus

S = JobStatus
A = AttemptStatus


class JobEvent(StrEnum):
    BLOCK = "block"  # waits for dependencies, or for an earlier stage
    HOLD = "hold"  # could run, but for an approval, a lock, or a free place in its run
    QUEUE = "queue"  # may be claimed
    CARRY = "carry"  # succeeded in the run that this one goes on from
    CLAIM = "claim"  # a worker holds a lease; fence += 1
    REFUSE = "refuse"  # handed back unstarted; costs no try
    LAPSE = "lapse"  # claimed, never started in time; costs no try
    RUN = "run"  # started; tries += 1
    SUCCEED = "succeed"
    FAIL = "fail"
    FAIL_PRECHECK = "fail_precheck"  # a condition for its start was not met
    FAIL_POSTCHECK = "fail_postcheck"  # it exited 0, and what it was to make is not as it should be
    TIME_OUT = "time_out"
    RETRY = "retry"  # failed, tries remain
    DEFER = "defer"  # a task frees its slot until its trigger fires; costs no try
    RESCHEDULE = "reschedule"  # a task frees its slot until a time; costs no try
    REQUEUE = "requeue"  # its worker was lost, or had to leave
    SKIP = "skip"  # what it needs did not come about, the run was stopped, or a person said so
    CANCEL = "cancel"
    MARK = "mark"  # a person takes it for a success
    REVIVE = "revive"  # that for which it was skipped was marked


class AttemptEvent(StrEnum):
    RUN = "run"
    REPORT = "report"
    REFUSE = "refuse"
    LAPSE = "lapse"
    LOSE = "lose"
    CANCEL = "cancel"


class RunEvent(StrEnum):
    START = "start"
    SUCCEED = "succeed"
    FAIL = "fail"
    CANCEL = "cancel"
    MARK = "mark"  # the last of what failed was taken for a success


class StageEvent(StrEnum):
    OPEN = "open"
    SUCCEED = "succeed"
    FAIL = "fail"
    SKIP = "skip"
    CANCEL = "cancel"
    MARK = "mark"  # the last of what was bad in it was taken for a success, after the run's end
    REOPEN = "reopen"  # a job was marked while the run went on: it is judged anew


E = JobEvent
ASLEEP: Final = (S.DEFERRED, S.RESCHEDULED)  # tasks that wait without a worker

# fmt: off
JOB: Final[Mapping[tuple[JobStatus, JobEvent], JobStatus]] = {
    (S.PENDING,  E.BLOCK):    S.BLOCKED,
    (S.PENDING,  E.HOLD):     S.HELD,
    (S.PENDING,  E.QUEUE):    S.QUEUED,
    (S.PENDING,  E.CARRY):    S.SUCCESS,
    (S.PENDING,  E.SKIP):     S.SKIPPED,
    (S.BLOCKED,  E.QUEUE):    S.QUEUED,     # the last thing that it waited for came about
    (S.BLOCKED,  E.HOLD):     S.HELD,
    (S.BLOCKED,  E.CARRY):    S.SUCCESS,
    (S.BLOCKED,  E.SKIP):     S.SKIPPED,
    (S.BLOCKED,  E.SUCCEED):  S.SUCCESS,    # of a mapped job: its instances have
    (S.BLOCKED,  E.FAIL):     S.FAILED,
    (S.HELD,     E.QUEUE):    S.QUEUED,     # it was approved, has the lock, and there is room
    (S.HELD,     E.HOLD):     S.HELD,       # it has one of these, and waits for the next
    (S.HELD,     E.SKIP):     S.SKIPPED,
    (S.QUEUED,   E.CLAIM):    S.CLAIMED,
    (S.QUEUED,   E.TIME_OUT): S.TIMEOUT,    # nobody claimed it within its queue timeout
    (S.QUEUED,   E.SKIP):     S.SKIPPED,
    (S.CLAIMED,  E.REFUSE):   S.QUEUED,
    (S.CLAIMED,  E.LAPSE):    S.QUEUED,
    (S.CLAIMED,  E.RUN):      S.RUNNING,
    (S.CLAIMED,  E.SKIP):     S.SKIPPED,
    (S.RUNNING,  E.SUCCEED):  S.SUCCESS,
    (S.RUNNING,  E.FAIL):     S.FAILED,
    (S.RUNNING,  E.TIME_OUT): S.TIMEOUT,
    (S.RUNNING,  E.FAIL_PRECHECK):  S.PRECHECK_FAILED,
    (S.RUNNING,  E.FAIL_POSTCHECK): S.POSTCHECK_FAILED,
    (S.RUNNING,  E.SKIP):     S.SKIPPED,    # a task found nothing to do
    (S.RUNNING,  E.RETRY):    S.RETRYING,
    (S.RUNNING,  E.REQUEUE):  S.QUEUED,
    (S.RETRYING, E.QUEUE):    S.QUEUED,     # its delay is over
    (S.RETRYING, E.HOLD):     S.HELD,
    (S.RETRYING, E.FAIL):     S.FAILED,     # its run stopped: its last try was the last
    (S.RETRYING, E.TIME_OUT): S.TIMEOUT,
    (S.RETRYING, E.FAIL_PRECHECK):  S.PRECHECK_FAILED,
    (S.RETRYING, E.FAIL_POSTCHECK): S.POSTCHECK_FAILED,
    (S.RUNNING,  E.DEFER):    S.DEFERRED,
    (S.RUNNING,  E.RESCHEDULE):     S.RESCHEDULED,
    (S.DEFERRED, E.QUEUE):    S.QUEUED,     # its trigger fired: it goes on with the event
    (S.DEFERRED, E.HOLD):     S.HELD,
    (S.DEFERRED, E.RETRY):    S.RETRYING,   # nothing came in time, or nothing can: a failed try
    (S.DEFERRED, E.FAIL):     S.FAILED,
    (S.DEFERRED, E.TIME_OUT): S.TIMEOUT,
    (S.DEFERRED, E.SKIP):     S.SKIPPED,    # its run stopped
    (S.RESCHEDULED, E.QUEUE): S.QUEUED,     # its time has come
    (S.RESCHEDULED, E.HOLD):  S.HELD,
    (S.RESCHEDULED, E.SKIP):  S.SKIPPED,
    **{(s, E.CANCEL): S.CANCELLED
       for s in (S.BLOCKED, S.HELD, S.QUEUED, S.CLAIMED, S.RUNNING, S.RETRYING, *ASLEEP)},
    **{(s, E.MARK): S.SUCCESS
       for s in (S.BLOCKED, S.HELD, S.QUEUED, S.RETRYING, *ASLEEP, *FAILURES, S.SKIPPED,
                 S.CANCELLED)},
    (S.SKIPPED,  E.REVIVE):   S.BLOCKED,
}

ATTEMPT: Final[Mapping[tuple[AttemptStatus, AttemptEvent], AttemptStatus]] = {
    (A.CLAIMED, AttemptEvent.RUN):    A.RUNNING,
    (A.CLAIMED, AttemptEvent.REFUSE): A.REFUSED,
    (A.CLAIMED, AttemptEvent.LAPSE):  A.LAPSED,
    (A.CLAIMED, AttemptEvent.CANCEL): A.CANCELLED,
    (A.RUNNING, AttemptEvent.REPORT): A.REPORTED,
    (A.RUNNING, AttemptEvent.LOSE):   A.LOST,
}

RUN: Final[Mapping[tuple[RunStatus, RunEvent], RunStatus]] = {
    (RunStatus.PENDING, RunEvent.START):   RunStatus.RUNNING,
    (RunStatus.PENDING, RunEvent.SUCCEED): RunStatus.SUCCESS,    # every job was carried over
    (RunStatus.PENDING, RunEvent.FAIL):    RunStatus.FAILED,     # nothing was claimed in time
    (RunStatus.PENDING, RunEvent.CANCEL):  RunStatus.CANCELLED,
    (RunStatus.RUNNING, RunEvent.SUCCEED): RunStatus.SUCCESS,
    (RunStatus.RUNNING, RunEvent.FAIL):    RunStatus.FAILED,
    (RunStatus.RUNNING, RunEvent.CANCEL):  RunStatus.CANCELLED,
    (RunStatus.FAILED,    RunEvent.MARK):  RunStatus.SUCCESS,
    (RunStatus.CANCELLED, RunEvent.MARK):  RunStatus.SUCCESS,
}

STAGE: Final[Mapping[tuple[StageStatus, StageEvent], StageStatus]] = {
    (StageStatus.PENDING, StageEvent.OPEN):    StageStatus.RUNNING,
    (StageStatus.PENDING, StageEvent.SKIP):    StageStatus.SKIPPED,
    (StageStatus.PENDING, StageEvent.CANCEL):  StageStatus.CANCELLED,
    (StageStatus.RUNNING, StageEvent.SUCCEED): StageStatus.SUCCESS,
    (StageStatus.RUNNING, StageEvent.FAIL):    StageStatus.FAILED,
    (StageStatus.RUNNING, StageEvent.CANCEL):  StageStatus.CANCELLED,
    **{(s, StageEvent.MARK): StageStatus.SUCCESS
       for s in (StageStatus.FAILED, StageStatus.SKIPPED, StageStatus.CANCELLED)},
    **{(s, StageEvent.REOPEN): StageStatus.PENDING
       for s in (StageStatus.SUCCESS,         # of what ran in it in spite of an earlier failure
                 StageStatus.FAILED, StageStatus.SKIPPED, StageStatus.CANCELLED)},
}
# fmt: on

LIVE: Final = (A.CLAIMED, A.RUNNING)  # attempts that hold a lease

State = TypeVar("State", bound=StrEnum)
Event = TypeVar("Event", bound=StrEnum)


def after(table: Mapping[tuple[State, Event], State], state: State, event: Event) -> State:
    """The state that `event` leads to; IllegalTransition when the table has no such edge."""
    try:
        return table[state, event]
    except KeyError:
        raise IllegalTransition(
            f"cannot {event.value} what is {state.value}", state=state.value, event=event.value
        ) from None
