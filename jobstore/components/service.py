"""`Components` in the job service's database: who lives, since when, and who has whose place."""

import sqlite3
from datetime import timedelta
from functools import partial
from typing import Final

import structlog

from jobstore.components.states import ALIVE, COMPONENT, ComponentEvent
from jobstore.states import after
from jobstore.store.journal import from_us
from shared.errors import StaleFence, UnknownComponent
from shared.protocol import components as c
from shared.runtime import Runtime
from shared.sqlite import Database, Tx

log = structlog.get_logger()

MISSED_BEATS: Final = 3  # until one counts as stale
KEPT: Final = timedelta(days=7)  # that have ended
LISTED: Final = 1_000

_ALIVE: Final = ", ".join(f"'{status}'" for status in ALIVE)
_COLUMNS: Final = (
    "id, kind, name, host, pid, interval_s, status, fence, created_at, beat_at, ended_at, reason"
)


class ComponentService:
    """Each write's precondition is in its statement: a fence that is old changes nothing."""

    def __init__(self, database: Database, runtime: Runtime) -> None:
        self._db = database
        self._runtime = runtime

    async def create_component(self, ask: c.CreateComponent) -> None:
        await self._db.write(partial(_create, ask=ask))

    async def prepare_component(self, ask: c.PrepareComponent) -> c.PreparedComponent:
        prepared, replaced = await self._db.write(partial(_prepare, ask=ask))
        for component_id in replaced:
            log.warning("component.replaced", component_id=component_id, by=ask.component_id)
        return prepared

    async def beat_component(self, ask: c.ComponentBeat) -> None:
        await self._db.write(partial(_beat, ask=ask))

    async def complete_component(self, ask: c.CompleteComponent) -> None:
        await self._db.write(partial(_complete, ask=ask))

    async def list_components(self, ask: c.ComponentFilter) -> c.ComponentList:
        now_us = int(self._runtime.now().timestamp() * 1_000_000)
        alive = "" if ask.with_ended else f" WHERE status IN ({_ALIVE})"
        rows = await self._db.read(
            lambda conn: conn.execute(
                f"SELECT {_COLUMNS} FROM component{alive}"
                " ORDER BY ended_at IS NOT NULL, kind, name, created_at DESC LIMIT ?",
                (LISTED,),
            ).fetchall()
        )
        return c.ComponentList(components=tuple(_view(row, now_us) for row in rows))


# -- on the database's thread ----------------------------------------------------------------------


def _create(tx: Tx, ask: c.CreateComponent) -> None:
    """It is there. Sent again, nothing more happens."""
    tx.conn.execute(
        "DELETE FROM component WHERE ended_at < ?",
        (tx.now_us - int(KEPT.total_seconds() * 1_000_000),),
    )
    tx.conn.execute(
        "INSERT INTO component (id, owner, kind, name, host, pid, interval_s, status, fence,"
        " created_at, beat_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0, ?, ?) ON CONFLICT DO NOTHING",
        (
            *(ask.component_id, ask.owner, ask.kind, ask.name, ask.host, ask.pid),
            *(ask.interval_s, c.ComponentStatus.CREATED, tx.now_us, tx.now_us),
        ),
    )


