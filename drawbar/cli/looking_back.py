"""`drawbar history`, `diff` and `prune`: asked of the job service, put into words."""

from pathlib import Path
from typing import Final

from drawbar.cli.ages import span_s
from drawbar.cli.connect import asking_jobs, with_now
from drawbar.cli.failures import Usage, say
from drawbar.cli.render import past
from drawbar.cli.render.console import console
from drawbar.cli.render.objects import write_json
from drawbar.cli.render.tables import headline
from drawbar.cli.render.words import count, one_line, size
from shared.figures import Figures
from shared.ids import JobId, RunId
from shared.pipeline_rules import nearest
from shared.protocol.history import JobHistory, PruneRequest
from shared.protocol.jobs import RunFilter
from shared.runtime import Runtime
from shared.services import WholeJobService

LOOKED_AT: Final = 500  # runs, for the pipeline that is meant
TRIED: Final = 20  # pipelines, for one that has the job


def print_history(
    job: str | None,
    pipeline: str | None,
    runs: int,
    *,
    server: str | None,
    data: Path | None,
    as_json: bool,
) -> None:
    """How the job, or every job of the pipeline, did."""
    job_id = None if job is None else JobId(job)

    async def ask(jobs: WholeJobService, _: Runtime) -> tuple[str, JobHistory]:
        for name in await _names(jobs, pipeline, job_id):
            found = await jobs.job_history(name, job_id, runs=runs)
            if found.jobs:
                return name, found
        raise await _nothing(jobs, pipeline, job_id)

    (name, found), now = asking_jobs(
        lambda jobs, runtime: with_now(ask(jobs, runtime), runtime), server, data, only_looks=True
    )
    if as_json:
        write_json(found.model_dump(mode="json"))
        return
    out = console()
    if job is None:
        out.print(f"{one_line(name)}, the latest {count(found.runs, 'run')}:", style="bold")
        of_job = past.by_job(found.jobs)
        out.print(past.pipeline_table(of_job))
        _say_what_is_left_out(len(of_job))
        return
    numbers = Figures(found.success_rate, found.median_s, found.p95_s, found.flaky)
    out.print(past.figures_text(job, name, numbers, found.jobs))
    out.print(past.sparkline(found.jobs))
    out.print()
    out.print(past.job_table(found.jobs, now))


def print_diff(
    before: int,
    after: int,
    everything: bool,
    *,
    server: str | None,
    data: Path | None,
    as_json: bool,
) -> None:
    """What differs between two runs."""
    found, now = asking_jobs(
        lambda jobs, runtime: with_now(jobs.diff(RunId(before), RunId(after)), runtime),
        server,
        data,
        only_looks=True,
    )
    if as_json:
        write_json(found.model_dump(mode="json"))
        return
    out = console()
    out.print(headline(found.before, now))
    out.print(headline(found.after, now))
    if found.before.name != found.after.name:
        out.print("these are runs of different pipelines", style="yellow")
    listed = [
        job
        for job in found.jobs
        if everything or job.before is not job.after or job.spec or past.is_notable(job)
    ]
    if listed:
        out.print()
        out.print(past.diff_table(listed[: past.LISTED], before, after))
        _say_what_is_left_out(len(listed))
    if rest := len(found.jobs) - len(listed):
        out.print()
        verb = "did" if listed else "each did"
        more = "; --all lists them" if rest > 1 else "; --all lists it"
        out.print(f"{count(rest, 'job')} {verb} the same, in about the same time{more}")


def prune_runs(
    keep: str,
    name: str | None,
    is_dry: bool,
    *,
    server: str | None,
    data: Path | None,
    as_json: bool,
) -> None:
    """Runs that ended before that are gone, or were counted."""
    ask = PruneRequest(keep_s=span_s("--keep", keep), name=name, is_dry=is_dry)
    # What `drawbar run` left in a data directory can be pruned without a service, too.
    gone = asking_jobs(lambda jobs, _: jobs.prune(ask), server, data, only_looks=True)
    if as_json:
        write_json(gone.model_dump(mode="json") | {"dry_run": is_dry})
        return
    of = "" if name is None else f" of {one_line(name)}"
    if gone.runs == 0:
        print(  # noqa: T201  # this is the output
            f"no run{of} can go: none ended longer than {keep} ago,"
            " or notifications about it still wait"
        )
        return
    verb = "would go" if is_dry else "pruned"
    print(  # noqa: T201  # this is the output
        f"{count(gone.runs, 'run')}{of} {verb}: {count(gone.jobs, 'job')},"
        f" {size(gone.log_bytes)} of logs, {size(gone.artifact_bytes)} of artifacts"
    )


def _say_what_is_left_out(number: int) -> None:
    if number > past.LISTED:
        say(f"{past.LISTED} of {count(number, 'job')} are listed; --json has all", prefix="")


async def _names(jobs: WholeJobService, pipeline: str | None, job_id: JobId | None) -> list[str]:
    """Pipelines in question, the one that ran last first."""
    if pipeline is not None:
        return [pipeline]
    latest = (await jobs.list_runs(RunFilter(limit=LOOKED_AT))).runs
    names = list(dict.fromkeys(run.name for run in latest if run.status.is_ended))
    return names[: TRIED if job_id is not None else 1]


async def _nothing(jobs: WholeJobService, pipeline: str | None, job_id: JobId | None) -> Usage:
    latest = (await jobs.list_runs(RunFilter(limit=LOOKED_AT))).runs
    names = list(dict.fromkeys(run.name for run in latest if run.status.is_ended))
    if not names:
        return Usage("no run has ended yet; start one with: drawbar run FILE")
    if pipeline is not None and pipeline not in names:
        return Usage(f"no run of a pipeline {pipeline!r} has ended{nearest(pipeline, names)}")
    if job_id in names:
        return Usage(
            f"there is no job {job_id!r}, but a pipeline: drawbar history --pipeline {job_id}"
        )
    where = f"pipeline {pipeline!r} has" if pipeline is not None else "the latest runs have"
    known = await jobs.job_history(pipeline or names[0], None, runs=1)
    hint = nearest(str(job_id), sorted({job.job_id for job in known.jobs}))
    return Usage(f"{where} no job {job_id!r}{hint}")
