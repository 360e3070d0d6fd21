"""Blocked jobs wait for one thing less: they are ready, go on waiting, or will never run.

What a job waits for is a number: its unmet needs, and one more while its stage, or the run that it
watches, is not so far. One statement per thing that came about, whatever the size of the run.
"""

from typing import NamedTuple

from jobstore.states import JobEvent
from jobstore.store.admit import COLUMNS, Ready, ready
from jobstore.store.row import ROW, Ended, job_row
from jobstore.store.work import Work
from shared.protocol.jobs import Reason
from shared.protocol.pipeline import When
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
    rows = work.conn.execute(
        "UPDATE job SET waits = waits - 1, failures = failures + ?"
        f" WHERE {where} AND status = '{JobStatus.BLOCKED}'"
        f" RETURNING waits, condition = '{When.ON_FAILURE}' AND failures = 0, {COLUMNS}",
        (has_failed, *parameters),
    ).fetchall()
    done = [row for row in rows if row[0] == 0]
    for row in sorted((row for row in done if row[1]), key=lambda row: int(row[2])):
        skipped += skip_idle(work, run_id, row[2])
    may_run = [ready(row[2:]) for row in done if not row[1]]
    return Unblocked(may_run, skipped, len(rows) - len(done))


def skip_idle(work: Work, run_id: int, seq: int) -> list[Ended]:
    """A job that waited for a failure is skipped: none came."""
    return skip(work, run_id, "seq = ?", (seq,), "nothing_failed", by_failure=False)


def skip(
    work: Work,
    run_id: int,
    where: str,
    parameters: tuple[int, ...],
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
}
