"""The two kinds of wire model."""

from pydantic import BaseModel, ConfigDict


class Message(BaseModel):
    """Between our own processes: unknown fields are ignored, so that upgrades can roll."""

    model_config = ConfigDict(
        frozen=True, extra="ignore", ser_json_bytes="base64", val_json_bytes="base64"
    )


class Document(BaseModel):
    """Written by people: unknown fields are mistakes."""

    model_config = ConfigDict(frozen=True, extra="forbid")
