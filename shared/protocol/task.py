"""Frames between a supervisor and a task runner: one JSON object a line, in both directions.

The supervisor writes a start frame on the runner's stdin, then one reply for each request. The
runner writes requests on its stdout. docs/task-protocol.md is the description for people who
write runners in other languages.
"""

from datetime import datetime
from typing import Annotated, Any, Final, Literal

from pydantic import Field, JsonValue, TypeAdapter, ValidationError
from pydantic_core import from_json, to_json

from shared.errors import ServiceError, to_wire
from shared.ids import AttemptId, JobId, RunId
from shared.protocol import execution as e
from shared.protocol.base import Message
from shared.protocol.gateway import ArtifactPath, DependencyResult
from shared.protocol.pipeline import TaskSpec

VERSION: Final = 1
FRAME_BYTES: Final = 8 * 1024 * 1024  # with its newline
MAX_ID: Final = 2**53 - 1  # what every JSON reader can keep
MAX_SECRETS: Final = 100  # in one frame

# -- supervisor to runner -----------------------------------------------------------------------


class StartFrame(Message):
    """The first line: what to do, and all that is known about it."""

    kind: Literal["start"] = "start"
    protocol: int  # a runner that does not speak it answers with `fail`, which never changes
    attempt_id: AttemptId
    run_id: RunId
    pipeline: str
    job_id: JobId
    map_index: int | None
    tries: int  # this one included
    tries_left: int
    should_retry: bool
    timeout_s: float
    started_at: datetime
    logical_date: datetime | None
    params: dict[str, JsonValue]
    dependencies: tuple[DependencyResult, ...]
    task: TaskSpec
    folder: str | None  # where the bundle's files are; read only
    resume: e.Resumption | None
    frame_bytes: int = FRAME_BYTES
    value_bytes: int = e.MAX_VALUE_BYTES


# -- runner to supervisor -----------------------------------------------------------------------


class MaskSecret(Message):
    """None of these values appears in the log from now on."""

    ask: Literal["mask_secret"] = "mask_secret"
    values: tuple[Annotated[str, Field(max_length=100_000)], ...] = Field(max_length=MAX_SECRETS)


class PublishArtifact(Message):
    """A file below the working directory is to be kept when the task has succeeded."""

    ask: Literal["publish_artifact"] = "publish_artifact"
    path: ArtifactPath


Request = Annotated[
    e.DataRequest
    | MaskSecret
    | PublishArtifact
    | e.Succeed
    | e.Fail
    | e.Skip
    | e.Retry
    | e.Defer
    | e.Reschedule,
    Field(discriminator="ask"),
]

_requests: TypeAdapter[Request] = TypeAdapter(Request)


class BadFrame(Exception):
    """A line that is no request. `id` is its number, where one could be read."""

    def __init__(self, message: str, id: int | None = None) -> None:
        self.id = id
        super().__init__(message)


def decode_request(line: bytes) -> tuple[int, Request]:
    """The number of a request, and the request. BadFrame says what is wrong with it."""
    if len(line) > FRAME_BYTES:
        raise BadFrame(f"a frame may have {FRAME_BYTES} bytes, this one has {len(line)}")
    try:
        frame = from_json(line, allow_inf_nan=False)
    except ValueError as error:
        raise BadFrame(f"not a line of JSON: {error}") from None
    if not isinstance(frame, dict):
        raise BadFrame(f"a frame is a JSON object, this is {_kind_of(frame)}")
    number = frame.pop("id", None)
    if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number <= MAX_ID:
        raise BadFrame("'id' must be a whole number from 0 to 2**53 - 1")
    if "ask" not in frame:
        raise BadFrame("there is no 'ask', which says what is wanted", number)
    try:
        return number, _requests.validate_python(frame)
    except ValidationError as error:
        raise BadFrame(_in_words(error), number) from None


def encode_request(number: int, request: Request) -> bytes:
    """The line that a runner writes."""
    return to_json({"id": number, **request.model_dump(mode="json", exclude_unset=False)}) + b"\n"


def encode_start(frame: StartFrame) -> bytes:
    return frame.__pydantic_serializer__.to_json(frame) + b"\n"


def encode_reply(number: int | None, answer: Message | None) -> bytes:
    """The request was done; `answer` is what it asked for, if it asked for something."""
    return to_json({"id": number, "ok": {} if answer is None else answer}) + b"\n"


def encode_error(number: int | None, error: ServiceError) -> bytes:
    """It was not. A request whose number could not be read is answered with id null."""
    return to_json({"id": number, "error": to_wire(error)}, serialize_unknown=True) + b"\n"


def _in_words(error: ValidationError) -> str:
    """What is wrong, without the value: it may be a secret."""
    problem = error.errors(include_input=False, include_url=False)[0]
    if problem["type"] == "union_tag_invalid":
        return f"unknown ask {str(problem['ctx']['tag'])[:100]!r}"
    place = ".".join(str(part) for part in problem["loc"])[:200]
    return f"{place}: {problem['msg']}"[:500]


def _kind_of(value: Any) -> str:
    match value:
        case list():
            return "a list"
        case str():
            return "text"
        case None:
            return "null"
        case _:
            return "a number" if not isinstance(value, bool) else "true or false"
