"""What events say of rows beside them, as one hash: so that the chain vouches for those, too."""

import hashlib
from collections.abc import Iterable
from typing import NamedTuple


class Reported(NamedTuple):
    """What the store keeps of a report that it accepted, by the names of its columns."""

    id: str
    fence: int
    worker_id: str
    receipt_id: str
    result_digest: str
    exit_code: int | None
    signal: int | None
    outcome: str
    log_size: int
    log_sha256: str
    log_lost: int


def seal_report(report: Reported, artifacts: Iterable[tuple[str, int, str]]) -> str:
    """Of the report and of its artifacts: path, size in bytes, hash."""
    return _seal((*report, *(value for artifact in sorted(artifacts) for value in artifact)))


def seal_jobs(jobs: Iterable[tuple[str, str]]) -> str:
    """Of a run's jobs as they were submitted, in the order of their numbers: id, spec."""
    return _seal(value for job in jobs for value in job)


def _seal(values: Iterable[object]) -> str:
    """Each value after its length, so that no two lists of values look the same."""
    digest = hashlib.sha256()
    for value in values:
        text = str(value).encode("utf-8", "surrogatepass")
        digest.update(b"%d:" % len(text))
        digest.update(text)
    return digest.hexdigest()
