"""Runs as JUnit XML, which every CI system shows: a suite for a run, a case for a job.

Earlier tries are told as Maven's Surefire tells them: `flakyFailure` before a success,
`rerunFailure` before a failure. What may fail and did is a skipped case, as it does not fail
the run either.
"""

import shlex
from collections.abc import Iterator, Sequence
from typing import Final
from xml.sax.saxutils import escape, quoteattr

from shared.protocol.jobs import AttemptView, JobView, RunView
from shared.protocol.states import FAILURES, AttemptStatus, JobStatus
from shared.reports import facts
from shared.reports.facts import Attempts

JUNIT_OPEN: Final = '<?xml version="1.0" encoding="UTF-8"?>\n<testsuites>\n'
JUNIT_CLOSE: Final = "</testsuites>\n"

_ERRORS: Final = (JobStatus.TIMEOUT, JobStatus.PRECHECK_FAILED)  # it could not show what it is


def suites(run: RunView, attempts: Attempts) -> Iterator[str]:
    """The `testsuite` of one run."""
    kinds = [_kind(job) for job in run.jobs]
    began = run.started_at or run.created_at
    yield _tag(
        "testsuite",
        name=run.name,
        id=run.run_id,
        tests=len(kinds),
        failures=kinds.count("failure"),
        errors=kinds.count("error"),
        skipped=kinds.count("skipped"),
        time=_seconds(facts.took_s(run)),
        timestamp=f"{began:%Y-%m-%dT%H:%M:%S}",
    )
    yield f"<properties>\n{_tag('property', '/', name='run', value=run.run_id)}</properties>\n"
    for job, kind in zip(run.jobs, kinds, strict=True):
        yield from _case(run, job, kind, attempts.get(job.id, ()))
    yield "</testsuite>\n"


def _kind(job: JobView) -> str | None:
    """The element that says how it went; None: it succeeded."""
    if job.status is JobStatus.SUCCESS:
        return None
    if job.status not in FAILURES or job.allow_failure:
        return "skipped"
    return "error" if job.status in _ERRORS else "failure"


def _case(
    run: RunView, job: JobView, kind: str | None, attempts: Sequence[AttemptView]
) -> Iterator[str]:
    place = f"{run.name}.{job.stage}" if job.stage else run.name
    yield _tag("testcase", classname=place, name=job.id, time=_seconds(facts.took_s(job)))
    if kind is not None:
        why = facts.reason_words(job.reason)
        status = facts.status_words(job)
        message = f"{status}: {why}" if why else status
        if kind == "skipped":
            yield _tag("skipped", "/", message=message)
        else:
            yield _tag(kind, "/", message=message, type=job.status.value)
    for attempt in _earlier(attempts):
        name = "flakyFailure" if kind is None else "rerunFailure"
        why = facts.reason_words(attempt.reason) or attempt.status.value
        outcome = facts.attempt_outcome(attempt)
        yield _tag(name, "/", message=why, type=outcome)
    if job.status in FAILURES:
        command = f"drawbar logs {run.run_id} {shlex.quote(job.id)}"
        yield f"<system-out>{escape(facts.clean(command))}</system-out>\n"
    yield "</testcase>\n"


def _earlier(attempts: Sequence[AttemptView]) -> list[AttemptView]:
    """Tries before the last that went wrong by themselves."""
    return [
        attempt
        for attempt in facts.tries_of(attempts)[:-1]
        if attempt.status in (AttemptStatus.REPORTED, AttemptStatus.LOST)
        and not facts.waited_afterwards(attempt)
    ]


def _seconds(took_s: float | None) -> str:
    return f"{took_s or 0.0:.3f}"


def _tag(element: str, end: str = "", **attributes: object) -> str:
    said = "".join(
        f" {name}={quoteattr(facts.clean(str(value)))}" for name, value in attributes.items()
    )
    return f"<{element}{said}{end}>\n"
