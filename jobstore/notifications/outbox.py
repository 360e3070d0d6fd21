"""Notifications in the job service's database: written with what they tell of, sent afterwards."""

import json
import sqlite3
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import urlsplit

from jobstore.notifications.states import (
    NOTIFICATION,
    NotificationEvent,
    NotificationKind,
    NotificationStatus,
)
from jobstore.store.journal import from_us
from shared.ids import RunId
from shared.protocol.notifications import NotificationList, NotificationView
from shared.protocol.pipeline import MailServer, NotifyOn, NotifySpec
from shared.protocol.questions import QuestionView
from shared.protocol.states import RunStatus
from shared.sqlite import Database, Tx

if TYPE_CHECKING:  # the store calls this module
    from jobstore.store.work import Work

WORDS: Final = {
    RunStatus.SUCCESS: NotifyOn.SUCCESS,
    RunStatus.FAILED: NotifyOn.FAILURE,
    RunStatus.CANCELLED: NotifyOn.CANCELLED,
}


class Notification(NamedTuple):
    """A notification that waits to be sent."""

    id: int
    run_id: RunId
    run_status: RunStatus
    kind: NotificationKind
    target: str
    tries: int
    waited_s: float
    created_at: int
    mail_server: MailServer | None  # of the run's own document
    question: QuestionView | None  # that is asked; None: the run's end is told


def note_run_end(work: "Work", run_id: int, status: RunStatus) -> None:
    """Whoever the run's document names will hear of its end. Part of the write that ends it."""
    notify = _wish(work, run_id)
    if notify is not None and WORDS[status] in notify.on:
        _note(work, run_id, status, notify, None)


def note_question(work: "Work", asked: QuestionView) -> None:
    """They will hear of what a task asks. Part of the write by which it goes to sleep."""
    notify = _wish(work, asked.run_id)
    if notify is not None and NotifyOn.QUESTION in notify.on:
        _note(work, asked.run_id, RunStatus.RUNNING, notify, asked.model_dump_json())


def _wish(work: "Work", run_id: int) -> NotifySpec | None:
    (settings,) = work.conn.execute("SELECT settings FROM run WHERE id = ?", (run_id,)).fetchone()
    if '"notify"' not in settings:  # as with most runs
        return None
    asked = json.loads(settings).get("notify")
    return None if asked is None else NotifySpec.model_validate(asked)


def _note(
    work: "Work", run_id: int, status: RunStatus, notify: NotifySpec, question: str | None
) -> None:
    work.conn.executemany(
        "INSERT INTO notification (run_id, run_status, kind, target, status, created_at, question)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        [
            (run_id, status, kind, target, NotificationStatus.WAITING, work.tx.now_us, question)
            for kind, target in _receivers(notify)
        ],
    )


def _receivers(notify: NotifySpec) -> Iterator[tuple[NotificationKind, str]]:
    """Each once. Every address gets a message of its own: one that is refused delays no other."""
    for address in dict.fromkeys(notify.email):
        yield NotificationKind.EMAIL, address
    if notify.webhook is not None:
        yield NotificationKind.WEBHOOK, notify.webhook
    if notify.slack is not None:
        yield NotificationKind.SLACK, notify.slack
    if notify.teams is not None:
        yield NotificationKind.TEAMS, notify.teams


class Outbox:
    """`Notifications`, and what the postman does with them."""

    def __init__(self, database: Database) -> None:
        self._db = database

    async def list_notifications(self, run_id: RunId) -> NotificationList:
        return NotificationList(
            notifications=tuple(await self._db.read(partial(_of_run, run_id=run_id)))
        )

    async def has_waiting(self) -> bool:
        return bool(await self._db.read(partial(_waiting, after=0, limit=1)))

    async def waiting(self, *, after: int, limit: int) -> list[Notification]:
        """Those that wait, whose ids are greater than `after`, oldest first."""
        return await self._db.read(partial(_waiting, after=after, limit=limit))

    async def find(self, notification_id: int) -> Notification | None:
        """It, if it still waits."""
        found = await self._db.read(partial(_waiting, after=notification_id - 1, limit=1))
        return found[0] if found and found[0].id == notification_id else None

    async def settle(
        self,
        notification: Notification,
        event: NotificationEvent,
        *,
        error: str | None,
        waited_s: float,
    ) -> None:
        """One try is over. What was pruned meanwhile is not there to be noted."""
        is_sent = event is NotificationEvent.ACCEPT

        def call(tx: Tx) -> None:
            tx.conn.execute(
                "UPDATE notification SET status = ?, tries = tries + 1, waited_s = ?, error = ?,"
                " sent_at = ? WHERE id = ? AND status = ?",
                (
                    NOTIFICATION[NotificationStatus.WAITING, event],
                    waited_s,
                    error,
                    tx.now_us if is_sent else None,
                    notification.id,
                    NotificationStatus.WAITING,
                ),
            )

        await self._db.write(call, must=True)


def shown(kind: NotificationKind, target: str) -> str:
    """The target without what may be a secret: of a URL only where it leads to."""
    if kind is NotificationKind.EMAIL:
        return target
    parts = urlsplit(target)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}/…"


def _of_run(conn: sqlite3.Connection, run_id: int) -> list[NotificationView]:
    from jobstore.store.reads import check_run

    check_run(conn, run_id)
    rows = conn.execute(
        "SELECT kind, target, status, tries, error, sent_at, question IS NULL FROM notification"
        " WHERE run_id = ? ORDER BY id",
        (run_id,),
    )
    return [
        NotificationView(
            kind=kind,
            to=shown(NotificationKind(kind), target),
            status=status,
            tries=tries,
            error=error,
            sent_at=None if sent_at is None else from_us(sent_at),
            about="end" if is_end else "question",
        )
        for kind, target, status, tries, error, sent_at, is_end in rows
    ]


def _waiting(conn: sqlite3.Connection, after: int, limit: int) -> list[Notification]:
    rows = conn.execute(
        "SELECT notification.id, run_id, run_status, kind, target, tries, waited_s,"
        " notification.created_at, run.settings, question FROM notification"
        " LEFT JOIN run ON run.id = run_id"
        f" WHERE notification.status = '{NotificationStatus.WAITING}' AND notification.id > ?"
        " ORDER BY notification.id LIMIT ?",
        (after, limit),
    )
    return [
        Notification(
            id=row[0],
            run_id=RunId(row[1]),
            run_status=RunStatus(row[2]),
            kind=NotificationKind(row[3]),
            target=row[4],
            tries=row[5],
            waited_s=row[6],
            created_at=row[7],
            mail_server=_mail_server(row[8]),
            question=row[9] and QuestionView.model_validate_json(row[9]),
        )
        for row in rows
    ]


def _mail_server(settings: str | None) -> MailServer | None:
    notify = json.loads(settings or "{}").get("notify") or {}
    found = notify.get("mail_server")
    return None if found is None else MailServer.model_validate(found)
