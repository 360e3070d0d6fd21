"""What a task runner asks, passed on to the execution API, and what it says of its end, kept."""

import asyncio
from collections.abc import Callable
from typing import Any, Final

import structlog

from shared.errors import (
    AttemptArchived,
    BadRequest,
    Conflict,
    ServiceError,
    StaleFence,
    TooLarge,
    Unauthenticated,
    Unavailable,
    UnknownAttempt,
)
from shared.protocol import execution as e
from shared.protocol import task as t
from shared.protocol.base import Message
from shared.runtime import Runtime
from shared.secret_names import is_secret_name
from shared.services import Execution
from worker.backoff import Backoff
from worker.tasks.masking import Masker, TooManySecrets

CALL_TIMEOUT_S: Final = 10.0
PATIENCE_S: Final = 60.0  # then the task hears that nobody answered
MOST_ARTIFACTS: Final = 10_000
OVER: Final = (StaleFence, UnknownAttempt, AttemptArchived)  # not this worker's any more

log = structlog.get_logger()


class Requests:
    """One task's requests. `state` is how it said that it ended."""

    def __init__(
        self,
        execution: Execution,
        scope: e.Scope,
        masker: Masker,
        runtime: Runtime,
        lose: Callable[[str], None],
    ) -> None:
        """`lose` is called with the reason when the attempt turns out to be over."""
        self._execution = execution
        self.attempt_id = scope.attempt_id
        self._scope = scope
        self._masker = masker
        self._runtime = runtime
        self._lose = lose
        self.state: e.AttemptState | None = None
        self.artifacts: dict[str, None] = {}

    async def answer(self, line: bytes) -> bytes:
        """The reply to one frame. BadFrame comes out as a reply as well, see `is_complaint`."""
        number, request = t.decode_request(line)
        try:
            return t.encode_reply(number, await self._do(request))
        except ServiceError as error:
            return t.encode_error(number, error)

    async def _do(self, request: t.Request) -> Message | None:
        if self.state is not None:
            raise Conflict("the task has said already how it ended", state=self.state.ask)
        match request:
            case t.MaskSecret():
                self._mask(*request.values)
                return None
            case t.PublishArtifact():
                if len(self.artifacts) >= MOST_ARTIFACTS:
                    raise TooLarge(f"a task may publish {MOST_ARTIFACTS} artifacts")
                self.artifacts[request.path] = None
                return None
            case e.Succeed() | e.Fail() | e.Skip() | e.Retry() | e.Defer() | e.Reschedule():
                self.state = self._masked(request)
                return None
            case e.SetVariable() if request.is_secret or is_secret_name(request.key):
                self._mask(request.value)
            case e.SetConnection():
                self._mask(*secrets_of(request.connection))
            case _:
                pass
        answer = await self._ask(request)
        match answer:
            case e.Variable() if answer.is_secret or is_secret_name(answer.key):
                self._mask(answer.value)
            case e.Connection():
                self._mask(*secrets_of(answer))
            case e.Callback():
                self._mask(answer.url.rpartition("/")[2])  # the rest of the URL is no secret
            case _:
                pass
        return answer

    async def _ask(self, request: t.Request) -> Message | None:
        """The verb of the same name, sent until it is answered, within reason."""
        verb: Callable[[e.Scope, t.Request], Any] = getattr(self._execution, request.ask)
        backoff = Backoff(self._runtime, cap_s=5.0)
        gives_up_at = self._runtime.mono() + PATIENCE_S
        while True:
            try:
                async with asyncio.timeout(CALL_TIMEOUT_S):
                    answer: Message | None = await verb(self._scope, request)
            except OVER as error:
                self._lose(f"the attempt is over: {error}")
                raise
            except (ServiceError, TimeoutError) as error:
                # A token that has run out is renewed by the next heartbeat.
                may_pass = isinstance(error, TimeoutError | Unauthenticated) or error.retryable
                if not may_pass:
                    raise
                if self._runtime.mono() >= gives_up_at:
                    raise Unavailable(f"no answer within {PATIENCE_S:g} s: {error!r}") from None
                if backoff.failures == 0:
                    log.warning("task.request_delayed", ask=request.ask, error=repr(error))
                await self._runtime.sleep(backoff.next_s(error))
            else:
                return answer

    def _mask(self, *values: str) -> None:
        try:
            self._masker.add(values)
        except TooManySecrets as error:
            raise BadRequest(str(error)) from None

    def _masked(self, state: e.AttemptState) -> e.AttemptState:
        """Its reason is shown to people."""
        match state:
            case e.Fail() | e.Skip() | e.Retry() | e.Reschedule():
                reason = self._masker.mask_text(state.reason)
                return state.model_copy(update={"reason": reason[:2_000]})
            case _:
                return state


def secrets_of(connection: e.Connection) -> list[str]:
    """The password, and each text in `extra` whose name tells that it is secret."""
    found = [] if connection.password is None else [connection.password]
    found += _secret_texts(connection.extra, is_secret=False)
    return found


def _secret_texts(value: Any, *, is_secret: bool) -> list[str]:
    match value:
        case str():
            return [value] if is_secret else []
        case dict():
            return [
                text
                for name, inner in value.items()
                for text in _secret_texts(inner, is_secret=is_secret or is_secret_name(name))
            ]
        case list():
            return [text for inner in value for text in _secret_texts(inner, is_secret=is_secret)]
        case _:
            return []
