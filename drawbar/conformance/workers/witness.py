"""Stands before a service, notes every verb that a worker asks, and may answer in its place."""

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final

from shared.errors import ServiceError
from shared.runtime import Runtime

# Answers with bytes of its own, or with no verb of a worker: passed on as it is.
PASSED_ON: Final = ("read_input",)


@dataclass(slots=True)
class Note:
    """One call: when it came, when it was answered, and with what."""

    verb: str
    asked_at: float
    ask: Any
    answered_at: float | None = None
    answer: Any = None
    error: ServiceError | None = None

    @property
    def is_granted(self) -> bool:
        return self.answered_at is not None and self.error is None


@dataclass(slots=True)
class Notes:
    """All that a worker asked, in the order in which it came."""

    all: list[Note] = field(default_factory=list)

    def of(self, *verbs: str) -> list[Note]:
        return [note for note in self.all if note.verb in verbs]

    def granted(self, verb: str) -> list[Note]:
        return [note for note in self.of(verb) if note.is_granted]


Meddler = Callable[[Any], ServiceError | None]


class Witness:
    """The service's verbs, watched. `before` and `after` may put an error in an answer's place:
    before the service heard of it, or after it did what was asked. `instead` answers itself."""

    def __init__(self, service: object, runtime: Runtime, notes: Notes) -> None:
        self._service = service
        self._runtime = runtime
        self._notes = notes
        self.before: dict[str, Meddler] = {}
        self.after: dict[str, Meddler] = {}
        self.instead: dict[str, Callable[[Any], Any]] = {}

    def __getattr__(self, verb: str) -> Any:
        inner = getattr(self._service, verb)
        if verb in PASSED_ON or not inspect.iscoroutinefunction(inner):
            return inner
        return self._watched(verb, inner)

    def _watched(
        self, verb: str, inner: Callable[..., Awaitable[Any]]
    ) -> Callable[..., Awaitable[Any]]:
        async def call(*asked: Any, **more: Any) -> Any:
            ask = asked[0] if asked else None
            note = Note(verb, self._runtime.mono(), ask)
            self._notes.all.append(note)
            try:
                _meddle(self.before.get(verb), ask)
                if verb in self.instead:
                    answer = self.instead[verb](ask)
                else:
                    answer = await inner(*asked, **more)
                _meddle(self.after.get(verb), ask)
            except ServiceError as error:
                note.error, note.answered_at = error, self._runtime.mono()
                raise
            note.answer, note.answered_at = answer, self._runtime.mono()
            return answer

        return call


def _meddle(meddler: Meddler | None, ask: Any) -> None:
    error = None if meddler is None else meddler(ask)
    if error is not None:
        raise error
