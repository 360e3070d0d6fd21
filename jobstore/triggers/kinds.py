"""What a deferred task can wait for: each kind, what it wants to know, and how it is told. Pure."""

import os
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    AwareDatetime,
    Field,
    JsonValue,
    StringConstraints,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from jobstore.triggers.conditions import BadCondition, check_pattern, parse_path
from shared.ids import JobId, RunId
from shared.logs import is_secret
from shared.protocol.base import Document
from shared.protocol.execution import TriggerSpec
from shared.protocol.pipeline import MAX_DURATION_S, Name
from shared.protocol.questions import (
    MAX_CHOICES,
    MAX_FIELDS,
    FieldKind,
    FormField,
    Line,
    QuestionView,
)

MAX_SAYS: Final = 300


class BadTrigger(Exception):
    """A trigger that means nothing; the message says why."""


def _is_web(url: str) -> str:
    try:
        parts = urlsplit(url)
        is_good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_good = False
    if not is_good or not url.isprintable() or " " in url:
        raise ValueError("must be a URL that begins with http:// or https://")
    if "@" in parts.netloc:
        raise ValueError("holds a user: name a connection of drawbar instead")
    return url


def _is_plain(headers: dict[str, str]) -> dict[str, str]:
    for name, value in headers.items():
        if is_secret(name.replace("-", "_")) or name.lower() in (
            "cookie",
            "authorization",
            "proxy-authorization",
        ):
            raise ValueError(f"{name} is a secret: name a connection of drawbar instead")
        if not (name.isascii() and name.replace("-", "").isalnum() and value.isprintable()):
            raise ValueError("names are letters, digits and dashes; values are one line")
    return headers


def _is_pattern(text: str) -> str:
    try:
        check_pattern(text)
    except BadCondition as error:
        raise ValueError(str(error)) from None
    return text


def _is_path(text: str) -> str:
    try:
        parse_path(text)
    except BadCondition as error:
        raise ValueError(str(error)) from None
    return text


def _is_absolute(path: str) -> str:
    if not path.startswith("/") or "\x00" in path:
        raise ValueError("must begin with '/': the job service has no working directory")
    if is_pattern(os.path.dirname(path)):
        raise ValueError("may have * ? [ in the file's name only, and not in its folder")
    return path


def is_pattern(path: str) -> bool:
    return any(mark in path for mark in "*?[")


class Time(Document):
    kind: Literal["time"]
    at: AwareDatetime


class Delta(Document):
    kind: Literal["delta"]
    seconds: float = Field(ge=0, le=MAX_DURATION_S)


class File(Document):
    """A file is there, and has not been written to for `settled_s`. Its name may be a pattern."""

    kind: Literal["file"]
    path: Annotated[str, Field(max_length=4_000), AfterValidator(_is_absolute)]
    settled_s: float = Field(default=0.0, ge=0, le=86_400)
    every_s: float = Field(default=5.0, ge=1, le=86_400)


class Http(Document):
    """An answer is as it is wanted: its status, and what its body says."""

    kind: Literal["http"]
    url: Annotated[str, Field(max_length=4_000), AfterValidator(_is_web)]
    method: Literal["GET", "HEAD"] = "GET"
    headers: Annotated[dict[str, str], Field(max_length=50), AfterValidator(_is_plain)] = Field(
        default_factory=dict
    )
    connection: Name | None = None  # whose user and password, or token, go along
    status: tuple[Annotated[int, Field(ge=100, le=599)], ...] = ()  # empty: 200 to 299
    select: Annotated[str, Field(max_length=1_000), AfterValidator(_is_path)] | None = None
    equals: JsonValue = None
    matches: Annotated[str, Field(max_length=1_000), AfterValidator(_is_pattern)] | None = None
    every_s: float = Field(default=30.0, ge=1, le=86_400)
    patience_s: float = Field(default=10.0, ge=0.1, le=60)

    @model_validator(mode="after")
    def _can_be_met(self) -> "Http":
        if self.method == "HEAD" and (self.select is not None or self.matches is not None):
            raise ValueError("the answer to HEAD has no body to look into")
        if "equals" in self.model_fields_set and self.select is None:
            raise ValueError("equals needs select, which says what of the body is compared")
        return self


