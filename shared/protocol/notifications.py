"""What became of the messages that tell of a run."""

from datetime import datetime

from shared.protocol.base import Message


class NotificationView(Message):
    """A message about a run, on its way or arrived. Never its secrets."""

    kind: str  # email | webhook | slack | teams
    to: str
    status: str  # waiting | sent | failed
    tries: int
    error: str | None
    sent_at: datetime | None
    about: str = "end"  # end | question


class NotificationList(Message):
    notifications: tuple[NotificationView, ...]
