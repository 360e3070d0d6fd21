"""A run comes to be: its stages, jobs and edges, and the first jobs queued, in one transaction."""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

from jobstore.run_settings import settings_of
from jobstore.states import JOB, JobEvent, after
from jobstore.store.admit import Ready
from jobstore.store.claim import Selector
from jobstore.store.decided import PLAIN, Origin, end_what_is_decided
from jobstore.store.reads import no_such_run
from jobstore.store.seal import seal_jobs
from jobstore.store.settle import end_of_main, enter, settle
from jobstore.store.unblock import skip_idle
from jobstore.store.unfold import WAITING
from jobstore.store.watching import Watching, watching
from jobstore.store.work import Work
from shared.errors import KeyReused
from shared.protocol.pipeline import JobSpec, PipelineSpec, TriggerRule, When
from shared.protocol.states import JobStatus, RunStatus, StageStatus

_BLOCKED = after(JOB, JobStatus.PENDING, JobEvent.BLOCK)


def submit_run(
    work: Work,
    pipeline: PipelineSpec,
    *,
    key: str,
    digest: str,
    selectors: dict[int, Selector],
    origin: Origin = PLAIN,
) -> int:
    """The run's id. The same key with the same digest finds the run that it made before.

    KeyReused: the key belongs to another submission.
    """
    known = work.conn.execute(
        "SELECT id, submit_digest FROM run WHERE submit_key = ?", (key,)
    ).fetchone()
    if known is not None:
        if known[1] != digest:
            raise KeyReused(run_id=known[0])
        return int(known[0])
    watch = watching(pipeline)
    run_id = _insert_run(work, pipeline, key, digest, origin, len(watch.main))
    _insert_stages(work, run_id, pipeline)
    specs = [(job.id, _resolved(job, pipeline)) for job in pipeline.jobs]
    work.record(
        "run.submitted",
        run_id,
        name=pipeline.name,
        jobs=len(pipeline.jobs),
        jobs_sha256=seal_jobs(specs),
    )
    first = _insert_jobs(work, run_id, pipeline, dict(specs), selectors, watch)
    ended = end_what_is_decided(work, run_id, origin)
    decided = {job.seq for job in ended}
    for job in first.idle:
        if job not in decided:
            ended += skip_idle(work, run_id, job)
    settle(work, run_id, ended)
    if watch.watchers and not watch.main:
        found = end_of_main(work, run_id, has_failed=False)
        settle(work, run_id, found.ended)
        first.ready.extend(found.ready)
    enter(work, run_id, [job for job in first.ready if job.seq not in decided])
    return run_id


def digest_of(pipeline: PipelineSpec, origin: Origin = PLAIN) -> str:
    """What makes two submissions the same."""
    text = f"{origin.retry_of}:{origin.digest}{pipeline.model_dump_json()}"
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _insert_run(
    work: Work, pipeline: PipelineSpec, key: str, digest: str, origin: Origin, main_jobs: int
) -> int:
    row = work.conn.execute(
        "INSERT INTO run (name, status, submit_key, submit_digest, description, max_workers,"
        " retry_of, open_jobs, created_at, on_error, settings, open_main)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING id",
        (
            pipeline.name,
            RunStatus.PENDING,
            key,
            digest,
            pipeline.description,
            pipeline.max_workers,
            origin.retry_of,
            len(pipeline.jobs),
            work.tx.now_us,
            pipeline.on_error,
            settings_of(pipeline),
            main_jobs,
        ),
    ).fetchone()
    run_id = int(row[0])
    root, attempt = run_id, 1
    if origin.retry_of is not None:
        before = work.conn.execute(
            "SELECT coalesce(root_run, id) FROM run WHERE id = ?", (origin.retry_of,)
        ).fetchone()
        if before is None:  # pruned, since somebody looked at what it had done
            raise no_such_run(origin.retry_of)
        root = before[0]
        (latest,) = work.conn.execute(
            "SELECT coalesce(max(attempt), 1) FROM run WHERE root_run = ?", (root,)
        ).fetchone()
        attempt = latest + 1
    work.conn.execute(
        "UPDATE run SET root_run = ?, attempt = ? WHERE id = ?", (root, attempt, run_id)
    )
    return run_id


def _insert_stages(work: Work, run_id: int, pipeline: PipelineSpec) -> None:
    jobs_in = Counter(job.stage for job in pipeline.jobs)
    work.conn.executemany(
        "INSERT INTO stage (run_id, position, name, status, open_jobs, is_reached)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        [
            (
                run_id,
                position,
                name,
                StageStatus.RUNNING if position == 0 else StageStatus.PENDING,
                jobs_in[name],
                position == 0,
            )
            for position, name in enumerate(pipeline.stages)
        ],
    )


