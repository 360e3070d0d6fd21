"""Several of a worker's calls in one message: run and finish, which every job needs.

An envelope for busy times, and nothing else: each call is what it would be alone, with its own
token, its own answer and its own error. See docs/adr/0011.
"""

from typing import Any

from pydantic import Field

from shared.protocol.base import Message
from shared.protocol.gateway import FinishReply, FinishRequest, RunContext, RunRequest

MAX_CALLS = 64


class Call(Message):
    """One call: exactly one of the two is set."""

    token: str | None  # of the attempt; None on the way from a gateway, which has its own
    run: RunRequest | None = None
    finish: FinishRequest | None = None


class Calls(Message):
    calls: tuple[Call, ...] = Field(min_length=1, max_length=MAX_CALLS)


class Failure(Message):
    """An error as it would have been the body of a reply of its own."""

    code: str
    message: str
    facts: dict[str, Any]
    retryable: bool


class CallAnswer(Message):
    """What became of one call: exactly one of the three is set."""

    context: RunContext | None = None
    reply: FinishReply | None = None
    failure: Failure | None = None


class CallAnswers(Message):
    """In the order of the calls."""

    answers: tuple[CallAnswer, ...]
