"""Ways for a task to end that are neither a result nor a plain error: raise one of these.

They are no `Exception`s, so that `except Exception` around the code of a task does not swallow
the wish to skip, to wait or to be tried again.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from drawbar.sdk.durations import Duration, seconds_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from drawbar.sdk.triggers import Trigger

MAX_REASON = 2_000


class Outcome(BaseException):
    """How the task ended, in the words of docs/task-protocol.md."""

    def __init__(self, ask: str, said: str, /, **fields: object) -> None:
        self.ask = ask
        self.fields = fields
        super().__init__(said[:MAX_REASON])


class Skip(Outcome):
    """The task had nothing to do: it, and what needs it, counts as skipped."""

    def __init__(self, reason: str = "") -> None:
        super().__init__("skip", reason, reason=reason[:MAX_REASON])


class Fail(Outcome):
    """The task failed, and another try would not help."""

    def __init__(self, reason: str) -> None:
        super().__init__("fail", reason, reason=reason[:MAX_REASON], may_retry=False)


class Retry(Outcome):
    """The task failed and wants its next try, if one is left, after `delay`."""

    def __init__(self, reason: str = "", *, delay: Duration | None = None) -> None:
        delay_s = None if delay is None else seconds_of(delay)
        super().__init__("retry", reason, reason=reason[:MAX_REASON], delay_s=delay_s)


class Defer(Outcome):
    """The task waits without a worker, then goes on with `resume(event, **arguments)`.

    `trigger` is made by `drawbar.triggers`, or it is a kind and what that kind wants:
    Defer("delta", seconds=90, resume=go_on). `resume` is a function of the task's own module, or
    its name; so is `on_timeout`, which is called when the trigger has not fired within `timeout`.
    Without `on_timeout` the try has failed then.
    """

    def __init__(
        self,
        trigger: str | Trigger,
        *,
        resume: object,
        arguments: Mapping[str, object] | None = None,
        timeout: Duration | None = None,
        on_timeout: object = None,
        **params: object,
    ) -> None:
        kind = trigger if isinstance(trigger, str) else trigger.kind
        given = {} if isinstance(trigger, str) else trigger.params
        super().__init__(
            "defer",
            f"waits for {kind}",
            trigger={"kind": kind, "params": {**given, **params}},
            next_method=_name_of(resume),
            arguments=dict(arguments or {}),
            timeout_s=None if timeout is None else seconds_of(timeout),
            on_timeout=None if on_timeout is None else _name_of(on_timeout),
        )


class Reschedule(Outcome):
    """The task frees its slot and begins again at a time, or after a while. Costs no try."""

    def __init__(self, when: datetime | Duration, reason: str = "") -> None:
        if not isinstance(when, datetime):
            # The one clock of a task is its machine's.
            when = datetime.now().astimezone() + timedelta(seconds=seconds_of(when))  # noqa: TID251 - made aware at once; a task has no Runtime
        if when.tzinfo is None:
            raise ValueError(f"{when.isoformat()} does not say its offset from UTC")
        super().__init__("reschedule", reason, at=when.isoformat(), reason=reason[:MAX_REASON])


def _name_of(function: object) -> str:
    """Of a function, of one that is a task, or of the name itself."""
    if isinstance(function, str):
        return function
    function = getattr(function, "function", function)
    name = getattr(function, "__qualname__", None)
    if not isinstance(name, str) or "<" in name:
        raise ValueError(f"it must be a function at the top of the task's module: {function!r}")
    return name
