"""The states of a component's record, in one table."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from shared.protocol.components import ComponentStatus


class ComponentEvent(StrEnum):
    PREPARE = "prepare"
    COMPLETE = "complete"
    REPLACE = "replace"  # another was prepared for its place


S, E = ComponentStatus, ComponentEvent

# fmt: off
COMPONENT: Final[Mapping[tuple[ComponentStatus, ComponentEvent], ComponentStatus]] = {
    (S.CREATED, E.PREPARE):  S.RUNNING,
    (S.CREATED, E.REPLACE):  S.REPLACED,   # it never came to be prepared
    (S.RUNNING, E.COMPLETE): S.COMPLETED,
    (S.RUNNING, E.REPLACE):  S.REPLACED,
}
# fmt: on

ALIVE: Final = (S.CREATED, S.RUNNING)
