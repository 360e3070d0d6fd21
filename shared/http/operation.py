"""What a route takes and gives, said once, on the handler that does it.

`/openapi.json` is made of these (shared/http/openapi.py), and nothing else describes the API.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, TypeVar

from pydantic import BaseModel

from shared.errors import ServiceError
from shared.http.admission import Rank
from shared.tokens import Role

H = TypeVar("H", bound=Callable[..., Any])

_SAID: Final = "__drawbar_operation__"


class Key(StrEnum):
    """What opens a route, as `Authorization: Bearer`."""

    PERSON = "person"  # a client token, with a role
    WORKER = "worker"  # a token of the worker or of its attempt; at the job service, a gateway's
    TASK = "task"  # the execution token of a running attempt
    ENROLMENT = "enrolment"  # the installation's enrolment secret
    NOBODY = "nobody"  # nothing has to be shown


class Content(StrEnum):
    """Bodies that are no message."""

    NONE = ""
    EMPTY = "{}"  # of JSON
    ANY = "application/json"  # JSON that is not ours
    BYTES = "application/octet-stream"
    EVENTS = "text/event-stream"


Body = type[BaseModel] | Content


@dataclass(frozen=True, slots=True)
class Given:
    """A parameter of the query or a header."""

    name: str
    schema: Mapping[str, Any]
    is_required: bool = False
    where: str = "query"


def header(name: str, *, is_required: bool = True, **schema: Any) -> Given:
    return Given(name, {"type": "string", **schema}, is_required, "header")


def flag(name: str) -> Given:
    return Given(name, {"type": "boolean", "default": False})


def number(name: str, *, at_least: int = 0, at_most: int = 10**18 - 1) -> Given:
    return Given(name, {"type": "integer", "minimum": at_least, "maximum": at_most})


@dataclass(frozen=True, slots=True)
class Operation:
    """One route, as others have to know it."""

    key: Key
    replies: Mapping[int, Body | tuple[Body, ...]]
    role: Role | None = None  # the least that a person needs
    body: Body = Content.NONE
    query: type[BaseModel] | None = None  # whose fields are parameters
    given: tuple[Given, ...] = ()
    errors: tuple[type[ServiceError], ...] = ()  # besides those that every route knows
    reply_headers: tuple[str, ...] = ()
    name: str = ""  # empty: the handler's
    says: str = ""  # empty: the handler's docstring
    paths: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # steps that are special
    rank: Rank | None = None  # None: what its key and its replies say


def operation(
    key: Key,
    replies: Mapping[int, Body | tuple[Body, ...]],
    **more: Any,
) -> Callable[[H], H]:
    """The handler does that operation."""
    said = Operation(key, replies, **more)

    def say(handler: H) -> H:
        setattr(handler, _SAID, said)
        return handler

    return say


def operation_of(handler: Any) -> Operation | None:
    """None: nothing was said of it."""
    said = getattr(handler, _SAID, None)
    assert said is None or isinstance(said, Operation)
    return said


def query_of(handler: Any) -> frozenset[str] | None:
    """The parameters that its query may have. None: any, as what is open to everybody is called
    by others' webhooks and probes, which add some of their own."""
    said = operation_of(handler)
    if said is None or said.key is Key.NOBODY:
        return None
    fields = said.query.model_fields if said.query is not None else {}
    return frozenset(fields) | {given.name for given in said.given if given.where == "query"}


def rank_of(handler: Any) -> Rank:
    """How soon its calls are turned away when there is too much to do."""
    said = operation_of(handler)
    if said is None or said.rank is not None:
        return Rank.PEOPLE if said is None or said.rank is None else said.rank
    if said.key is Key.ENROLMENT:
        return Rank.CLAIM
    if said.key is not Key.PERSON:
        return Rank.VITAL
    is_stream = any(
        body in (Content.BYTES, Content.EVENTS)
        for reply in said.replies.values()
        for body in (reply if isinstance(reply, tuple) else (reply,))
    )
    return Rank.WATCH if is_stream else Rank.PEOPLE