class Run(Document):
    """A run has ended, however."""

    kind: Literal["run"]
    run_id: Annotated[RunId, Field(ge=1, le=2**63 - 1)]


class Job(Document):
    """A job has ended, however; of the task's own run unless `run_id` names another."""

    kind: Literal["job"]
    job_id: Annotated[JobId, Field(min_length=1, max_length=220)]
    run_id: Annotated[RunId, Field(ge=1, le=2**63 - 1)] | None = None


class Callback(Document):
    """Something was posted to a URL that the task asked for before."""

    kind: Literal["callback"]
    callback_id: Annotated[str, StringConstraints(min_length=1, max_length=100)]


class Question(Document):
    """A person has answered."""

    kind: Literal["question"]
    question: str = Field(min_length=1, max_length=2_000)
    choices: tuple[Line, ...] = Field(default=(), max_length=MAX_CHOICES)
    fields: tuple[FormField, ...] = Field(default=(), max_length=MAX_FIELDS)

    @model_validator(mode="after")
    def _can_be_answered(self) -> "Question":
        names = [field.name for field in self.fields]
        if len(set(names)) < len(names):
            raise ValueError("two fields have the same name")
        for field in self.fields:
            if (field.kind is FieldKind.CHOICE) != bool(field.choices):
                raise ValueError(f"field {field.name!r}: choices are for a field of kind choice")
        return self


Trigger = Time | Delta | File | Http | Run | Job | Callback | Question
_triggers: TypeAdapter[Trigger] = TypeAdapter(Annotated[Trigger, Field(discriminator="kind")])
KINDS: Final[Sequence[str]] = (
    *("time", "delta", "file", "http", "run", "job", "callback", "question"),
)


def read_trigger(spec: TriggerSpec) -> Trigger:
    """BadTrigger names the parameter that is wrong, never its value."""
    if spec.kind not in KINDS:
        raise BadTrigger(f"there is no trigger {spec.kind!r}: there are {', '.join(KINDS)}")
    try:
        return _triggers.validate_python({**spec.params, "kind": spec.kind})
    except ValidationError as error:
        found = error.errors(include_input=False, include_url=False, include_context=False)[0]
        place = ".".join(str(step) for step in found["loc"][1:])
        said = found["msg"].removeprefix("Value error, ")
        at = f"{place}: {said}" if place else said
        raise BadTrigger(f"the trigger {spec.kind!r} is wrong: {at}"[:1_000]) from None


def params_of(trigger: Trigger) -> dict[str, Any]:
    return trigger.model_dump(mode="json", exclude={"kind"}, exclude_unset=True)


def question_view(
    run_id: int,
    job_id: str,
    pipeline: str,
    asked: Question,
    asked_at: datetime,
    timeout_s: float | None,
) -> QuestionView:
    """The question as people see it."""
    return QuestionView(
        run_id=RunId(run_id),
        job_id=JobId(job_id),
        pipeline=pipeline,
        question=asked.question,
        choices=asked.choices,
        fields=asked.fields,
        asked_at=asked_at,
        until=None if timeout_s is None else asked_at + timedelta(seconds=timeout_s),
    )


def says(trigger: Trigger, now: datetime) -> str:
    """What is waited for, for people; nothing that could be a secret."""
    match trigger:
        case Time():
            text = f"until {_moment(trigger.at)}"
        case Delta():
            text = f"until {_moment(now + timedelta(seconds=trigger.seconds))}"
        case File():
            what = "a file like" if is_pattern(trigger.path) else "the file"
            text = f"for {what} {trigger.path}"
        case Http():
            parts = urlsplit(trigger.url)
            text = f"for {parts.scheme}://{parts.netloc}{parts.path}"
        case Run():
            text = f"for the end of run {trigger.run_id}"
        case Job():
            of = "" if trigger.run_id is None else f" of run {trigger.run_id}"
            text = f"for the end of {trigger.job_id}{of}"
        case Callback():
            text = "for a callback"
        case Question():
            text = f"for an answer: {trigger.question}"
    return "".join(c if c.isprintable() else " " for c in text)[:MAX_SAYS]


def _moment(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
