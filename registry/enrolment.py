"""One worker as it is on disk: what it said when it enrolled, and what operators made of that."""

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from shared.ids import WorkerId
from shared.protocol.states import Desired

Row = tuple[Any, ...]

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

COLUMNS: Final = (
    "id, name, incarnation, labels, slots, host, pid, version, enrolled_at, "
    "desired, desired_reason, desired_deadline_s, has_left, "
    "desired_by, desired_at, pause_s, is_now, set_slots, set_labels"
)


@dataclass(frozen=True, slots=True)
class Enrolment:
    worker_id: WorkerId
    name: str
    incarnation: int
    own_labels: Mapping[str, str]  # with which it was started
    own_slots: int
    host: str
    pid: int
    version: str
    enrolled_at: datetime
    desired: Desired
    desired_reason: str | None
    desired_deadline_s: float | None
    has_left: bool
    desired_by: str | None
    desired_at: datetime | None
    pause_s: float | None
    is_now: bool
    set_slots: int | None
    set_labels: Mapping[str, str | None]

    @property
    def slots(self) -> int:
        return self.set_slots or self.own_slots

    @property
    def labels(self) -> dict[str, str]:
        both = {**self.own_labels, **self.set_labels}
        return {name: value for name, value in both.items() if value is not None}

    @property
    def resumes_at(self) -> datetime | None:
        """When a pause ends by itself, on the wall clock: for people."""
        if self.desired is not Desired.PAUSE or self.pause_s is None or self.desired_at is None:
            return None
        return self.desired_at + timedelta(seconds=self.pause_s)


def fetch(
    conn: sqlite3.Connection, statement: str, values: Mapping[str, object]
) -> list[Enrolment]:
    """All of them at once: a statement that returns rows is only done when they are fetched."""
    return [_enrolment(row) for row in conn.execute(statement, values).fetchall()]


def _enrolment(row: Row) -> Enrolment:
    return Enrolment(
        worker_id=WorkerId(row[0]),
        name=row[1],
        incarnation=row[2],
        own_labels=json.loads(row[3]),
        own_slots=row[4],
        host=row[5],
        pid=row[6],
        version=row[7],
        enrolled_at=moment(row[8]),
        desired=Desired(row[9]),
        desired_reason=row[10],
        desired_deadline_s=row[11],
        has_left=bool(row[12]),
        desired_by=row[13],
        desired_at=None if row[14] is None else moment(row[14]),
        pause_s=row[15],
        is_now=bool(row[16]),
        set_slots=row[17],
        set_labels=json.loads(row[18]),
    )


def moment(microseconds: int) -> datetime:
    return EPOCH + timedelta(microseconds=microseconds)


def microseconds(at: datetime) -> int:
    return (at - EPOCH) // timedelta(microseconds=1)
