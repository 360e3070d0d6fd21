"""The two kinds of wire model."""

import re
from datetime import datetime
from typing import Annotated, Any, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

MAX_INT64: Final = 2**63 - 1  # what every store can keep

Fence = Annotated[int, Field(ge=1, le=MAX_INT64)]
Bytes = Annotated[int, Field(ge=0, le=MAX_INT64)]
Number = Annotated[int, Field(ge=-MAX_INT64, le=MAX_INT64)]

_FIGURES: Final = re.compile(r"\s*[-+]?[0-9.]+\s*")


def _is_written_out(value: Any) -> Any:
    """Seconds since 1970 are no time that somebody means: `since=2026` would be in that year's
    place half past midnight of 1 January 1970."""
    if isinstance(value, str) and _FIGURES.fullmatch(value):
        raise ValueError("must be a date and a time, like 2026-01-31T10:00:00Z")
    return value


# Of a query: what JSON holds is looked at strictly, before it would come here.
Moment = Annotated[datetime, BeforeValidator(_is_written_out)]


class Message(BaseModel):
    """Between our own processes: unknown fields are ignored, so that upgrades can roll."""

    model_config = ConfigDict(
        frozen=True,
        extra="ignore",
        allow_inf_nan=False,  # JSON cannot carry them back
        ser_json_bytes="base64",
        val_json_bytes="base64",
    )


class Document(BaseModel):
    """Written by people: unknown fields are mistakes."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
