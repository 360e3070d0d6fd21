"""What becomes of the times of a schedule that have passed. Pure."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from shared.protocol.pipeline import CatchUp

ON_TIME: Final = timedelta(seconds=60)  # later than this, a time was missed
SLACK: Final = timedelta(seconds=60)  # a clock that is put back by less is just waited for
MAX_MISSED: Final = 100  # times that are caught up with; older ones are let go


class Plan(NamedTuple):
    """Times, each list oldest first."""

    start: list[datetime]  # now
    make_up: list[datetime]  # one run after another, besides
    let_go: list[datetime]


def judge(due: Sequence[datetime], now: datetime, catch_up: CatchUp) -> Plan:
    """The rule for times that have fallen due: one is punctual, most days; the rest were missed."""
    missed = [time for time in due if now - time > ON_TIME]
    punctual = list(due[len(missed) :])
    if catch_up is CatchUp.NONE:
        return Plan(punctual, [], missed)
    if catch_up is CatchUp.LATEST:
        return Plan(list(due[-1:]), [], list(due[:-1]))
    return Plan(punctual, missed[-MAX_MISSED:], missed[:-MAX_MISSED])
