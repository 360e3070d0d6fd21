"""What the registry must not forget: who enrolled as what, and what operators want of them."""

import asyncio
import json
from collections.abc import Callable, Mapping
from importlib import resources
from pathlib import Path
from typing import Final

from registry.enrolment import COLUMNS, Enrolment, fetch, microseconds
from registry.states import AFTER_ENROLMENT
from registry.told import forget, list_told, record
from shared.errors import TooLarge
from shared.ids import WorkerId
from shared.protocol.registry import EnrolRequest, SettingsRequest, Told, WishRequest
from shared.protocol.states import Desired
from shared.runtime import Runtime
from shared.sqlite import Database, Tx

MAX_WORKERS: Final = 10_000  # enrolled, offline ones included

LOAD: Final = f"SELECT {COLUMNS} FROM worker ORDER BY name"

WISH_OF: Final = "SELECT desired FROM worker WHERE name = ?"

# What was wished of it stays with the wish, and goes with it.
_STAYS: Final = ", ".join(
    f"{column} = CASE desired WHEN :desired THEN {column} END"
    for column in ("desired_reason", "desired_deadline_s", "desired_by", "desired_at", "pause_s")
)

ENROL: Final = f"""
INSERT INTO worker (id, name, incarnation, labels, slots, host, pid, version, enrolled_at,
                    desired, has_left)
VALUES (:id, :name, 1, :labels, :slots, :host, :pid, :version, :now, :desired, 0)
    ON CONFLICT (name) DO UPDATE
   SET incarnation = incarnation + 1, labels = :labels, slots = :slots, host = :host, pid = :pid,
       version = :version, enrolled_at = :now, has_left = 0, desired = :desired, is_now = 0,
       {_STAYS}
RETURNING {COLUMNS}
"""

WISH: Final = f"""
UPDATE worker
   SET desired = :desired, desired_reason = :reason, desired_deadline_s = :deadline_s,
       desired_by = :by, desired_at = :now, pause_s = :for_s, is_now = :is_now
 WHERE name = :name
RETURNING {COLUMNS}
"""

RESUME: Final = f"""
UPDATE worker
   SET desired = :run, desired_reason = :reason, desired_by = :by, desired_at = :now, pause_s = NULL
 WHERE name = :name AND desired = :pause AND desired_at = :since
RETURNING {COLUMNS}
"""

SET: Final = f"""
UPDATE worker SET set_slots = :slots, set_labels = :labels WHERE name = :name RETURNING {COLUMNS}
"""

NAMED: Final = f"SELECT {COLUMNS} FROM worker WHERE name = :name"

LEAVE: Final = """
UPDATE worker SET has_left = 1 WHERE id = :id AND incarnation = :incarnation AND has_left = 0
"""

COUNT: Final = "SELECT count(*) FROM worker"

REMOVE: Final = "DELETE FROM worker WHERE id = :id AND incarnation = :incarnation"


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
        return await self._database.read(lambda conn: fetch(conn, LOAD, {}))

    async def enrol(self, ask: EnrolRequest, then: Callable[[Enrolment], None]) -> Enrolment:
        """A new worker, or a new incarnation of the one that has this name. TooLarge: no more."""

        def call(tx: Tx) -> Enrolment:
            earlier = tx.conn.execute(WISH_OF, (ask.name,)).fetchone()
            if earlier is None and tx.conn.execute(COUNT).fetchone()[0] >= MAX_WORKERS:
                raise TooLarge(
                    f"{MAX_WORKERS} workers are known; remove some that are offline",
                    limit=MAX_WORKERS,
                )
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
            enrolment = fetch(tx.conn, ENROL, values)[0]
            tx.after_commit(lambda: then(enrolment))
            return enrolment

        return await self._database.write(call)

    async def wish(
        self, name: str, ask: WishRequest, then: Callable[[Enrolment], None]
    ) -> Enrolment | None:
        """What the operator wants of `name` is kept; None when there is no such worker."""
        what = f"{ask.desired} now" if ask.is_now else ask.desired.value

        def call(tx: Tx) -> Enrolment | None:
            values = {
                "name": name,
                "desired": ask.desired.value,
                "reason": ask.reason,
                "deadline_s": ask.deadline_s,
                "by": ask.by,
                "now": tx.now_us,
                "for_s": ask.for_s,
                "is_now": ask.is_now,
            }
            found = fetch(tx.conn, WISH, values)
            for enrolment in found:
                record(
                    tx,
                    enrolment.worker_id,
                    by=ask.by,
                    what=what,
                    reason=ask.reason,
                    for_s=ask.for_s if ask.deadline_s is None else ask.deadline_s,
                )
                tx.after_commit(lambda: then(found[0]))
            return found[0] if found else None

        return await self._database.write(call)

    async def resume(
        self, paused: Enrolment, *, by: str, reason: str, then: Callable[[Enrolment], None]
    ) -> None:
        """The worker may go on, unless somebody has wished anything of it since that pause."""

        def call(tx: Tx) -> None:
            values = {
                "name": paused.name,
                "run": Desired.RUN.value,
                "pause": Desired.PAUSE.value,
                "since": None if paused.desired_at is None else microseconds(paused.desired_at),
                "reason": reason,
                "by": by,
                "now": tx.now_us,
            }
            found = fetch(tx.conn, RESUME, values)
            for enrolment in found:
                what = Desired.RUN.value
                record(tx, enrolment.worker_id, by=by, what=what, reason=reason)
                tx.after_commit(lambda: then(found[0]))

        # A pause ends once, so this is not put off when there is much to write.
        await self._database.write(call, must=True)

    async def change(
        self,
        name: str,
        ask: SettingsRequest,
        make: Callable[[Enrolment], tuple[int | None, Mapping[str, str | None], str]],
        then: Callable[[Enrolment], None],
    ) -> Enrolment | None:
        """Slots and labels of `name` are what `make` made of those it has; None: no such worker.

        What `make` raises comes out, and nothing has changed. Its third value says what was done.
        """

        def call(tx: Tx) -> Enrolment | None:
            before = fetch(tx.conn, NAMED, {"name": name})
            if not before:
                return None
            slots, labels, what = make(before[0])
            values = {"name": name, "slots": slots, "labels": json.dumps(labels, sort_keys=True)}
            enrolment = fetch(tx.conn, SET, values)[0]
            record(tx, enrolment.worker_id, by=ask.by, what=what, reason=ask.reason)
            tx.after_commit(lambda: then(enrolment))
            return enrolment

        return await self._database.write(call)

    async def list_told(self, worker_id: WorkerId) -> tuple[Told, ...]:
        """What operators did to the worker, the latest first."""
        return await self._database.read(lambda conn: list_told(conn, worker_id))

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
                if statement is REMOVE:
                    forget(tx, worker_id)
                tx.after_commit(then)
            return changed

        return await self._database.write(call)
