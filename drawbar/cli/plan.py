"""What `--dry-run` prints: what would run, in which order, where, and for how long. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from drawbar.cli.estimate import Estimate
from drawbar.cli.render.words import count, duration, printable
from drawbar.cli.showing import environment, shown_environment, shown_lines
from drawbar.document.graph import layers
from shared.protocol.pipeline import (
    DEFAULT_TIMEOUT_S,
    CheckSpec,
    JobSpec,
    OnError,
    PipelineSpec,
    RetryRule,
    When,
)


@dataclass(frozen=True, slots=True)
class Plan:
    """A run that does not happen."""

    spec: PipelineSpec
    fates: Mapping[str, str]  # jobs that would not be run, and what would become of them
    estimate: Estimate
    why_no_estimate: str
    here: Mapping[str, str] | None  # labels of the only worker; None: those of a service
    at_once: int | None  # jobs that this worker takes at a time
    resumed: int | None


def plan_lines(plan: Plan) -> Iterator[str]:
    """Jobs of one layer can run side by side; each layer waits for the one before."""
    spec, ranks = plan.spec, layers(plan.spec)
    yield (
        f"{printable(spec.name)}: {count(len(spec.jobs), 'job')} in "
        f"{count(len(ranks), 'layer')}{_limit(plan)}; nothing is run"
    )
    if plan.resumed is not None:
        yield f"goes on where run {plan.resumed} ended"
    yield _after_failure(spec.on_error)
    yield _expected(plan)
    if spec.env:
        yield f"environment: {_pairs(shown_environment(spec.env))}"
    if spec.params:
        yield f"parameters: {_pairs(shown_environment(_texts(spec.params)))}"
    for number, rank in enumerate(ranks, start=1):
        yield ""
        stage = f"  stage {printable(rank[0].stage)}" if rank[0].stage else ""
        yield f"layer {number}{stage}"
        for job in rank:
            yield from _job_lines(plan, job)


def plan_object(plan: Plan) -> dict[str, Any]:
    """The same for programs."""
    spec = plan.spec
    return {
        "name": spec.name,
        "max_workers": spec.max_workers,
        "on_error": spec.on_error.value,
        "estimate_s": plan.estimate.total_s,
        "critical_path": list(plan.estimate.path),
        "jobs_without_estimate": plan.estimate.unknown,
        "env": shown_environment(spec.env),
        "params": shown_environment(_texts(spec.params)),
        "layers": [[_job_object(plan, job) for job in rank] for rank in layers(spec)],
    }


def _job_object(plan: Plan, job: JobSpec) -> dict[str, Any]:
    env = environment(plan.spec, job)
    plain = job.model_dump(
        mode="json",
        include={
            *("id", "stage", "needs", "when", "requires", "image", "lock", "approve"),
            "allow_failure",
        },
    )
    return {
        **plain,
        "runs": job.id not in plan.fates,
        "fate": plan.fates.get(job.id),
        "commands": shown_lines(job, env),
        "env": shown_environment(job.env),
        "timeout_s": _timeout(plan.spec, job),
        "retries": _rule(plan.spec, job).max,
        "pre_checks": [check.name for check in job.pre_checks],
        "post_checks": [check.name for check in job.post_checks],
        "estimate_s": plan.estimate.jobs.get(job.id),
    }


def _job_lines(plan: Plan, job: JobSpec) -> Iterator[str]:
    needs = f"  ← {', '.join(map(printable, job.needs))}" if job.needs else ""
    if job.id in plan.fates:
        yield f"  {printable(job.id)}{needs}  [{plan.fates[job.id]}]"
        return
    took = plan.estimate.jobs.get(job.id)
    expected = "" if took is None else f"  ~ {duration(took)}"
    yield f"  {printable(job.id)}{needs}{expected}"
    remarks = list(_remarks(plan, job))
    if remarks:
        yield f"      ({'; '.join(remarks)})"
    if job.env:
        yield f"      environment: {_pairs(shown_environment(job.env))}"
    yield from (f"      check before: {_check(check)}" for check in job.pre_checks)
    env = environment(plan.spec, job)
    yield from (f"      $ {printable(line)}" for line in shown_lines(job, env))
    yield from (f"      check after: {_check(check)}" for check in job.post_checks)


def _remarks(plan: Plan, job: JobSpec) -> Iterator[str]:
    if job.requires:
        where = f"on a worker with {_pairs(job.requires)}"
        has = plan.here is None or job.requires.items() <= plan.here.items()
        yield where if has else f"{where}, which this one is not"
    if job.image is not None:
        yield f"image {printable(job.image)}"
    if job.limits is not None:
        named = job.limits.model_dump(exclude_none=True).items()
        yield "limits " + ", ".join(f"{name} {value:,}" for name, value in named)
    if job.when is not When.ON_SUCCESS:
        yield "when one before it failed" if job.when is When.ON_FAILURE else "in any case"
    if job.approve:
        yield "after an approval"
    if job.lock is not None:
        yield f"one at a time with lock {printable(job.lock)}"
    if job.allow_failure:
        yield "may fail"
    if job.working_dir is not None:
        yield f"in {printable(job.working_dir)}"
    rule = _rule(plan.spec, job)
    if rule.max:
        yield _retries(rule)
    if _timeout(plan.spec, job) != DEFAULT_TIMEOUT_S:
        yield f"at most {duration(_timeout(plan.spec, job))}"


def _retries(rule: RetryRule) -> str:
    times = "1 retry" if rule.max == 1 else f"{rule.max} retries"
    grows = "" if rule.backoff == 1 or rule.max == 1 else f", then {rule.backoff:g} times as long"
    codes = ", ".join(map(str, rule.on_exit_codes))
    only = f" on exit code {codes}" if codes else ""
    return f"{times}{only} after {duration(rule.delay_s)}{grows}"


def _check(check: CheckSpec) -> str:
    params = shown_environment(_texts(check.params))
    return f"{printable(check.name)} {_pairs(params)}".rstrip()


def _limit(plan: Plan) -> str:
    limits = [n for n in (plan.spec.max_workers, plan.at_once) if n is not None]
    if not limits:
        return ""
    return ", one at a time" if min(limits) == 1 else f", at most {min(limits)} at a time"


def _after_failure(on_error: OnError) -> str:
    return {
        OnError.CONTINUE: "after a failure: only what needs the failed job is skipped",
        OnError.STOP: "after a failure: what runs goes on to its end, nothing else starts",
        OnError.CANCEL: "after a failure: everything else is cancelled",
    }[on_error]


def _expected(plan: Plan) -> str:
    found = plan.estimate
    if found.total_s is None:
        return f"expected time: unknown ({printable(plan.why_no_estimate)})"
    more = f", and {count(found.unknown, 'job')} never timed" if found.unknown else ""
    line = f"expected time: {duration(found.total_s)}{more}"
    path = [printable(name) for name in found.path]
    if len(path) < 2:
        return line
    shown = path if len(path) <= 6 else [*path[:3], "…", *path[-2:]]
    return f"{line}, decided by {' → '.join(shown)}"


def _pairs(values: Mapping[str, str]) -> str:
    return " ".join(f"{printable(name)}={printable(value)}" for name, value in values.items())


def _texts(values: Mapping[str, Any]) -> dict[str, str]:
    return {name: str(value) for name, value in values.items()}


def _timeout(spec: PipelineSpec, job: JobSpec) -> float:
    return spec.timeout_s if job.timeout_s is None else job.timeout_s


def _rule(spec: PipelineSpec, job: JobSpec) -> RetryRule:
    return spec.retry if job.retry is None else job.retry
