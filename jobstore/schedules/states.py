"""The states of a backfill, and what may follow which."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final


class BackfillStatus(StrEnum):
    RUNNING = "running"
    DONE = "done"
    CANCELLED = "cancelled"


class BackfillEvent(StrEnum):
    COMPLETE = "complete"  # its last run has ended
    CANCEL = "cancel"


class BackfillKind(StrEnum):
    ASKED = "asked"
    MISSED = "missed"  # times that passed while nothing could be started


BACKFILL: Final[Mapping[tuple[BackfillStatus, BackfillEvent], BackfillStatus]] = {
    (BackfillStatus.RUNNING, BackfillEvent.COMPLETE): BackfillStatus.DONE,
    (BackfillStatus.RUNNING, BackfillEvent.CANCEL): BackfillStatus.CANCELLED,
}
