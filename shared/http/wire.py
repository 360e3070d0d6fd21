"""What both ends of an HTTP hop must agree on: header names, and which fields travel where."""

import re
from collections.abc import Mapping
from typing import Any, Final, Generic, TypeVar
from urllib.parse import quote

from pydantic import BaseModel, Field, create_model

from shared.errors import BadRequest
from shared.protocol import components as c
from shared.protocol import execution as e
from shared.protocol import gateway as g
from shared.protocol import jobs as j
from shared.protocol import registry as r
from shared.protocol.base import Fence, Message
from shared.protocol.questions import AnswerRequest
from shared.protocol.schedules import BackfillRequest
from shared.protocol.states import Desired

M = TypeVar("M", bound=Message)

PROTOCOL: Final = "Drawbar-Protocol"
WORKER: Final = "Drawbar-Worker"  # for whom a gateway asks
FENCE: Final = "Drawbar-Fence"  # where the body is bytes
SHA256: Final = "Drawbar-Sha256"
REASON: Final = "Drawbar-Reason"  # why there is no job
STATE: Final = "Drawbar-Attempt-State"
REFRESHED: Final = "Refreshed-API-Token"
KEY: Final = "Idempotency-Key"
RANGE: Final = "Range"
CONTENT_RANGE: Final = "Content-Range"
RETRY_AFTER: Final = "Retry-After"


class AskBody(Message):
    """A request of a running task, whose attempt is in the path."""

    fence: Fence
    request: e.DataRequest | e.ListDependencies = Field(discriminator="ask")


class Split(Generic[M]):
    """A message some of whose fields travel outside the body: in path, token or headers."""

    def __init__(self, model: type[M], *outside: str) -> None:
        self._model = model
        self._outside = set(outside)
        fields: dict[str, Any] = {
            name: (info.annotation, info)
            for name, info in model.model_fields.items()
            if name not in self._outside
        }
        self.body: type[BaseModel] = create_model(
            f"{model.__name__}Body", __base__=Message, **fields
        )

    def dump(self, message: M) -> bytes:
        """The body of `message`, as JSON."""
        return message.__pydantic_serializer__.to_json(message, exclude=self._outside)

    def join(self, body: BaseModel, **outside: Any) -> M:
        """The whole message. What the sender wrote of the outside fields was never read."""
        return self._model(**vars(body), **outside)


_NUMBER: Final = re.compile(r"[0-9]{1,18}")


def fence_of(headers: Mapping[str, str]) -> int:
    """BadRequest: there is no such header, or it is no number."""
    text = headers.get(FENCE, "")
    if _NUMBER.fullmatch(text) is None:
        raise BadRequest(f"{FENCE} must be a whole number", header=FENCE)
    return int(text)


def number_of(text: str, field: str, *, at_least: int = 0, at_most: int = 10**18 - 1) -> int:
    """What a query says of a number. BadRequest: it is none, or too small or large."""
    if _NUMBER.fullmatch(text) is None or not at_least <= int(text) <= at_most:
        raise BadRequest(f"{field} must be a number from {at_least} to {at_most}", field=field)
    return int(text)


def flag_of(text: str, field: str) -> bool:
    """What a query says of a thing that is true or false."""
    if text.lower() not in ("true", "false", "1", "0"):
        raise BadRequest(f"{field} must be true or false", field=field)
    return text.lower() in ("true", "1")


