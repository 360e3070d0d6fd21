"""What a worker is told to execute."""

from typing import Final

from pydantic import JsonValue

from jobstore.retry import would_retry
from jobstore.run_settings import read_settings
from jobstore.settings import JobStoreSettings
from jobstore.store.journal import from_us
from jobstore.store.run import Started
from shared.ids import JobId, RunId
from shared.protocol.execution import Resumption, RunFacts
from shared.protocol.gateway import DependencyResult, RunContext, RunRequest, TaskContext
from shared.protocol.pipeline import DEFAULT_TIMEOUT_S, JobSpec, RetryRule, TaskSpec
from shared.protocol.states import JobStatus

SHELL: Final = "/bin/sh"
PART_BYTES: Final = 16 << 20  # of an artifact, before a worker hears that it has arrived


def run_context(ask: RunRequest, started: Started, settings: JobStoreSettings) -> RunContext:
    """Everything that the attempt needs, from the job as it was submitted."""
    job = JobSpec.model_validate_json(started.spec)
    rule = job.retry or RetryRule()
    of_run = read_settings(started.settings)
    return RunContext(
        attempt_id=ask.attempt_id,
        fence=ask.fence,
        run_id=RunId(started.run_id),
        job_id=JobId(started.job_id),
        pipeline=started.pipeline,
        argv=argv_of(job),
        task=None if job.task is None else _task(job.task, started, of_run.params),
        env=job.env,
        working_dir=job.working_dir,
        timeout_s=DEFAULT_TIMEOUT_S if job.timeout_s is None else job.timeout_s,
        artifacts=job.artifacts,
        artifacts_when=job.artifacts_when,
        cache=job.cache,
        max_log_bytes=settings.max_log_bytes,
        max_artifact_bytes=settings.max_artifact_bytes,
        part_bytes=PART_BYTES,
        inputs=tuple(JobId(name) for name in job.inputs),
        pre_checks=job.pre_checks,
        post_checks=job.post_checks,
        inherit_env=of_run.inherit_env,
        plugins=of_run.plugins,
        security=of_run.security,
        image=job.image,
        container=job.container,
        limits=job.limits,
        dependencies=tuple(
            DependencyResult(job_id=JobId(job_id), status=JobStatus(status), exit_code=exit_code)
            for job_id, status, exit_code in started.dependencies
        ),
        tries=started.tries,
        tries_left=max(0, rule.max + 1 - started.tries),
        should_retry=would_retry(rule, started.tries),
        lease_s=settings.lease_s,
        heartbeat_s=settings.heartbeat_s,
    )


def _task(spec: TaskSpec, started: Started, params: dict[str, JsonValue]) -> TaskContext:
    at = None if started.scheduled_for is None else from_us(started.scheduled_for)
    resume = started.resume
    return TaskContext(
        spec=spec,
        run=RunFacts(logical_date=at, params=params),
        map_index=started.map_index,
        resume=None if resume is None else Resumption.model_validate_json(resume),
    )


def argv_of(job: JobSpec) -> tuple[str, ...]:
    """The exact words to execute. A shell only where the document asks for one."""
    if job.task is not None:
        return ()
    if job.argv:
        return job.argv
    if job.script:
        return (SHELL, "-e", "-c", "\n".join(job.script))
    return (SHELL, "-c", job.command or "")
