"""What deferred tasks ask of people, and what people answer."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Final

from pydantic import Field, JsonValue, StringConstraints

from shared.ids import JobId, RunId
from shared.protocol.base import Document, Message

MAX_FIELDS: Final = 50
MAX_CHOICES: Final = 100
MAX_TEXT: Final = 10_000  # characters of one answer

Line = Annotated[
    str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")
]


class FieldKind(StrEnum):
    TEXT = "text"
    NUMBER = "number"
    BOOLEAN = "boolean"
    CHOICE = "choice"


class FormField(Document):
    """One thing that is asked for."""

    name: Line
    kind: FieldKind = FieldKind.TEXT
    label: str = Field(default="", max_length=500)
    choices: tuple[Line, ...] = Field(default=(), max_length=MAX_CHOICES)
    default: JsonValue = None  # None: it has to be given


class QuestionView(Message):
    """A question that is open."""

    run_id: RunId
    job_id: JobId
    pipeline: str
    question: str
    choices: tuple[str, ...]
    fields: tuple[FormField, ...]
    asked_at: datetime
    until: datetime | None  # then the task goes on, or fails, without an answer


class QuestionList(Message):
    questions: tuple[QuestionView, ...]


class PostCallback(Message):
    """What somebody posts to a URL that a task gave them."""

    callback_id: str = Field(min_length=1, max_length=100)
    secret: str = Field(min_length=1, max_length=200, repr=False)
    event: JsonValue


class AnswerRequest(Message):
    """What a person answers. Texts are read as the kinds of their fields want them."""

    run_id: RunId
    job_id: JobId
    by: str = Field(min_length=1, max_length=200)
    choice: str | None = Field(default=None, max_length=200)
    values: dict[str, JsonValue] = Field(default_factory=dict, max_length=MAX_FIELDS)
