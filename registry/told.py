"""The record of what operators did to each worker: who, when, what, why. The latest of each."""

import sqlite3
from typing import Final

from registry.enrolment import moment
from shared.ids import WorkerId
from shared.protocol.registry import Told
from shared.sqlite import Tx

KEPT: Final = 50  # of each worker


def record(
    tx: Tx, worker_id: WorkerId, *, by: str, what: str, reason: str, for_s: float | None = None
) -> None:
    """It is the worker's latest; the oldest of more than `KEPT` is gone."""
    tx.conn.execute(
        "INSERT INTO told (worker_id, at, by, what, reason, for_s) VALUES (?, ?, ?, ?, ?, ?)",
        (worker_id, tx.now_us, by, what, reason, for_s),
    )
    tx.conn.execute(
        "DELETE FROM told WHERE worker_id = ?1 AND seq <="
        " (SELECT seq FROM told WHERE worker_id = ?1 ORDER BY seq DESC LIMIT 1 OFFSET ?2)",
        (worker_id, KEPT),
    )


def list_told(conn: sqlite3.Connection, worker_id: WorkerId) -> tuple[Told, ...]:
    """The latest first."""
    rows = conn.execute(
        "SELECT at, by, what, reason, for_s FROM told WHERE worker_id = ? ORDER BY seq DESC",
        (worker_id,),
    ).fetchall()
    return tuple(
        Told(at=moment(at), by=by, what=what, reason=reason, for_s=for_s)
        for at, by, what, reason, for_s in rows
    )


def forget(tx: Tx, worker_id: WorkerId) -> None:
    tx.conn.execute("DELETE FROM told WHERE worker_id = ?", (worker_id,))