CLAIM: Final = Split(g.ClaimRequest, "worker_id")
REFUSE: Final = Split(g.RefuseRequest, "worker_id", "attempt_id")
RUN: Final = Split(g.RunRequest, "worker_id", "attempt_id")
HEARTBEATS: Final = Split(g.HeartbeatRequest, "worker_id")
HEARTBEAT: Final = Split(g.LeaseBeat, "attempt_id")
FINISH: Final = Split(g.FinishRequest, "worker_id", "attempt_id")
SUBMIT: Final = Split(j.SubmitRequest, "idempotency_key")
RETRY: Final = Split(j.RetryRequest, "idempotency_key", "run_id")
CANCEL: Final = Split(j.CancelRequest, "run_id")
APPROVE: Final = Split(j.ApproveRequest, "run_id", "job_id", "by")  # who, says the token
MARK: Final = Split(j.MarkRequest, "run_id", "job_id", "by")
ANSWER: Final = Split(AnswerRequest, "run_id", "job_id", "by")
BACKFILL: Final = Split(BackfillRequest, "idempotency_key", "name")
CREATE_COMPONENT: Final = Split(c.CreateComponent, "owner")
BEAT_COMPONENT: Final = Split(c.ComponentBeat, "owner", "component_id")
COMPLETE_COMPONENT: Final = Split(c.CompleteComponent, "owner", "component_id")
REPORT: Final = Split(r.StatusReport, "worker_id")
WISH: Final = Split(r.WishRequest, "desired", "by")  # the last step of its path, and the token
SETTINGS: Final = Split(r.SettingsRequest, "by")
WISHES: Final = {
    "drain": Desired.DRAIN,
    "pause": Desired.PAUSE,
    "resume": Desired.RUN,
    "stop": Desired.STOP,
    "restart": Desired.RESTART,
}


def path(*steps: str | int) -> str:
    """The steps as an absolute path; a step that holds any character stays one step."""
    return "".join(f"/{_step(str(step))}" for step in steps)


_PLAIN: Final = re.compile(r"[A-Za-z0-9_-]+")


def _step(step: str) -> str:
    if _PLAIN.fullmatch(step):  # an id, and every verb: not worth a call of quote
        return step
    # A dot step would be resolved away on its travels, however it was written.
    return step.replace(".", "%2E") if step in (".", "..") else quote(step, safe="")


def checked_key(key: str) -> str:
    """An Idempotency-Key as it may travel in a header."""
    if not (0 < len(key) <= 200 and key.isascii() and key.isprintable()):
        raise BadRequest(f"{KEY} must be 1 to 200 printable characters", header=KEY)
    return key


def artifact_path(text: str) -> str:
    """An artifact's path as the rest of a URL: its slashes stay slashes."""
    return quote(text)


def content_range(offset: int, size_bytes: int) -> str:
    """RFC 9110 section 14.4; no bytes at all are written `bytes */offset`."""
    if size_bytes == 0:
        return f"bytes */{offset}"
    return f"bytes {offset}-{offset + size_bytes - 1}/*"


def part_range(offset: int, size_bytes: int, total: int) -> str:
    """Of a part of a whole whose size is known; no bytes at all are written `bytes */TOTAL`."""
    if size_bytes == 0:
        return f"bytes */{total}"
    return f"bytes {offset}-{offset + size_bytes - 1}/{total}"


_PART_RANGE: Final = re.compile(r"bytes (?:\*|([0-9]{1,18})-([0-9]{1,18}))/([0-9]{1,18})")


def parse_part_range(text: str) -> tuple[int, int, int]:
    """Offset and size of the part that the body holds, and the size of the whole."""
    found = _PART_RANGE.fullmatch(text)
    if found is None:
        raise BadRequest("Content-Range must read 'bytes FIRST-LAST/SIZE'", header=CONTENT_RANGE)
    first, last, total = found.groups()
    if first is None:
        return 0, 0, int(total)
    if not int(first) <= int(last) < int(total):
        raise BadRequest("Content-Range contradicts itself", header=CONTENT_RANGE)
    return int(first), int(last) - int(first) + 1, int(total)


_CONTENT_RANGE: Final = re.compile(
    r"bytes (?:\*/([0-9]{1,18})|([0-9]{1,18})-([0-9]{1,18})/(?:\*|([0-9]{1,18})))"
)


def parse_content_range(text: str | None) -> tuple[int, int]:
    """Offset and size of the bytes that the body holds."""
    found = _CONTENT_RANGE.fullmatch(text or "")
    if found is None:
        raise BadRequest("Content-Range must read 'bytes FIRST-LAST/*'", header=CONTENT_RANGE)
    empty, first, last, total = found.groups()
    if empty is not None:
        return int(empty), 0
    if int(last) < int(first) or (total is not None and int(total) <= int(last)):
        raise BadRequest("Content-Range contradicts itself", header=CONTENT_RANGE)
    return int(first), int(last) - int(first) + 1
