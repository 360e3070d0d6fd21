"""P5: only an accepted run spends a try."""

from collections import defaultdict
from collections.abc import Iterator
from typing import Final

from faults.judging.entry import INVOKED, OK
from faults.judging.event_log import WAITS
from faults.judging.evidence import UNSTARTED, Evidence
from shared.protocol.gateway import NOT_BEGUN
from shared.protocol.states import FAILURES, AttemptStatus, JobStatus

FAILS: Final = {"job.retrying", *(f"job.{status}" for status in FAILURES)}


def tries(e: Evidence) -> Iterator[str]:
    """I6. A refusal or a lapse that costs a try; a run that costs none, or two."""
    asked = {entry.facts["attempt"] for entry in e.by_op["run", INVOKED]}
    accepted = {entry.facts["attempt"] for entry in e.by_op["run", OK]}
    told: dict[str, set[str]] = defaultdict(set)  # how each attempt ended, as its workers said
    for entry in e.by_op["finish", INVOKED]:
        told[entry.facts["attempt"]].add(entry.facts["outcome"])
    for entry in e.by_op["finish", OK]:  # of several answers this one counted
        if entry.facts["receipt"]:
            told[entry.facts["attempt"]] = {entry.facts["outcome"]}
    for run, job, attempts in e.jobs():
        started = {a.attempt_id for a in attempts if a.started_at is not None}
        name = f"{run.run_id}/{job.id}"
        for a in attempts:
            if a.status in UNSTARTED and a.attempt_id in started | accepted:
                yield f"{a.attempt_id} of {name} is {a.status}, and was run"
        if not started <= asked:
            yield f"{name} counts starts that nobody asked for"
        reported = {a.attempt_id for a in attempts if a.status is AttemptStatus.REPORTED}
        waited, in_vain = _waits(e, run.run_id, job.id)
        forgiven = {a for a in reported if told[a] == {"drained"}} | (waited - in_vain)
        doubtful = {a for a in reported if "drained" in told[a]} - forgiven
        if job.status is JobStatus.CANCELLED:  # a drained last attempt is not forgiven
            doubtful |= {a.attempt_id for a in attempts[-1:]} & forgiven
        fair = range(len(started - forgiven - doubtful), len(started - (forgiven - doubtful)) + 1)
        if job.tries not in fair:
            yield f"{name} spent {job.tries} tries on {len(started)} starts"
        if not {a.attempt_id for a in attempts} & accepted <= started:
            yield f"{name} has an acknowledged run that is not in the store"


def _waits(e: Evidence, run_id: int, job_id: str) -> tuple[set[str], set[str]]:
    """The attempts that went to wait without a worker; those whose wait was a try that failed."""
    waited, in_vain, last = set(), set(), None
    for event in e.final.events[run_id]:
        if event.job_id != job_id:
            continue
        if event.kind in WAITS:
            last = event.attempt_id or ""
            waited.add(last)
        elif last is not None and event.kind in FAILS and event.attempt_id == last:
            in_vain.add(last)
        elif event.kind == "job.resumed":
            last = None
    return waited, in_vain


def retries(e: Evidence) -> Iterator[str]:
    """I6. A job that was tried again more often than its rule says."""
    for run, job, _ in e.jobs():
        pipeline = e.pipelines[run.name]
        rule = next(spec.retry for spec in pipeline.jobs if spec.id == job.id) or pipeline.retry
        again = sum(
            event.kind == "job.retrying" and event.job_id == job.id
            for event in e.final.events[run.run_id]
        )
        if rule is not None and again > rule.max:
            yield f"{run.run_id}/{job.id} was retried {again} times, {rule.max} were allowed"


def unbegun(e: Evidence) -> Iterator[str]:
    """I6. A job that went back at no cost, as one that had not begun, and had."""
    begun = {entry.facts["attempt"] for entry in e.events("spawn")}
    for attempt in e.attempts.values():
        is_said = attempt.reason is not None and attempt.reason.message == NOT_BEGUN
        if is_said and attempt.attempt_id in begun:
            yield f"{attempt.attempt_id} was given back as not begun, and its process had started"


def refusals(e: Evidence) -> Iterator[str]:
    """I6. A refusal that was acknowledged and forgotten."""
    for entry in e.by_op["refuse", OK]:
        stored = e.attempts.get(entry.facts["attempt"])
        if stored is None or stored.status is not AttemptStatus.REFUSED:
            yield f"acknowledged refusal of {entry.facts['attempt']} is lost"
