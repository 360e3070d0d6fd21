"""P2 and P3: what was acknowledged is what is stored, and a process made it."""

import re
from collections import Counter
from collections.abc import Iterator
from typing import Final

from faults.judging.entry import OK
from faults.judging.evidence import Evidence
from shared.protocol.states import AttemptStatus, JobStatus

WORKERS_OWN: Final = re.compile(rb"\[drawbar\] [^\n]*\n")  # lines in a job's log


def receipts(e: Evidence) -> Iterator[str]:
    """I4. A finish that was replied to before it was durable; a receipt that changes."""
    for entry in e.by_op["finish", OK]:
        facts, stored = entry.facts, e.attempts.get(entry.facts["attempt"])
        if facts["receipt"] is None:
            continue
        if stored is None or stored.status is not AttemptStatus.REPORTED:
            status = "unknown" if stored is None else stored.status
            yield f"acknowledged finish of {facts['attempt']} is lost: it is {status}"
        elif stored.receipt_id != facts["receipt"]:
            yield f"receipt {facts['receipt']} of {facts['attempt']} is {stored.receipt_id}"
        elif stored.exit_code != facts["exit_code"]:
            yield f"{facts['attempt']} reported {facts['exit_code']}: {stored.exit_code} kept"
        elif stored.fence != facts["fence"]:
            yield f"{facts['attempt']} finished with fence {facts['fence']}, not its own"
        elif facts["job_status"] == "success":
            kept = e.final.artifacts[e.of[facts["attempt"]].key]
            if sorted(kept) != sorted(facts["artifacts"]):
                yield f"artifacts of {facts['attempt']} are {sorted(kept)}"


def earned(e: Evidence) -> Iterator[str]:
    """I5. A success that no process earned, an exit code that none had, a receipt used twice."""
    exits = {entry.facts["attempt"]: entry.facts for entry in e.events("exit")}
    names: Counter[str] = Counter()
    for run, job, attempts in e.jobs():
        reported = [a for a in attempts if a.status is AttemptStatus.REPORTED]
        names.update(a.receipt_id or "none" for a in reported)
        won = [a for a in reported if a.exit_code == 0 and exits.get(a.attempt_id)]
        if job.status is JobStatus.SUCCESS and (not won or won[-1] is not attempts[-1]):
            yield f"job {run.run_id}/{job.id} is a success that its last claim did not earn"
        for a in reported:
            ended = exits.get(a.attempt_id, {})
            if a.exit_code is not None and ended.get("exit_code") != a.exit_code:
                had = f"its process had {ended}"
                yield f"{a.attempt_id} is stored with exit code {a.exit_code}, {had}"
    for receipt, count in names.items():
        if count > 1:
            yield f"receipt {receipt} names {count} results"


def checked(e: Evidence) -> Iterator[str]:
    """I5. A success of a job whose post-checks did not pass, or were never made."""
    passed = {c.facts["attempt"] for c in e.events("checked") if c.facts["exit_code"] == 0}
    for run, job, attempts in e.jobs():
        spec = next(spec for spec in e.pipelines[run.name].jobs if spec.id == job.id)
        has_passed = bool(attempts) and attempts[-1].attempt_id in passed
        if job.status is JobStatus.SUCCESS and spec.post_checks and not has_passed:
            yield f"job {run.run_id}/{job.id} is a success, and its post-checks did not pass"


def logs(e: Evidence) -> Iterator[str]:
    """I9. A log that is not, byte for byte, what its process wrote; or, where a loss of
    power tore it, a part of that from the beginning."""
    sizes = {entry.facts["attempt"]: entry.facts.get("log_bytes", 0) for entry in e.events("exit")}
    torn = {entry.facts["attempt"] for entry in e.events("log_torn")}
    for attempt, stored in e.final.logs.items():
        log = WORKERS_OWN.sub(b"", stored)
        size = sizes.get(attempt, 0)
        made = e.made.log(attempt, size)
        if log != made and not (attempt in torn and made.startswith(log)):
            yield f"the log of {attempt} has {len(log)} bytes, its process wrote {size}"


def artifacts(e: Evidence) -> Iterator[str]:
    """I10. An artifact that can be seen and is not what was made."""
    for run, job, attempts in e.jobs():
        for path, content in e.final.artifacts[run.run_id, job.id].items():
            if content != e.made.artifact(attempts[-1].attempt_id):
                yield f"artifact {path} of {run.run_id}/{job.id} is not what was made"
