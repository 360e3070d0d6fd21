"""What the registry must not forget: who enrolled as what, and what operators want of them."""

import asyncio
import json
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib import resources
from pathlib import Path
from typing import Any, Final

from registry.states import AFTER_ENROLMENT
from shared.ids import WorkerId
from shared.protocol.registry import EnrolRequest, WishRequest
from shared.protocol.states import Desired
from shared.runtime import Runtime
from shared.sqlite import Database, Tx

Row = tuple[Any, ...]

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

COLUMNS: Final = (
    "id, name, incarnation, labels, slots, host, pid, version, enrolled_at, "
    "desired, desired_reason, desired_deadline_s, has_left"
)

LOAD: Final = f"SELECT {COLUMNS} FROM worker ORDER BY name"

WISH_OF: Final = "SELECT desired FROM worker WHERE name = ?"

ENROL: Final = f"""
INSERT INTO worker ({COLUMNS})
VALUES (:id, :name, 1, :labels, :slots, :host, :pid, :version, :now, :desired, NULL, NULL, 0)
    ON CONFLICT (name) DO UPDATE
   SET incarnation = incarnation + 1, labels = :labels, slots = :slots, host = :host, pid = :pid,
       version = :version, enrolled_at = :now, has_left = 0, desired = :desired,
       desired_reason     = CASE desired WHEN :desired THEN desired_reason END,
       desired_deadline_s = CASE desired WHEN :desired THEN desired_deadline_s END
RETURNING {COLUMNS}
"""

WISH: Final = f"""
UPDATE worker
   SET desired = :desired, desired_reason = :reason, desired_deadline_s = :deadline_s
 WHERE name = :name
RETURNING {COLUMNS}
"""

LEAVE: Final = """
UPDATE worker SET has_left = 1 WHERE id = :id AND incarnation = :incarnation AND has_left = 0
"""

REMOVE: Final = "DELETE FROM worker WHERE id = :id AND incarnation = :incarnation"


@dataclass(frozen=True, slots=True)
class Enrolment:
    """One worker as it is on disk."""

    worker_id: WorkerId
    name: str
    incarnation: int
    labels: dict[str, str]
    slots: int
    host: str
    pid: int
    version: str
    enrolled_at: datetime
    desired: Desired
    desired_reason: str | None
    desired_deadline_s: float | None
    has_left: bool


class WorkerStore:
    """Every write is durable when its verb returns.

    `then` is called in the order of commits, also when the caller has gone away meanwhile: what
    is kept in memory beside this store follows it and never falls behind.
    """

    def __init__(self, path: Path, runtime: Runtime) -> None:
        migrations = resources.files("registry") / "migrations"
        self._database = Database(path, migrations=migrations, runtime=runtime, name="registry")

    @property
    def failure(self) -> "asyncio.Future[None]":
        return self._database.failure

    async def start(self) -> None:
        await self._database.start()

    async def stop(self) -> None:
        await self._database.stop()

    async def load(self) -> list[Enrolment]:
        """Every worker, by name."""
        return await self._database.read(lambda conn: _rows(conn, LOAD, {}))

    async def enrol(self, ask: EnrolRequest, then: Callable[[Enrolment], None]) -> Enrolment:
        """A new worker, or a new incarnation of the one that has this name."""

        def call(tx: Tx) -> Enrolment:
            earlier = tx.conn.execute(WISH_OF, (ask.name,)).fetchone()
            desired = Desired.RUN if earlier is None else AFTER_ENROLMENT[Desired(earlier[0])]
            values = {
                "id": tx.new_id(),
                "name": ask.name,
                "labels": json.dumps(ask.labels, sort_keys=True),
                "slots": ask.slots,
                "host": ask.host,
                "pid": ask.pid,
                "version": ask.version,
                "now": tx.now_us,
                "desired": desired.value,
            }
            enrolment = _rows(tx.conn, ENROL, values)[0]
            tx.after_commit(lambda: then(enrolment))
            return enrolment

        return await self._database.write(call)

    async def wish(
        self, name: str, ask: WishRequest, then: Callable[[Enrolment], None]
    ) -> Enrolment | None:
        """What the operator wants of `name` is kept; None when there is no such worker."""
        values = {
            "name": name,
            "desired": ask.desired.value,
            "reason": ask.reason,
            "deadline_s": ask.deadline_s,
        }

        def call(tx: Tx) -> Enrolment | None:
            found = _rows(tx.conn, WISH, values)
            if not found:
                return None
            tx.after_commit(lambda: then(found[0]))
            return found[0]

        return await self._database.write(call)

    async def leave(self, worker_id: WorkerId, incarnation: int, then: Callable[[], None]) -> None:
        """That incarnation is known to have said goodbye. Nothing happens to a newer one."""
        await self._change(LEAVE, worker_id, incarnation, then)

    async def remove(self, worker_id: WorkerId, incarnation: int, then: Callable[[], None]) -> bool:
        """The worker is forgotten; False when it has enrolled again, or was forgotten before."""
        return await self._change(REMOVE, worker_id, incarnation, then)

    async def _change(
        self, statement: str, worker_id: WorkerId, incarnation: int, then: Callable[[], None]
    ) -> bool:
        def call(tx: Tx) -> bool:
            values = {"id": worker_id, "incarnation": incarnation}
            changed = tx.conn.execute(statement, values).rowcount > 0
            if changed:
                tx.after_commit(then)
            return changed

        return await self._database.write(call)


def _rows(
    conn: sqlite3.Connection, statement: str, values: Mapping[str, object]
) -> list[Enrolment]:
    """All of them at once: a statement that returns rows is only done when they are fetched."""
    return [_row(row) for row in conn.execute(statement, values).fetchall()]


def _row(row: Row) -> Enrolment:
    return Enrolment(
        worker_id=WorkerId(row[0]),
        name=row[1],
        incarnation=row[2],
        labels=json.loads(row[3]),
        slots=row[4],
        host=row[5],
        pid=row[6],
        version=row[7],
        enrolled_at=EPOCH + timedelta(microseconds=row[8]),
        desired=Desired(row[9]),
        desired_reason=row[10],
        desired_deadline_s=row[11],
        has_left=bool(row[12]),
    )
