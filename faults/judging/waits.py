"""P2: a job that waits without a worker goes on once, and with what came about."""

from collections.abc import Iterator, Sequence
from typing import Final

from faults.judging.entry import INVOKED
from faults.judging.event_log import ENDS, WAITS
from faults.judging.evidence import Evidence
from shared.protocol.jobs import Event

GOES_ON: Final = ("job.held", "job.queued", "job.claimed", "job.running")


def woken(e: Evidence) -> Iterator[str]:
    """I2. A wait that ended twice; one that nothing ended, and the job went on."""
    for run_id, events in e.final.events.items():
        waits: dict[str, bool] = {}
        for event in events:
            job, kind = event.job_id or "", event.kind
            if kind in WAITS:
                waits[job] = True
            elif kind == "job.resumed":
                if not waits.get(job):
                    yield f"{run_id}/{job}, event {event.seq}: it was woken, and did not wait"
                waits[job] = False
            elif kind in GOES_ON and waits.get(job):
                yield f"{run_id}/{job}, event {event.seq} {kind}: nothing has woken it"
            elif kind in ENDS or kind == "job.retrying":
                waits[job] = False


def resumed(e: Evidence) -> Iterator[str]:
    """I5. A task that went on in place of another try, or with what nobody had said."""
    posted = {entry.facts["callback"] for entry in e.by_op["post", INVOKED]}
    answered = {(c.facts["run"], c.facts["job"]) for c in e.by_op["answer", INVOKED]}
    for entry in e.events("resumed"):
        attempt, arguments = entry.facts["attempt"], entry.facts["arguments"]
        of, event = e.of.get(attempt), entry.facts["event"]
        if of is None:
            continue
        waited = last_wait(e.final.events[of.run], of.job, attempt)
        if waited != arguments["by"]:
            yield f"{attempt} of {of.key} goes on from {arguments['by']}, not from {waited}"
        if "timed_out_after_s" in event:
            continue
        if (callback := arguments["callback"]) is not None and (
            event != {"callback": callback} or callback not in posted
        ):
            yield f"{attempt} of {of.key} was told {event}, which nobody has posted to {callback}"
        if "choice" in event and of.key not in answered:
            yield f"{attempt} of {of.key} was told {event}, which nobody has answered"


def last_wait(events: Sequence[Event], job: str, attempt: str) -> str | None:
    """The attempt in whose place `attempt` was claimed to go on; None: it begins anew."""
    last: str | None = None
    for event in events:
        if event.job_id != job:
            continue
        if event.kind == "job.claimed" and event.attempt_id == attempt:
            return last
        if event.kind == "job.deferred":
            last = event.attempt_id
        elif event.kind in ("job.retrying", "job.rescheduled"):
            last = None
    return last
