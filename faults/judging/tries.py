"""P5: only an accepted run spends a try."""

from collections.abc import Iterator

from faults.judging.entry import INVOKED, OK
from faults.judging.evidence import UNSTARTED, Evidence
from shared.protocol.states import AttemptStatus, JobStatus


def tries(e: Evidence) -> Iterator[str]:
    """I6. A refusal or a lapse that costs a try; a run that costs none, or two."""
    asked = {entry.facts["attempt"] for entry in e.by_op["run", INVOKED]}
    accepted = {entry.facts["attempt"] for entry in e.by_op["run", OK]}
    drained = {
        entry.facts["attempt"]
        for entry in e.by_op["finish", INVOKED]
        if entry.facts["outcome"] == "drained"
    }
    for run, job, attempts in e.jobs():
        started = {a.attempt_id for a in attempts if a.started_at is not None}
        name = f"{run.run_id}/{job.id}"
        for a in attempts:
            if a.status in UNSTARTED and a.attempt_id in started | accepted:
                yield f"{a.attempt_id} of {name} is {a.status}, and was run"
        if not started <= asked:
            yield f"{name} counts starts that nobody asked for"
        forgiven = {
            a.attempt_id
            for a in attempts
            if a.attempt_id in drained and a.status is AttemptStatus.REPORTED
        }
        fair = {len(started - forgiven)}
        if job.status is JobStatus.CANCELLED:  # a drained last attempt is not forgiven
            last = {a.attempt_id for a in attempts[-1:]}
            fair.add(len(started - (forgiven - last)))
        if job.tries not in fair:
            yield f"{name} spent {job.tries} tries on {len(started)} starts"
        if not {a.attempt_id for a in attempts} & accepted <= started:
            yield f"{name} has an acknowledged run that is not in the store"


def refusals(e: Evidence) -> Iterator[str]:
    """I6. A refusal that was acknowledged and forgotten."""
    for entry in e.by_op["refuse", OK]:
        stored = e.attempts.get(entry.facts["attempt"])
        if stored is None or stored.status is not AttemptStatus.REFUSED:
            yield f"acknowledged refusal of {entry.facts['attempt']} is lost"
