"""A mapped job becomes as many jobs as it has items, and ends when all of them have ended.

The job itself is never run: it stands for its instances towards those that wait for it.
"""

import json
from collections import Counter
from typing import Any, Final

from jobstore.execution_data import rows
from jobstore.states import JobEvent
from jobstore.store.admit import COLUMNS, Ready, ready
from jobstore.store.row import find_row
from jobstore.store.unblock import Unblocked
from jobstore.store.work import Work
from shared.errors import Conflict, UnknownJob
from shared.protocol.jobs import Reason
from shared.protocol.pipeline import When
from shared.protocol.states import FAILURES, JobStatus

WAITING: Final = "waiting"
UNFOLDED: Final = "unfolded"
MOST: Final = 10_000  # instances of one job

_COPIED: Final = (
    "run_id, stage, priority, selector_id, allow_failure, queue_timeout_s, lock, needs_approval"
)


def unfold(work: Work, run_id: int, job: Ready) -> Unblocked:
    """A mapped job that waits for nothing more: its instances may run, or it has ended itself."""
    if job.mapping == UNFOLDED:
        return _conclude(work, run_id, job.seq)
    (text,) = work.conn.execute("SELECT spec FROM job WHERE seq = ?", (job.seq,)).fetchone()
    spec = json.loads(text)
    if job.status is JobStatus.PENDING:
        work.move_job(job.seq, JobStatus.PENDING, JobEvent.BLOCK)
    try:
        count = _length(work, run_id, spec["task"])
    except (Conflict, UnknownJob) as error:
        reason = Reason(who="job", what="mapping", message=f"cannot be mapped: {error}")
        return _end(work, run_id, job.seq, JobEvent.FAIL, reason)
    work.conn.execute(
        "UPDATE job SET mapping = ?, condition = ?, waits = ?, failures = 0, successes = 0"
        " WHERE seq = ?",
        (UNFOLDED, When.ALWAYS, count, job.seq),
    )
    work.record("job.mapped", run_id, job.job_id, job_seq=job.seq, instances=count)
    if count == 0:
        return _conclude(work, run_id, job.seq)
    return Unblocked(_insert(work, run_id, job, spec, count), [], 0)


def _length(work: Work, run_id: int, task: dict[str, Any]) -> int:
    """How many instances. Conflict: there is no list, its length is another's, or too large."""
    lengths: dict[str, int] = {}
    for name in task["mapped"]:
        argument = task["kwargs"][name]
        match argument["kind"]:
            case "literal":
                lengths[name] = len(argument["value"])
            case "list":
                lengths[name] = len(argument["items"])
            case _:
                source = rows.source_of(work.conn, run_id, argument["job"])
                try:
                    lengths[name] = rows.length(work.conn, source, argument["key"])
                except Conflict as error:
                    raise Conflict(f"{argument['job']!r}: {error}") from None
    if len(set(lengths.values())) > 1:
        said = ", ".join(f"{name} has {n}" for name, n in lengths.items())
        raise Conflict(f"its lists are of different lengths: {said}")
    count = next(iter(lengths.values()))
    if count > MOST:
        raise Conflict(f"{count} items; a job may have {MOST} instances")
    return count


def _insert(work: Work, run_id: int, job: Ready, spec: dict[str, Any], count: int) -> list[Ready]:
    (highest,) = work.conn.execute("SELECT max(seq) FROM job").fetchone()
    seqs = range(highest + 1, highest + 1 + count)
    work.conn.executemany(
        f"INSERT INTO job (seq, id, spec, status, waits, mapped_by, map_index, {_COPIED})"
        f" SELECT ?, ?, ?, ?, 0, ?, ?, {_COPIED} FROM job WHERE seq = ?",
        [
            (
                seq,
                f"{job.job_id}[{n}]",
                _instance(spec, job.job_id, n),
                JobStatus.PENDING,
                job.seq,
                n,
                job.seq,
            )
            for n, seq in enumerate(seqs)
        ],
    )
    work.conn.executemany(
        "INSERT INTO edge (upstream, downstream) VALUES (?, ?)", [(seq, job.seq) for seq in seqs]
    )
    work.conn.execute("UPDATE run SET open_jobs = open_jobs + ? WHERE id = ?", (count, run_id))
    work.conn.execute(
        "UPDATE stage SET open_jobs = open_jobs + ?1 WHERE run_id = ?2"
        " AND position = (SELECT stage FROM job WHERE seq = ?3)",
        (count, run_id, job.seq),
    )
    return [
        ready(row)
        for row in work.conn.execute(
            f"SELECT {COLUMNS} FROM job WHERE mapped_by = ? ORDER BY seq", (job.seq,)
        ).fetchall()
    ]


def _instance(spec: dict[str, Any], job_id: str, n: int) -> str:
    """The instance's own spec: of each long list that was known it has its item only."""
    task = spec["task"]
    kwargs = dict(task["kwargs"])
    for name in task["mapped"]:
        argument = kwargs[name]
        if argument["kind"] == "literal":
            kwargs[name] = {"kind": "literal", "value": argument["value"][n]}
        elif argument["kind"] == "list":
            kwargs[name] = argument["items"][n]
    mapped = [name for name in task["mapped"] if kwargs[name] is task["kwargs"][name]]
    own = {**task, "kwargs": kwargs, "mapped": mapped}
    return json.dumps({**spec, "id": f"{job_id}[{n}]", "task": own}, ensure_ascii=False)


def _conclude(work: Work, run_id: int, seq: int) -> Unblocked:
    """All instances have ended; so has the job that stands for them."""
    counts: Counter[str] = Counter(
        dict(
            work.conn.execute(
                "SELECT status, count(*) FROM job WHERE mapped_by = ? GROUP BY status", (seq,)
            ).fetchall()
        )
    )
    (allow_failure,) = work.conn.execute(
        "SELECT allow_failure FROM job WHERE seq = ?", (seq,)
    ).fetchone()
    failed, total = sum(counts[status] for status in FAILURES), counts.total()
    if failed and not allow_failure:
        reason = Reason(who="job", what="instances", message=f"{failed} of {total} failed")
        return _end(work, run_id, seq, JobEvent.FAIL, reason)
    if counts[JobStatus.CANCELLED]:
        reason = Reason(who="operator", what="cancelled", message="instances were cancelled")
        return _end(work, run_id, seq, JobEvent.CANCEL, reason)
    if total and counts[JobStatus.SKIPPED] == total:
        reason = Reason(who="job", what="instances", message="every instance was skipped")
        return _end(work, run_id, seq, JobEvent.SKIP, reason)
    return _end(work, run_id, seq, JobEvent.SUCCEED, None)


def _end(work: Work, run_id: int, seq: int, event: JobEvent, reason: Reason | None) -> Unblocked:
    text = None if reason is None else reason.model_dump_json()
    to = work.move_job(seq, JobStatus.BLOCKED, event, ended_at=work.tx.now_us, reason=text)
    job = find_row(work, seq)
    facts = {} if reason is None else {"reason": reason.what}
    work.record(f"job.{to.value}", run_id, job.job_id, job_seq=seq, **facts)
    by_failure = reason is not None and reason.what == "instances" and event is JobEvent.FAIL
    return Unblocked([], [job.after(to, by_failure=by_failure)], 0)
