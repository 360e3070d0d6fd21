"""Which runs may be pruned, and what would go with them. Reads only, in pieces of bounded size.

What a later run of the same chain (retried, resumed) has carried over stays for that run: its
artifacts and its log are those of an attempt of the earlier one.
"""

import json
import sqlite3
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from jobstore.history.reads import ENDED

PAGE: Final = 1_000  # runs found, or hashes looked up, at once
JOBS: Final = 2_000  # looked at, at once


class Going(NamedTuple):
    """A run that may go."""

    run_id: int
    root_run: int  # of its chain
    jobs: int


@dataclass(slots=True)
class Tally:
    """What goes, as far as it was looked at."""

    log_bytes: int = 0
    uses: "Counter[str]" = field(default_factory=Counter)  # of a blob, by what goes
    sizes: dict[str, int] = field(default_factory=dict)


def old_runs(
    conn: sqlite3.Connection, ended_before: int, name: str | None, after: int
) -> list[Going]:
    """Ended runs with a number over `after`, in order; none about which somebody is to be told."""
    statuses = ", ".join("?" * len(ENDED))
    rows = conn.execute(
        "SELECT id, coalesce(root_run, id), (SELECT count(*) FROM job WHERE run_id = run.id)"
        f" FROM run WHERE id > ? AND ended_at < ? AND status IN ({statuses})"
        " AND (? IS NULL OR name = ?) AND NOT EXISTS"
        " (SELECT 1 FROM notification WHERE run_id = run.id AND notification.status = 'waiting')"
        " ORDER BY id LIMIT ?",
        (after, ended_before, *ENDED, name, name, PAGE),
    ).fetchall()
    return [Going(*row) for row in rows]


def pages(runs: Iterable[Going]) -> Iterator[list[Going]]:
    """Runs with about `JOBS` jobs in each page, one run at least."""
    page: list[Going] = []
    jobs = 0
    for run in runs:
        if page and jobs + run.jobs > JOBS:
            yield page
            page, jobs = [], 0
        page.append(run)
        jobs += run.jobs
    if page:
        yield page


def weigh(
    conn: sqlite3.Connection, page: Sequence[Going], all_going: Collection[int], tally: Tally
) -> None:
    """What goes with the runs of this page, when those of `all_going` do, is in the tally."""
    for run in page:
        chain = [
            row[0] for row in conn.execute("SELECT id FROM run WHERE root_run = ?", (run.root_run,))
        ]
        staying = [run_id for run_id in chain if run_id not in all_going]
        later = [run_id for run_id in chain if run_id > run.run_id and run_id in all_going]
        for job_id, attempt_id, log_size, is_own in conn.execute(_OF_RUN, (run.run_id,)).fetchall():
            # What was inherited is counted once, with the last run that goes and has it.
            users = staying if is_own else staying + later
            if any(_counts_in(conn, run_id, job_id, attempt_id) for run_id in users):
                continue
            tally.log_bytes += log_size
            for sha256, size in conn.execute(_BLOBS, (attempt_id,)):
                tally.uses[sha256] += 1
                tally.sizes[sha256] = size


def freed_bytes(conn: sqlite3.Connection, hashes: Sequence[str], tally: Tally) -> int:
    """The size of those of the blobs that nothing uses but what goes."""
    rows = conn.execute(
        "SELECT sha256, count(*) FROM artifact"
        " WHERE sha256 IN (SELECT value FROM json_each(?)) GROUP BY sha256",
        (json.dumps(hashes),),
    )
    return sum(tally.sizes[sha256] for sha256, number in rows if number == tally.uses[sha256])


def _counts_in(conn: sqlite3.Connection, run_id: int, job_id: str, attempt_id: str) -> bool:
    row = conn.execute(
        "SELECT 1 FROM job WHERE run_id = ? AND id = ? AND attempt_id = ?",
        (run_id, job_id, attempt_id),
    ).fetchone()
    return row is not None


# The attempts of a run's jobs, and those that they inherited from runs that were pruned before.
_OF_RUN: Final = (
    "SELECT job.id, attempt.id, attempt.log_size, 1 FROM job"
    " JOIN attempt ON attempt.job_seq = job.seq WHERE job.run_id = ?1"
    " UNION ALL SELECT job.id, attempt.id, attempt.log_size, 0 FROM job"
    " JOIN attempt ON attempt.id = job.attempt_id WHERE job.run_id = ?1"
    " AND NOT EXISTS (SELECT 1 FROM job AS owner WHERE owner.seq = attempt.job_seq)"
)
_BLOBS: Final = "SELECT sha256, size_bytes FROM artifact WHERE attempt_id = ?"
