"""P10: every answer is one that the contract names."""

from collections.abc import Iterator

from faults.judging.entry import FAILED
from faults.judging.evidence import Evidence
from shared.protocol.gateway import INTERNAL_ERROR


def known_errors(e: Evidence) -> Iterator[str]:
    """I13. A service that crashed on a request, or a worker on a job; or an error that no contract
    names."""
    for entry in (entry for entry in e.entries if entry.phase == FAILED):
        if entry.facts["error"] == "ServiceError":
            yield f"{entry.op} of {entry.who} met an internal error: {entry.facts['message']}"
    for attempt in e.attempts.values():
        if attempt.reason is not None and attempt.reason.message.startswith(INTERNAL_ERROR):
            yield f"{attempt.attempt_id}: {attempt.reason.message}"
