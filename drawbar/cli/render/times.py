"""Tables of schedules, backfills and notifications."""

from collections.abc import Sequence
from datetime import datetime

from rich.table import Table
from rich.text import Text

from drawbar.cli.render import words
from drawbar.cli.render.columns import Roomy, table
from drawbar.cli.render.tables import status_text
from shared.cron import BadSchedule, Cron
from shared.protocol.notifications import NotificationView
from shared.protocol.schedules import BackfillView, ScheduleView


def when(at: datetime) -> str:
    """In the reader's own time."""
    return f"{at.astimezone():%a %Y-%m-%d %H:%M}"


def schedules_table(schedules: Sequence[ScheduleView], now: datetime) -> Roomy:
    made = Roomy("schedule", "runs", "next", "last run", "note", kept=3)
    for view in schedules:
        made.add_row(
            Text(words.one_line(view.name)),
            Text(_in_words(view)),
            _next(view, now),
            _last(view),
            Text(_note(view)),
        )
    return made


def backfills_table(backfills: Sequence[BackfillView]) -> Roomy:
    made = Roomy(
        *("schedule", "backfill", "status", "runs", "last run", "span"),
        kept=5,
        right=("backfill", "runs"),
    )
    for view in backfills:
        missed = " (missed)" if view.kind == "missed" else ""
        made.add_row(
            Text(words.one_line(view.name) + missed),
            Text(str(view.backfill_id)),
            status_text(view.status),
            Text(f"{view.started}/{view.times}"),
            Text("" if view.last_run is None else f"run {view.last_run}"),
            Text(f"{when(view.since)} until {when(view.until)}"),
        )
    return made


def notifications_table(notifications: Sequence[NotificationView]) -> Table:
    made = table("told", "to", "status", "tries", "note", right=("tries",))
    for view in notifications:
        note = view.error or ("" if view.sent_at is None else f"at {when(view.sent_at)}")
        made.add_row(
            view.kind if view.about == "end" else f"{view.kind}: {view.about}",
            Text(words.one_line(view.to)),
            status_text(view.status),
            str(view.tries),
            Text(words.one_line(note)),
        )
    return made


def _in_words(view: ScheduleView) -> str:
    zone = "" if view.timezone == "UTC" else f" ({view.timezone})"
    try:
        return Cron(view.cron, view.timezone).explain() + zone
    except BadSchedule:  # a zone that this machine does not know
        return view.cron + zone


def _next(view: ScheduleView, now: datetime) -> Text:
    if view.is_paused:
        return Text("paused", style="yellow")
    if view.next_at is None:
        return Text("never")
    seconds = (view.next_at - now).total_seconds()
    soon = "now" if seconds <= 0 else f"in {words.duration(seconds)}"
    return Text(f"{when(view.next_at)}, {soon}")


def _last(view: ScheduleView) -> Text:
    if view.last_run is None or view.last_at is None:
        return Text("")
    text = Text(f"run {view.last_run} for {view.last_at.astimezone():%m-%d %H:%M} ")
    return text.append_text(status_text(view.last_status)) if view.last_status else text


def _note(view: ScheduleView) -> str:
    notes = []
    if view.queued:
        notes.append(f"{words.count(view.queued, 'time')} queued")
    if view.skipped_at is not None:
        notes.append(f"skipped {view.skipped_at.astimezone():%m-%d %H:%M}: {view.skipped_why}")
    return words.one_line("; ".join(notes))
