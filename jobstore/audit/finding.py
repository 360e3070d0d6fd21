"""What an audit says: a verdict on each run, and what is wrong, with a remedy."""

from dataclasses import dataclass, field
from typing import Final

# Whoever changed the database: what is in it cannot be trusted any more.
CHANGED: Final = (
    "the database was changed from outside: restore it from a backup, and find out who can write it"
)
# The chain is whole: the job service itself wrote this.
BROKEN: Final = "a promise was broken: keep a copy of the data directory, and report it"
FILE: Final = "restore the file from a backup: the record of the run itself is not in doubt"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that cannot be, or must not be."""

    what: str
    remedy: str
    event: int | None = None  # the number of the event that shows it
    job: str | None = None
    file: bool = False  # it is about a file, which may have been pruned meanwhile


@dataclass(slots=True)
class RunVerdict:
    """What was found of one run."""

    run_id: int
    name: str = "?"
    status: str = "missing"
    jobs: int = 0
    events: int = 0
    unchained: int = 0  # of the events, those written before there were chains
    receipts: int = 0
    files: int = 0  # logs and blobs whose bytes were hashed
    findings: list[Finding] = field(default_factory=list)

    @property
    def is_good(self) -> bool:
        return not self.findings


@dataclass(slots=True)
class Audit:
    """Everything that was found; `head` names the state of the whole store."""

    runs: list[RunVerdict]
    findings: list[Finding]  # of the store as a whole
    head: str | None = None
    pruned: int = 0  # runs, each with its tombstone

    @property
    def is_good(self) -> bool:
        return not self.findings and all(run.is_good for run in self.runs)
