"""A case: a name, the sentence of the protocol that it proves, and how it goes about it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Generic, TypeVar

W = TypeVar("W")  # what a case works with


class Breach(Exception):
    """The other side did not do what the protocol says; the message says what it did."""


class Unproved(Exception):
    """The case cannot be tried here; the message says what it lacks."""


class Verdict(StrEnum):
    KEPT = "kept"
    BROKEN = "broken"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Case(Generic[W]):
    """`prove` raises Breach where the sentence is not kept."""

    name: str
    sentence: str  # word for word from docs/protocol.md
    prove: Callable[[W], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one case."""

    name: str
    sentence: str
    verdict: Verdict
    says: str  # empty when it was kept
    took_s: float


class Cases(Generic[W]):
    """Cases of one kind, in the order in which they were written."""

    def __init__(self) -> None:
        self.all: list[Case[W]] = []

    def case(
        self, name: str, sentence: str
    ) -> Callable[[Callable[[W], Awaitable[None]]], Callable[[W], Awaitable[None]]]:
        def register(prove: Callable[[W], Awaitable[None]]) -> Callable[[W], Awaitable[None]]:
            self.all.append(Case(name, sentence, prove))
            return prove

        return register


def expect(found: Any, wanted: Any, what: str) -> None:
    """Breach: `found` is something else than `wanted`."""
    if found != wanted:
        raise Breach(f"{what}: expected {wanted!r}, found {_short(found)}")


def must(is_so: object, what: str) -> None:
    """Breach: it is not so."""
    if not is_so:
        raise Breach(what)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:200]}…"
