"""A run comes to be: its stages, jobs and edges, and the first jobs queued, in one transaction."""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping

from jobstore.states import JobEvent
from jobstore.store.admit import Ready, admit
from jobstore.store.settle import Ended, settle
from jobstore.store.work import Work
from shared.errors import KeyReused
from shared.protocol.pipeline import JobSpec, PipelineSpec
from shared.protocol.states import JobStatus, RunStatus, StageStatus


def submit_run(
    work: Work,
    pipeline: PipelineSpec,
    *,
    key: str,
    digest: str,
    selectors: dict[int, Mapping[str, str]],
    retry_of: int | None = None,
    carried: Mapping[str, str] | None = None,
) -> int:
    """The run's id. The same key with the same digest finds the run that it made before.

    `carried` maps job ids to the attempts that made them succeed in the run `retry_of`.
    KeyReused: the key belongs to another submission.
    """
    known = work.conn.execute(
        "SELECT id, submit_digest FROM run WHERE submit_key = ?", (key,)
    ).fetchone()
    if known is not None:
        if known[1] != digest:
            raise KeyReused(run_id=known[0])
        return int(known[0])
    run_id = _insert_run(work, pipeline, key, digest, retry_of)
    _insert_stages(work, run_id, pipeline)
    work.record("run.submitted", run_id, name=pipeline.name, jobs=len(pipeline.jobs))
    first = _insert_jobs(work, run_id, pipeline, selectors)
    if carried:
        _carry_over(work, run_id, carried)
    admit(work, run_id, [job for job in first if job.job_id not in (carried or {})])
    return run_id


def digest_of(pipeline: PipelineSpec, retry_of: int | None = None, *, of_all: bool = True) -> str:
    """What makes two submissions the same."""
    text = f"{retry_of}:{'' if of_all else 'failed:'}{pipeline.model_dump_json()}"
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _insert_run(
    work: Work, pipeline: PipelineSpec, key: str, digest: str, retry_of: int | None
) -> int:
    cursor = work.conn.execute(
        "INSERT INTO run (name, status, submit_key, submit_digest, description, max_workers,"
        " retry_of, open_jobs, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            pipeline.name,
            RunStatus.PENDING,
            key,
            digest,
            pipeline.description,
            pipeline.max_workers,
            retry_of,
            len(pipeline.jobs),
            work.tx.now_us,
        ),
    )
    assert cursor.lastrowid is not None
    return cursor.lastrowid


def _insert_stages(work: Work, run_id: int, pipeline: PipelineSpec) -> None:
    jobs_in = Counter(job.stage for job in pipeline.jobs)
    work.conn.executemany(
        "INSERT INTO stage (run_id, position, name, status, open_jobs) VALUES (?, ?, ?, ?, ?)",
        [
            (
                run_id,
                position,
                name,
                StageStatus.RUNNING if position == 0 else StageStatus.PENDING,
                jobs_in[name],
            )
            for position, name in enumerate(pipeline.stages)
        ],
    )


def _insert_jobs(
    work: Work, run_id: int, pipeline: PipelineSpec, selectors: dict[int, Mapping[str, str]]
) -> list[Ready]:
    """The jobs that wait for nothing, in order."""
    position = {name: n for n, name in enumerate(pipeline.stages)}
    opened = _first_stage_with_jobs(pipeline)
    (highest,) = work.conn.execute("SELECT coalesce(max(seq), 0) FROM job").fetchone()
    seq_of = {job.id: highest + n for n, job in enumerate(pipeline.jobs, start=1)}
    rows, edges, first = [], [], []
    for job in pipeline.jobs:
        seq = seq_of[job.id]
        stage = position.get(job.stage or "", 0)
        waits = len(job.needs) + (stage > opened)
        selector_id = _selector(work, job, selectors)
        status = JobStatus.BLOCKED if waits else JobStatus.PENDING
        rows.append(
            (
                seq,
                run_id,
                job.id,
                stage,
                _resolved(job, pipeline),
                status,
                job.priority,
                selector_id,
                job.allow_failure,
                waits,
                job.queue_timeout_s,
            )
        )
        edges += [(seq_of[need], seq) for need in job.needs]
        if not waits:
            first.append(Ready(seq, job.id, status, selector_id, job.priority, job.queue_timeout_s))
    work.conn.executemany(
        "INSERT INTO job (seq, run_id, id, stage, spec, status, priority, selector_id,"
        " allow_failure, waits, queue_timeout_s) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        rows,
    )
    work.conn.executemany("INSERT INTO edge (upstream, downstream) VALUES (?, ?)", edges)
    _open_until(work, run_id, opened)
    return first


def _first_stage_with_jobs(pipeline: PipelineSpec) -> int:
    used = {job.stage for job in pipeline.jobs}
    return next((n for n, name in enumerate(pipeline.stages) if name in used), 0)


def _open_until(work: Work, run_id: int, opened: int) -> None:
    """Stages before the first one with jobs have succeeded: there is nothing in them."""
    if opened:
        work.conn.execute(
            "UPDATE stage SET status = iif(position < ?1, ?2, ?3)"
            " WHERE run_id = ?4 AND position <= ?1",
            (opened, StageStatus.SUCCESS, StageStatus.RUNNING, run_id),
        )


def _resolved(job: JobSpec, pipeline: PipelineSpec) -> str:
    """The job as JSON with the pipeline's environment and defaults filled in."""
    filled = job.model_copy(
        update={
            "env": {**pipeline.env, **job.env},
            "timeout_s": pipeline.timeout_s if job.timeout_s is None else job.timeout_s,
            "retry": pipeline.retry if job.retry is None else job.retry,
        }
    )
    return filled.model_dump_json()


def _selector(work: Work, job: JobSpec, selectors: dict[int, Mapping[str, str]]) -> int:
    labels = dict(sorted(job.requires.items()))
    for selector_id, known in selectors.items():
        if known == labels:
            return selector_id
    (selector_id,) = work.conn.execute(
        "INSERT INTO selector (labels) VALUES (?)"
        " ON CONFLICT (labels) DO UPDATE SET labels = excluded.labels RETURNING id",
        (json.dumps(labels),),
    ).fetchone()
    selectors[selector_id] = labels
    return int(selector_id)


def _carry_over(work: Work, run_id: int, carried: Mapping[str, str]) -> None:
    """Jobs that succeeded in the retried run have succeeded in this one, with their artifacts.

    All of them move before any is settled, so that none is queued by another's success.
    """
    ended = []
    for job_id, attempt_id in carried.items():
        seq, stage, allow_failure, status = work.conn.execute(
            "SELECT seq, stage, allow_failure, status FROM job WHERE run_id = ? AND id = ?",
            (run_id, job_id),
        ).fetchone()
        now = work.tx.now_us
        columns = {"attempt_id": attempt_id, "exit_code": 0, "started_at": now, "ended_at": now}
        work.move_job(seq, JobStatus(status), JobEvent.CARRY, **columns)
        work.record("job.carried_over", run_id, job_id, job_seq=seq, from_attempt=attempt_id)
        ended.append(Ended(seq, stage, JobStatus.SUCCESS, bool(allow_failure)))
    settle(work, run_id, ended)
