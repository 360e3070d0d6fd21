"""The frames of a line: one connection on which many calls travel at once, in any order.

A frame is the head as one line of JSON, a newline, and the body: the whole message of the verb,
`worker_id` and `attempt_id` included. See docs/adr/0013.
"""

from typing import Final, TypeVar

from pydantic import Field

from shared.protocol.base import MAX_INT64, Message

LINE: Final = "/v1/line"  # where one is opened
FRAME_BYTES: Final = 8 * 1024 * 1024
BODY_BYTES: Final = FRAME_BYTES - 64 * 1024  # a head is shorter than that
GIVE_UP: Final = "give_up"  # a verb of the line's own: nobody waits for that number any more


class CallHead(Message):
    """Above a call. `number` is the caller's and unique on this line."""

    number: int = Field(ge=0, le=MAX_INT64)
    verb: str
    token: str | None = None


class AnswerHead(Message):
    """Above an answer. The body is the verb's answer, or an error as HTTP has it."""

    number: int
    is_error: bool


H = TypeVar("H", CallHead, AnswerHead)


def pack(head: CallHead | AnswerHead, body: bytes) -> bytes:
    return head.__pydantic_serializer__.to_json(head) + b"\n" + body


def unpack(frame: bytes, model: type[H]) -> tuple[H, bytes]:
    """Head and body. ValidationError: this is no such frame."""
    head, _, body = frame.partition(b"\n")
    return model.model_validate_json(head, strict=True), body
