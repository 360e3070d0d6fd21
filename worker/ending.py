"""How an attempt ends: why it may be stopped, and what its processes' ends mean as a result."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from shared.protocol.gateway import NOT_BEGUN, Outcome, Result, Usage
from worker.ports import Exit
from worker.tasks.outcome import judge_task

MOST_CHARACTERS: Final = 2_000  # of a result's message
NOTHING_USED: Final = Usage(wall_s=0.0, cpu_s=None, max_rss_bytes=None)
UNBEGUN: Final = Result(outcome=Outcome.DRAINED, message=NOT_BEGUN)
CRASHED: Final = Result(outcome=Outcome.LOST, message="worker crashed")


class Stop(StrEnum):
    """Why a job is stopped from outside."""

    TIMEOUT = "timeout"
    CANCELLED = "cancelled"
    DRAINED = "drained"
    PREEMPTED = "preempted"
    GONE = "gone"
    FENCED = "fenced"


OUTCOME_OF: Final[Mapping[Stop, Outcome]] = {
    Stop.TIMEOUT: Outcome.TIMEOUT,
    Stop.CANCELLED: Outcome.CANCELLED,
    Stop.DRAINED: Outcome.DRAINED,
    Stop.PREEMPTED: Outcome.PREEMPTED,
    Stop.GONE: Outcome.DRAINED,  # evidence only: the job service has moved on
    Stop.FENCED: Outcome.LOST,  # as if the lease had ended: it matters not who was cut off longer
}
BROKEN: Final[Mapping[str, Outcome]] = {"oom": Outcome.OOM, "lease": Outcome.LOST}


def result_of(ended: Exit) -> Result:
    """What the end of the job's own process says, when nobody has stopped it."""
    if ended.breach is not None:
        return failure(BROKEN.get(ended.breach.kind, Outcome.OVER_LIMIT), ended.breach.message)
    if ended.lost and (ended.task is None or ended.task.state is None):
        return failure(Outcome.CONTAINER_LOST, ended.lost)
    if ended.task is not None:
        return judge_task(ended, ended.task)
    outcome = Outcome.EXITED if ended.exit_code is not None else Outcome.SIGNALED
    return Result(outcome=outcome, exit_code=ended.exit_code, signal=ended.signal)


def stopped(stop: Stop, why: str, ended: Exit | None, *, has_begun: bool) -> Result:
    """The result of an attempt that was stopped, perhaps before its job had begun."""
    outcome = OUTCOME_OF[stop]
    if outcome is Outcome.LOST and not has_begun:
        outcome = Outcome.DRAINED
    return Result(
        outcome=outcome,
        exit_code=None if ended is None else ended.exit_code,
        signal=None if ended is None else ended.signal,
        message=why[:MOST_CHARACTERS],
    )


def failure(outcome: Outcome, message: str) -> Result:
    return Result(outcome=outcome, message=message[:MOST_CHARACTERS])


def spoiled(result: Result, flaw: str) -> Result:
    """A success without its artifacts is none; a failure stays what it was, with a note."""
    if is_success(result):
        return Result(outcome=Outcome.ARTIFACT_ERROR, exit_code=0, message=flaw[:MOST_CHARACTERS])
    message = f"{result.message}\n{flaw}".strip()[:MOST_CHARACTERS]
    return result.model_copy(update={"message": message})


def is_success(result: Result) -> bool:
    return result.outcome is Outcome.EXITED and result.exit_code == 0


def together(before: Usage, more: Usage) -> Usage:
    """What processes that ran one after the other have used."""
    if before is NOTHING_USED:
        return more
    peaks = [u.max_rss_bytes for u in (before, more) if u.max_rss_bytes is not None]
    is_known = before.cpu_s is not None and more.cpu_s is not None
    return Usage(
        wall_s=before.wall_s + more.wall_s,
        cpu_s=(before.cpu_s or 0) + (more.cpu_s or 0) if is_known else None,
        max_rss_bytes=max(peaks, default=None),
    )
