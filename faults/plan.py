"""Faults at points, as people write them down."""

from typing import Annotated, Final

from pydantic import Field, model_validator

from faults.points import Action, matching
from shared.errors import BY_CODE
from shared.protocol.base import Document

DAY_S: Final = 86_400
Seconds = Annotated[float, Field(ge=0, le=DAY_S)]
Glob = Annotated[str, Field(min_length=1, max_length=200)]


class PointFault(Document):
    """Whenever a step reaches `at`, and all the conditions hold: `action`, if the dice say so."""

    at: Glob  # a point's name, with wildcards
    action: Action
    # Of a delay or a pause; how long to hold a call; how far a clock is ahead, or behind (< 0).
    seconds: float = Field(default=0.1, ge=-DAY_S, le=DAY_S)
    rate: float = Field(default=2.0, ge=-1_000, le=1_000)  # of a clock: 1 is right, 0 stands still
    code: str = Field(default="unavailable", max_length=50)  # of an error
    probability: float = Field(default=1.0, ge=0, le=1)
    times: int | None = Field(default=None, ge=1)  # None: for as long as it is on
    skip: int = Field(default=0, ge=0)  # let so many pass first
    seed: int | None = None  # of its dice; None: they follow from the plan's, and its place there
    worker: Glob | None = None  # only where this worker is concerned
    run: int | None = None
    job: Glob | None = None
    after_s: Seconds = 0.0  # since the plan was put in force
    until_s: Seconds | None = None

    @model_validator(mode="after")
    def _can_be_done(self) -> "PointFault":
        points = matching(self.at)
        if not points:
            raise ValueError(f"no point is called {self.at!r}; `drawbar faults` lists them")
        if not any(self.action in point.actions for point in points):
            can = sorted({action.value for point in points for action in point.actions})
            raise ValueError(f"{self.action.value!r} cannot be done at {self.at!r}; {can} can")
        if self.code not in BY_CODE:
            raise ValueError(
                f"no error has the code {self.code!r}; {', '.join(sorted(BY_CODE))} are"
            )
        if self.seconds < 0 and self.action is not Action.CLOCK_SKEW:
            raise ValueError("only a clock can be wrong by less than no seconds")
        if self.until_s is not None and self.until_s <= self.after_s:
            raise ValueError("until_s has to be later than after_s")
        return self


class PointPlan(Document):
    """Faults of one daemon. The same seed makes the same choices in the same order of events."""

    seed: int = 0
    faults: tuple[PointFault, ...] = Field(default=(), max_length=1_000)
