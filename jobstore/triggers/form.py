"""A person's answer, held against what was asked. Pure."""

from collections.abc import Iterable
from datetime import datetime

from pydantic import JsonValue

from jobstore.triggers.kinds import Question
from shared.errors import BadRequest
from shared.protocol.questions import MAX_TEXT, AnswerRequest, FieldKind, FormField

_YES = ("true", "yes", "y", "1", "on")
_NO = ("false", "no", "n", "0", "off")


class _Wrong(Exception):
    """A value that does not fit its field."""


def event_of(question: Question, ask: AnswerRequest, at: datetime) -> JsonValue:
    """What the task is told. BadRequest names everything that is wrong, and what would be right."""
    mistakes: list[str] = []
    if question.choices and ask.choice not in question.choices:
        given = "no choice was made" if ask.choice is None else f"{ask.choice!r} is no choice"
        mistakes.append(f"{given}: there are {_listed(question.choices)}")
    if not question.choices and ask.choice is not None:
        mistakes.append("there is nothing to choose: give values by name")
    known = {field.name: field for field in question.fields}
    mistakes += [
        f"there is no field {name!r}: there are {_listed(known)}"
        for name in ask.values
        if name not in known
    ]
    values: dict[str, JsonValue] = {}
    for name, field in known.items():
        try:
            values[name] = _read(field, ask.values.get(name, field.default))
        except _Wrong as wrong:
            mistakes.append(f"{name}: {wrong}")
    if mistakes:
        raise BadRequest("; ".join(mistakes)[:2_000], question=question.question)
    return {"choice": ask.choice, "values": values, "by": ask.by, "at": at.isoformat()}


def _read(field: FormField, value: JsonValue) -> JsonValue:
    if value is None:
        raise _Wrong(f"has to be given ({field.kind.value})")
    match field.kind:
        case FieldKind.TEXT:
            if not isinstance(value, str) or len(value) > MAX_TEXT:
                raise _Wrong(f"takes text of at most {MAX_TEXT} characters")
            return value
        case FieldKind.CHOICE:
            if value not in field.choices:
                raise _Wrong(f"takes {_listed(field.choices)}")
            return value
        case FieldKind.BOOLEAN:
            return _boolean(value)
        case FieldKind.NUMBER:
            return _number(value)


def _boolean(value: JsonValue) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in (*_YES, *_NO):
        return value.lower() in _YES
    raise _Wrong("takes yes or no")


def _number(value: JsonValue) -> int | float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and len(value) <= 40:
        for kind in (int, float):
            try:
                number = kind(value)
            except ValueError:
                continue
            if number == number and abs(number) != float("inf"):  # JSON knows neither
                return number
    raise _Wrong("takes a number")


def _listed(names: Iterable[str]) -> str:
    return ", ".join(map(repr, names)) or "none"