class _First(NamedTuple):
    """Jobs that wait for nothing."""

    ready: list[Ready]
    idle: list[int]  # they wait for a failure of what there is not


def _insert_jobs(
    work: Work,
    run_id: int,
    pipeline: PipelineSpec,
    specs: Mapping[str, str],
    selectors: dict[int, Selector],
    watch: Watching,
) -> _First:
    position = {name: n for n, name in enumerate(pipeline.stages)}
    opened = _first_stage_with_jobs(pipeline)
    (highest,) = work.conn.execute("SELECT coalesce(max(seq), 0) FROM job").fetchone()
    seq_of = {job.id: highest + n for n, job in enumerate(pipeline.jobs, start=1)}
    rows, edges, first = [], [], _First([], [])
    for job in pipeline.jobs:
        seq = seq_of[job.id]
        stage = position.get(job.stage or "", 0)
        watches_run = job.id in watch.watchers
        needs = () if starts_at_once(job) else job.needs
        mapping = WAITING if job.task is not None and job.task.mapped else None
        waits = len(needs) + (stage > opened) + watches_run
        is_idle = waits == 0 and job.when is When.ON_FAILURE
        selector_id = _selector(work, job, selectors)
        status = _BLOCKED if waits or is_idle else JobStatus.PENDING
        rows.append(
            (
                seq,
                run_id,
                job.id,
                stage,
                specs[job.id],
                status,
                job.priority,
                selector_id,
                job.allow_failure,
                waits,
                job.queue_timeout_s,
                condition_of(job),
                job.id in watch.main,
                watches_run,
                job.lock,
                job.approve,
                mapping,
            )
        )
        edges += [(seq_of[need], seq) for need in needs]
        if is_idle:
            first.idle.append(seq)
        elif not waits:
            first.ready.append(
                Ready(
                    seq,
                    job.id,
                    status,
                    selector_id,
                    job.priority,
                    job.queue_timeout_s,
                    job.lock,
                    job.approve,
                    mapping,
                )
            )
    work.conn.executemany(
        "INSERT INTO job (seq, run_id, id, stage, spec, status, priority, selector_id,"
        " allow_failure, waits, queue_timeout_s, condition, is_main, watches_run, lock,"
        " needs_approval, mapping)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        rows,
    )
    work.conn.executemany("INSERT INTO edge (upstream, downstream) VALUES (?, ?)", edges)
    work.conn.executemany(
        "INSERT OR IGNORE INTO bundle (run_id, sha256) VALUES (?, ?)",
        [(run_id, sha256) for sha256 in bundles_of(pipeline)],
    )
    _open_until(work, run_id, opened)
    return first


def condition_of(job: JobSpec) -> str:
    """What has to have become of what the job waits for."""
    if job.task is None or job.when is not When.ON_SUCCESS:
        return job.when
    match job.task.trigger_rule:
        case TriggerRule.ONE_SUCCESS | TriggerRule.NONE_FAILED if job.needs:
            return job.task.trigger_rule
        case TriggerRule.ALL_DONE:
            return When.ALWAYS
        case _:
            return When.ON_SUCCESS


def starts_at_once(job: JobSpec) -> bool:
    """Whether it waits for nothing, whatever it needs."""
    return job.task is not None and job.task.trigger_rule is TriggerRule.ALWAYS


def bundles_of(pipeline: PipelineSpec) -> list[str]:
    """The hashes of the files that its tasks are in."""
    found = {job.task.bundle: None for job in pipeline.jobs if job.task is not None}
    return [sha256 for sha256 in found if sha256 is not None]


def _first_stage_with_jobs(pipeline: PipelineSpec) -> int:
    used = {job.stage for job in pipeline.jobs}
    return next((n for n, name in enumerate(pipeline.stages) if name in used), 0)


def _open_until(work: Work, run_id: int, opened: int) -> None:
    """Stages before the first one with jobs have succeeded: there is nothing in them."""
    if opened:
        work.conn.execute(
            "UPDATE stage SET is_reached = 1, status = iif(position < ?1, ?2, ?3)"
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


def _selector(work: Work, job: JobSpec, selectors: dict[int, Selector]) -> int:
    wanted = Selector(dict(sorted(job.requires.items())), job.slots)
    for selector_id, known in selectors.items():
        if known == wanted:
            return selector_id
    (selector_id,) = work.conn.execute(
        "INSERT INTO selector (labels, slots) VALUES (?, ?)"
        " ON CONFLICT (labels, slots) DO UPDATE SET labels = excluded.labels RETURNING id",
        (json.dumps(wanted.labels), wanted.slots),
    ).fetchone()
    selectors[selector_id] = wanted
    return int(selector_id)
