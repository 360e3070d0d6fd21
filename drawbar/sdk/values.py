"""What can travel from one task to another: what JSON can say, up to a size, and nothing else.

A walk looks at every part before anything is encoded, so that a mistake is named with its place,
and a value of a gigabyte costs no more than the limit to refuse.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

MAX_DEPTH = 100
MAX_INT_BITS = 64
VALUE_BYTES = 4 * 1024 * 1024  # unless the supervisor names another limit


class BadValue(Exception):
    """The value cannot travel; the message says which part of it, and why."""


def encode(value: object, limit: int = VALUE_BYTES) -> str:
    """The value as JSON. BadValue: it cannot travel."""
    left = [limit]
    text = json.dumps(_plain(value, (), left, limit), ensure_ascii=False, separators=(",", ":"))
    if len(text) > limit or (not text.isascii() and len(text.encode()) > limit):
        raise BadValue(_too_large(limit))
    return text


def check(value: object, limit: int = VALUE_BYTES) -> object:
    """The same in plain lists and dictionaries. BadValue: it cannot travel."""
    return json.loads(encode(value, limit))


def _plain(value: object, path: tuple[str | int, ...], left: list[int], limit: int) -> object:
    """`left` is what remains of the limit, at the least that each part takes."""
    left[0] -= 2 + (len(value) if isinstance(value, str) else 0)
    if left[0] < -2:
        raise BadValue(_too_large(limit))
    if value is None or value is True or value is False:
        return value
    if isinstance(value, str):
        return _text(value, path)
    if isinstance(value, int):
        if value.bit_length() > MAX_INT_BITS:
            raise BadValue(f"{_place(path)} is a number of more than {MAX_INT_BITS} bits")
        return int(value)
    if isinstance(value, float):
        if value != value or value in (float("inf"), float("-inf")):
            raise BadValue(f"{_place(path)} is {value!r}, which JSON cannot say")
        return float(value)
    if len(path) >= MAX_DEPTH:
        raise BadValue(f"{_place(path[:4])} is nested deeper than {MAX_DEPTH} levels")
    if isinstance(value, dict):
        return dict(_items(value, path, left, limit))
    if isinstance(value, list | tuple) or getattr(value, "is_result_sequence", False):
        items: list[object] = []
        for item in value:  # type: ignore[attr-defined]  # a result sequence can be walked, too
            items.append(_plain(item, (*path, len(items)), left, limit))
        return items
    raise BadValue(
        f"{_place(path)} is of type {type(value).__qualname__}, which JSON cannot say;"
        " return text, numbers, lists and dictionaries, or keep it as an artifact"
    )


def _items(
    value: dict[object, object], path: tuple[str | int, ...], left: list[int], limit: int
) -> Iterator[tuple[str, object]]:
    for key, item in value.items():
        if not isinstance(key, str):
            raise BadValue(f"{_place(path)} has the key {str(key)[:100]!r}, which is not text")
        left[0] -= len(key)
        yield _text(key, path), _plain(item, (*path, key), left, limit)


def _text(text: str, path: tuple[str | int, ...]) -> str:
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise BadValue(f"{_place(path)} holds half of a surrogate pair") from None
    return str(text)


def _place(path: tuple[str | int, ...]) -> str:
    return "the value" + "".join(
        f"[{str(part)[:100]!r}]" if isinstance(part, str) else f"[{part}]" for part in path
    )


def _too_large(limit: int) -> str:
    return (
        f"the value has more than {limit} bytes as JSON; keep it as an artifact and return its name"
    )
