"""Blocked jobs wait for one thing less: they are ready, go on waiting, or will never run.

What a job waits for is a number: its unmet needs, and one more while its stage, or the run that it
watches, is not so far. One statement per thing that came about, whatever the size of the run.
"""

import json
from collections.abc import Sequence
from typing import NamedTuple

from jobstore.states import JobEvent
from jobstore.store.admit import COLUMNS, Ready, ready
from jobstore.store.row import ROW, Ended, job_row
from jobstore.store.work import Work
from shared.protocol.jobs import Reason
from shared.protocol.pipeline import TriggerRule, When
from shared.protocol.states import JobStatus


class Unblocked(NamedTuple):
    """What became of those that waited."""

    ready: list[Ready]
    ended: list[Ended]  # skipped
    waiting: int  # how many still wait for something else


def resolve(
    work: Work,
    run_id: int,
    where: str,
    parameters: tuple[int, ...],
    *,
    lets_go: bool,
    has_failed: bool,
    what: str,
) -> Unblocked:
    """One thing that the blocked jobs matching `where` waited for has ended.

    `lets_go`: those that need its success may run; else they are skipped. `has_failed`: those that
    wait for a failure have seen one.
    """
    skipped = []
    if not lets_go:
        of_success = f"{where} AND condition = '{When.ON_SUCCESS}'"
        skipped = skip(work, run_id, of_success, parameters, what, by_failure=has_failed)
        if has_failed:
            of_none = f"{where} AND condition = '{TriggerRule.NONE_FAILED}'"
            skipped += skip(work, run_id, of_none, parameters, what, by_failure=True)
    rows = work.conn.execute(
        "UPDATE job SET waits = waits - 1, failures = failures + ?, successes = successes + ?"
        f" WHERE {where} AND status = '{JobStatus.BLOCKED}' RETURNING {_WHAT_NEXT}, {COLUMNS}",
        (has_failed, lets_go, *parameters),
    ).fetchall()
    for row in sorted((row for row in rows if row[0] in _MESSAGES), key=lambda row: int(row[1])):
        skipped += skip(work, run_id, "seq = ?", (row[1],), row[0], by_failure=False)
    may_run = [ready(row[1:]) for row in rows if row[0] == "go"]
    return Unblocked(may_run, skipped, sum(row[0] == "wait" for row in rows))


# What becomes of a job that waits for one thing less.
_WHAT_NEXT = (
    f"CASE WHEN condition = '{TriggerRule.ONE_SUCCESS}' AND successes > 0 THEN 'go'"
    " WHEN waits > 0 THEN 'wait'"
    f" WHEN condition = '{When.ON_FAILURE}' AND failures = 0 THEN 'nothing_failed'"
    f" WHEN condition IN ('{TriggerRule.ONE_SUCCESS}', '{TriggerRule.NONE_FAILED}')"
    " AND successes = 0 THEN 'no_success' ELSE 'go' END"
)


def leave_out(work: Work, run_id: int, seq: int, chosen: Sequence[str]) -> list[Ended]:
    """Of the jobs that wait for a branch, those that were not chosen are skipped; but not what
    is behind one that was: where branches meet again, its own rule decides."""
    kept = (
        "WITH RECURSIVE kept (seq) AS (SELECT seq FROM job WHERE run_id = ?"
        " AND id IN (SELECT value FROM json_each(?))"
        " UNION SELECT edge.downstream FROM kept JOIN edge ON edge.upstream = kept.seq)"
    )
    where = f"seq IN (SELECT downstream FROM edge WHERE upstream = ?) AND seq NOT IN ({kept}"
    parameters = (seq, run_id, json.dumps(list(chosen)))
    return skip(
        work, run_id, f"{where} SELECT seq FROM kept)", parameters, "branch", by_failure=False
    )


def skip_idle(work: Work, run_id: int, seq: int) -> list[Ended]:
    """A job that waited for a failure is skipped: none came."""
    return skip(work, run_id, "seq = ?", (seq,), "nothing_failed", by_failure=False)


def skip(
    work: Work,
    run_id: int,
    where: str,
    parameters: tuple[object, ...],
    what: str,
    *,
    by_failure: bool,
) -> list[Ended]:
    """Blocked jobs that match `where` are skipped, in queue order."""
    rows = work.conn.execute(
        f"SELECT {ROW} FROM job WHERE {where} AND status = '{JobStatus.BLOCKED}' ORDER BY seq",
        parameters,
    ).fetchall()
    reason = Reason(who="job", what=what, message=_MESSAGES[what]).model_dump_json()
    ended = []
    for job in map(job_row, rows):
        to = work.move_job(
            job.seq, JobStatus.BLOCKED, JobEvent.SKIP, ended_at=work.tx.now_us, reason=reason
        )
        work.record("job.skipped", run_id, job.job_id, job_seq=job.seq, reason=what)
        ended.append(job.after(to, by_failure=by_failure))
    return ended


_MESSAGES = {
    "dependency": "a dependency did not succeed",
    "stage": "an earlier stage did not succeed",
    "nothing_failed": "nothing failed",
    "no_success": "nothing that it needs succeeded",
    "branch": "the branch before it went another way",
}
