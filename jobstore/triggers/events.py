"""What can be told of what came about: JSON that everybody on its way can write and read. Pure."""

from typing import Final

from pydantic import JsonValue
from pydantic_core import from_json, to_json

ROOM: Final = 20  # levels of the messages that it travels in; their readers stop at 200


def check_event(event: JsonValue) -> None:
    """ValueError: it has NaN or infinity, half of a character, or too many lists in lists.

    Python reads such JSON, and others say it: whoever passed it on would break at it.
    """
    from_json(b"[" * ROOM + to_json(event) + b"]" * ROOM, allow_inf_nan=False)
