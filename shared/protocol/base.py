"""The two kinds of wire model."""

from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field

MAX_INT64: Final = 2**63 - 1  # what every store can keep

Fence = Annotated[int, Field(ge=1, le=MAX_INT64)]
Bytes = Annotated[int, Field(ge=0, le=MAX_INT64)]
Number = Annotated[int, Field(ge=-MAX_INT64, le=MAX_INT64)]


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
