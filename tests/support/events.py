"""Events of a run, as the job service would tell them."""

from datetime import timedelta
from itertools import count
from typing import Any

from shared.ids import AttemptId, JobId, RunId
from shared.protocol.jobs import Event
from tests.support.runtime import T0

_seq = count(1)


def an_event(kind: str, job: str | None = None, *, after_s: float = 0.0, **facts: Any) -> Event:
    """`kind` happened to `job` of run 7, `after_s` seconds after T0."""
    return Event(
        seq=next(_seq),
        at=T0 + timedelta(seconds=after_s),
        kind=kind,
        run_id=RunId(7),
        job_id=None if job is None else JobId(job),
        attempt_id=None if job is None else AttemptId(f"attempt-of-{job}"),
        facts=facts,
    )
