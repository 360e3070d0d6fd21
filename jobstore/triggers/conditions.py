"""Whether the body of an answer says what is waited for. Pure, and linear in its size."""

import json
import re
from functools import lru_cache
from typing import Any, Final

from jobstore.triggers.events import check_event

PATTERN_BYTES: Final = 1 << 20  # of memory that one pattern may take
_STEP: Final = re.compile(r"\.?([A-Za-z_][\w-]*|[0-9]+)|\[([0-9]+)\]|\[\"([^\"\]]*)\"\]")


class BadCondition(Exception):
    """A path or pattern that cannot be read."""


class NotMet(Exception):
    """Not yet; the message says what there is instead."""


@lru_cache(256)
def parse_path(text: str) -> tuple[str | int, ...]:
    """`$.jobs[0].state`, with or without `$.`: the steps from the whole to its part."""
    rest, steps = text.removeprefix("$"), []
    place = 0
    while place < len(rest):
        found = _STEP.match(rest, place)
        if found is None:
            raise BadCondition(f"cannot be read from character {place + 1}: write $.jobs[0].state")
        word, index, key = found.groups()
        number = index if index is not None else word if word and word.isdigit() else None
        steps.append(int(number) if number is not None else word if word is not None else key)
        place = found.end()
    return tuple(steps)


def check_pattern(text: str) -> None:
    """BadCondition: it is no regular expression, or one that RE2 does not know."""
    _compiled(text)


def check_body(
    body: bytes, select: str | None, equals: tuple[Any, ...], pattern: str | None
) -> Any:
    """What the event is to tell of the body. NotMet says why it is not what is waited for.

    `equals` is empty, or holds the one value that the selected part has to have.
    """
    if select is None:
        text = body.decode("utf-8", "replace")
        if pattern is not None and not _finds(pattern, text):
            raise NotMet("the body does not match")
        return None
    try:
        part: Any = json.loads(body)
    except (ValueError, RecursionError):
        raise NotMet("the body is not JSON") from None
    for step in parse_path(select):
        try:
            part = part[int(step) if isinstance(part, list) else str(step)]
        except (LookupError, TypeError, ValueError):
            raise NotMet(f"the body has no {select}") from None
    try:
        check_event(part)
    except ValueError:
        raise NotMet(f"{select} cannot be passed on as JSON") from None
    if equals and (part != equals[0] or isinstance(part, bool) != isinstance(equals[0], bool)):
        raise NotMet(f"{select} is another value")
    if pattern is not None:
        text = part if isinstance(part, str) else json.dumps(part, ensure_ascii=False)
        if not _finds(pattern, text):
            raise NotMet(f"{select} does not match")
    if not equals and pattern is None and (part is None or part is False):
        raise NotMet(f"{select} is {json.dumps(part)}")
    return part


def _finds(pattern: str, text: str) -> bool:
    return _compiled(pattern).search(text) is not None


@lru_cache(256)
def _compiled(text: str) -> Any:
    # RE2, because a pattern comes from a task, and one of `re` can be made to run for years.
    # Loaded at the first pattern: most job services never see one.
    import re2  # type: ignore[import-untyped]  # it has no types

    options = re2.Options()
    options.max_mem = PATTERN_BYTES
    options.log_errors = False
    try:
        return re2.compile(text, options)
    except re2.error as error:
        said = error.args[0]
        plain = said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
        raise BadCondition(f"is no pattern that RE2 knows: {plain}"[:300]) from None
