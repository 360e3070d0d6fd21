"""The states of a notification, and what may follow which."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final


class NotificationKind(StrEnum):
    EMAIL = "email"
    WEBHOOK = "webhook"
    SLACK = "slack"
    TEAMS = "teams"


class NotificationStatus(StrEnum):
    WAITING = "waiting"  # for its first try, or its next
    SENT = "sent"
    FAILED = "failed"  # refused for good, or tried for too long; kept to be looked at


class NotificationEvent(StrEnum):
    ACCEPT = "accept"  # by the other side
    DELAY = "delay"
    GIVE_UP = "give_up"


NOTIFICATION: Final[Mapping[tuple[NotificationStatus, NotificationEvent], NotificationStatus]] = {
    (NotificationStatus.WAITING, NotificationEvent.ACCEPT): NotificationStatus.SENT,
    (NotificationStatus.WAITING, NotificationEvent.DELAY): NotificationStatus.WAITING,
    (NotificationStatus.WAITING, NotificationEvent.GIVE_UP): NotificationStatus.FAILED,
}
