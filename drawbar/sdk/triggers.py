"""What a task can wait for without a worker: `raise Defer(triggers.after("90s"), resume=go_on)`.

Each function makes one, and the job service waits for it. docs/triggers.md tells their events.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from drawbar.sdk.current import ask
from drawbar.sdk.durations import Duration, seconds_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from os import PathLike
    from typing import Any

_UNSET = object()


class Trigger:
    """What is waited for: a kind, and what that kind wants to know."""

    def __init__(self, kind: str, **params: object) -> None:
        self.kind = kind
        self.params = {name: value for name, value in params.items() if value is not None}

    def __repr__(self) -> str:
        return f"<trigger {self.kind}>"  # a URL in its parameters may be somebody's secret


class Callback(Trigger):
    """Somebody posts to `url`. Who knows it can, once: give it to nobody else."""

    def __init__(self, callback_id: str, url: str) -> None:
        super().__init__("callback", callback_id=callback_id)
        self.url = url


def at(when: datetime) -> Trigger:
    """That time has come."""
    if when.tzinfo is None:
        raise ValueError(f"{when.isoformat()} does not say its offset from UTC")
    return Trigger("time", at=when.isoformat())


def after(delay: Duration) -> Trigger:
    """So much time has passed: 90, "90s", "2h" or a timedelta."""
    return Trigger("delta", seconds=seconds_of(delay))


def file(path: str | PathLike[str], *, settled: Duration = 0.0, every: Duration = 5.0) -> Trigger:
    """The job service sees a file at that absolute path, not written to for `settled`.

    The name may be a pattern with * ? [: then the event's `path` is the first file that matches.
    """
    import os

    settled_s, every_s = seconds_of(settled), seconds_of(every)
    return Trigger("file", path=os.fspath(path), settled_s=settled_s, every_s=every_s)


def http(
    url: str,
    *,
    status: int | Sequence[int] = (),
    select: str | None = None,
    equals: Any = _UNSET,
    matches: str | None = None,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    connection: str | None = None,
    every: Duration = 30.0,
    patience: Duration = 10.0,
) -> Trigger:
    """The server answers with that status (200 to 299), and its body says what is wanted.

    `select` is a part of a JSON body ("$.jobs[0].state"), which has to equal `equals`, or match
    the pattern `matches`; without these it has to be there. Without `select`, `matches` is
    looked for in the whole body. `connection` names the one whose token or password goes along.
    """
    wanted = {} if equals is _UNSET else {"equals": equals}
    trigger = Trigger(
        "http",
        url=url,
        status=[status] if isinstance(status, int) else list(status),
        select=select,
        matches=matches,
        method=method,
        headers=dict(headers or {}),
        connection=connection,
        every_s=seconds_of(every),
        patience_s=seconds_of(patience),
    )
    trigger.params |= wanted  # null is a value, too
    return trigger


def run_ended(run_id: int) -> Trigger:
    """That run has ended, however."""
    return Trigger("run", run_id=run_id)


def job_ended(job: object, run_id: int | None = None) -> Trigger:
    """That job has ended, however: an id, or a task of this run."""
    job_id = job if isinstance(job, str) else getattr(job, "__name__", None)
    if not isinstance(job_id, str):
        raise ValueError(f"a job's id or a task is wanted, not {job!r}")
    return Trigger("job", job_id=job_id, run_id=run_id)


def callback() -> Callback:
    """A new URL to give to somebody. Only a task that runs can ask for one."""
    made = ask("new_callback")
    return Callback(made["callback_id"], made["url"])


def question(
    text: str, *, choices: Sequence[str] = (), fields: Sequence[Mapping[str, object]] = ()
) -> Trigger:
    """A person has answered: chosen one of `choices`, and filled in `fields`.

    A field is made by `field`.
    """
    return Trigger("question", question=text, choices=list(choices), fields=list(fields))


def field(
    name: str,
    kind: str = "text",
    *,
    label: str = "",
    choices: Sequence[str] = (),
    default: object = None,
) -> dict[str, object]:
    """Of a question: text, number, boolean or choice. Without a default it has to be given."""
    kind = "choice" if choices else kind
    made: dict[str, object] = {"name": name, "kind": kind, "label": label, "default": default}
    return made | ({"choices": list(choices)} if choices else {})