def _prepare(tx: Tx, ask: c.PrepareComponent) -> tuple[c.PreparedComponent, list[str]]:
    """It holds its place, and who held it before does not. Again: the same fence."""
    kind, name, status, fence = _find(tx.conn, ask.component_id, ask.owner)
    if status is c.ComponentStatus.RUNNING:
        return c.PreparedComponent(fence=fence), []
    to = after(COMPONENT, status, ComponentEvent.PREPARE)
    (highest,) = tx.conn.execute(
        "SELECT max(fence) FROM component WHERE kind = ? AND name = ?", (kind, name)
    ).fetchone()
    replaced = tx.conn.execute(
        "SELECT id, status FROM component WHERE kind = ? AND name = ? AND id <> ?"
        f" AND status IN ({_ALIVE}) ORDER BY id",
        (kind, name, ask.component_id),
    ).fetchall()
    for component_id, was in replaced:
        tx.conn.execute(
            "UPDATE component SET status = ?, ended_at = ?, reason = ? WHERE id = ?",
            (
                after(COMPONENT, c.ComponentStatus(was), ComponentEvent.REPLACE),
                tx.now_us,
                "another took its place without its having said goodbye",
                component_id,
            ),
        )
    tx.conn.execute(
        "UPDATE component SET status = ?, fence = ?, beat_at = ? WHERE id = ?",
        (to, highest + 1, tx.now_us, ask.component_id),
    )
    return c.PreparedComponent(fence=highest + 1), [row[0] for row in replaced]


def _beat(tx: Tx, ask: c.ComponentBeat) -> None:
    """It was heard of. StaleFence: it has ended, or another has its place."""
    changed = tx.conn.execute(
        "UPDATE component SET beat_at = ? WHERE id = ? AND owner = ? AND fence = ? AND status = ?",
        (tx.now_us, ask.component_id, ask.owner, ask.fence, c.ComponentStatus.RUNNING),
    ).rowcount
    if not changed:
        _, _, status, _ = _find(tx.conn, ask.component_id, ask.owner)
        raise StaleFence(f"the component is {status.value}", state=status.value)


def _complete(tx: Tx, ask: c.CompleteComponent) -> None:
    """It has ended. Again: nothing more. StaleFence: another has its place."""
    _, _, status, fence = _find(tx.conn, ask.component_id, ask.owner)
    if status is c.ComponentStatus.COMPLETED and fence == ask.fence:
        return
    if status is c.ComponentStatus.REPLACED or fence != ask.fence:
        raise StaleFence(f"the component is {status.value}", state=status.value)
    tx.conn.execute(
        "UPDATE component SET status = ?, beat_at = ?, ended_at = ?, reason = ? WHERE id = ?",
        (
            after(COMPONENT, status, ComponentEvent.COMPLETE),
            tx.now_us,
            tx.now_us,
            ask.reason or None,
            ask.component_id,
        ),
    )


def _find(
    conn: sqlite3.Connection, component_id: str, owner: str
) -> tuple[str, str, c.ComponentStatus, int]:
    """Kind, name, status and fence. UnknownComponent: there is none, or it is another's."""
    row = conn.execute(
        "SELECT kind, name, status, fence FROM component WHERE id = ? AND owner = ?",
        (component_id, owner),
    ).fetchone()
    if row is None:
        raise UnknownComponent(component_id=component_id)
    kind, name, status, fence = row
    return kind, name, c.ComponentStatus(status), fence


def _view(row: tuple[object, ...], now_us: int) -> c.ComponentView:
    (component_id, kind, name, host, pid, interval_s, raw, fence, created, beat, ended, why) = row
    status = c.ComponentStatus(str(raw))
    assert isinstance(beat, int), "the schema says so"
    assert isinstance(interval_s, float), "likewise"
    silent_s = max(0.0, (now_us - beat) / 1_000_000)
    if status not in ALIVE:
        state = c.Liveness.ENDED
    else:
        is_heard = silent_s <= MISSED_BEATS * interval_s
        state = c.Liveness.LIVE if is_heard else c.Liveness.STALE
    return c.ComponentView.model_validate(
        {
            "component_id": component_id,
            "kind": kind,
            "name": name,
            "host": host,
            "pid": pid,
            "status": status,
            "state": state,
            "fence": fence,
            "created_at": from_us(created),  # type: ignore[arg-type]  # an integer: see the schema
            "beat_at": from_us(beat),
            "silent_s": round(silent_s, 3),
            "ended_at": None if ended is None else from_us(ended),  # type: ignore[arg-type]  # likewise
            "reason": why,
        }
    )
