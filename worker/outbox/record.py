"""What a worker notes of an attempt, so that its successor can go on with it.

A record begins before `run` is asked for, and is settled by the receipt. Times are of
`Runtime.mono`: on Linux that clock counts from the machine's start, so a successor reads the same
one, and nobody can set it (clock_gettime(2), CLOCK_MONOTONIC).
"""

from typing import Final

from shared.ids import AttemptId, WorkerId
from shared.protocol.base import Message
from shared.protocol.gateway import Claim, Result, RunContext, Usage

# The phases whose process a successor can go on with. A policy's questions are asked anew.
RESUMED: Final = frozenset({"pre_checks", "executing", "post_checks"})
BEFORE_THE_JOB: Final = frozenset({"starting", "pre_checks"})
UNKNOWN: Final = "unknown"  # the machine was off since, and notes of a later phase may be lost


class Record(Message):
    """One attempt, as far as it has come."""

    claim: Claim  # without its token
    worker_id: WorkerId
    since: float  # when `run` was first sent: the lease is no older
    held_at: float | None = None  # when its answer came
    context: RunContext | None = None  # without its token, and without the task
    is_task: bool = False
    secrets: tuple[str, ...] = ()  # of its environment: a successor's own may have others
    phase: str = "starting"
    pid: int | None = None  # of the phase's process, once it runs
    earlier: int | None = None  # the pid of the phase before
    deadline: float | None = None  # when the attempt's time is over
    stop: str | None = None  # why it is being stopped
    why: str = ""
    usage: Usage | None = None  # of the phases that are over
    published: tuple[str, ...] = ()
    result: Result | None = None  # how it ended

    @property
    def attempt_id(self) -> AttemptId:
        return self.claim.attempt_id

    @property
    def has_not_begun(self) -> bool:
        """Its command was not started: that phase is noted before. False: it may have been."""
        return self.phase in BEFORE_THE_JOB


def lasting(context: RunContext) -> RunContext:
    """What of it a successor needs: its own token opens as much, and tasks do not survive."""
    return context.model_copy(update={"token": None, "task": None})
