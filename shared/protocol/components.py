"""Components: the long-running parts of an installation, each recorded while it lives.

A record is made, prepared for execution, heard of while its part executes, and completed. It is
fenced: one that takes the place of another raises the fence, and whoever holds the old one is
refused from then on.
"""

from datetime import datetime
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from shared.protocol.base import Fence, Message
from shared.protocol.pipeline import Name

ComponentId = Annotated[str, Field(min_length=1, max_length=100)]
Owner = Annotated[str, Field(max_length=200)]


class ComponentStatus(StrEnum):
    """What was recorded. Whether a running one is still heard of is in `ComponentView`."""

    CREATED = "created"
    RUNNING = "running"
    COMPLETED = "completed"
    REPLACED = "replaced"  # another has its place: it died, or has to stop


class CreateComponent(Message):
    """`kind` and `name` are its place, of which one component at a time is the holder."""

    component_id: ComponentId  # made by the caller: sent twice, it is one component
    owner: Owner = ""  # the worker that speaks for it; empty: a part of the job service's process
    kind: Name
    name: Name
    host: Name
    pid: int = Field(ge=0, le=2**31)
    interval_s: float = Field(gt=0, le=3_600)  # between its beats


class PrepareComponent(Message):
    component_id: ComponentId
    owner: Owner = ""


class PreparedComponent(Message):
    """It holds its place, and every later message carries the fence."""

    fence: Fence


class ComponentBeat(Message):
    component_id: ComponentId
    owner: Owner = ""
    fence: Fence


class CompleteComponent(Message):
    component_id: ComponentId
    owner: Owner = ""
    fence: Fence
    reason: str = Field(default="", max_length=500)


class Liveness(StrEnum):
    LIVE = "live"
    STALE = "stale"  # not heard of for three of its intervals: it died, or cannot reach us
    ENDED = "ended"


class ComponentView(Message):
    component_id: ComponentId
    kind: str
    name: str
    host: str
    pid: int
    status: ComponentStatus
    state: Liveness
    fence: int
    created_at: datetime
    beat_at: datetime
    silent_s: float
    ended_at: datetime | None
    reason: str | None


class ComponentFilter(Message):
    with_ended: bool = False


class ComponentList(Message):
    components: tuple[ComponentView, ...]
