"""The states of a notification, and what may follow which."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final


class NoticeKind(StrEnum):
    EMAIL = "email"
    WEBHOOK = "webhook"
    SLACK = "slack"
    TEAMS = "teams"


class NoticeStatus(StrEnum):
    WAITING = "waiting"  # for its first try, or its next
    SENT = "sent"
    FAILED = "failed"  # refused for good, or tried for too long; kept to be looked at


class NoticeEvent(StrEnum):
    ACCEPT = "accept"  # by the other side
    DELAY = "delay"
    GIVE_UP = "give_up"


NOTICE: Final[Mapping[tuple[NoticeStatus, NoticeEvent], NoticeStatus]] = {
    (NoticeStatus.WAITING, NoticeEvent.ACCEPT): NoticeStatus.SENT,
    (NoticeStatus.WAITING, NoticeEvent.DELAY): NoticeStatus.WAITING,
    (NoticeStatus.WAITING, NoticeEvent.GIVE_UP): NoticeStatus.FAILED,
}
