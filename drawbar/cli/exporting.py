"""`drawbar export` and `drawbar report`: runs as files for programs and pages for people."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from drawbar.cli.ages import moment
from drawbar.cli.connect import job_service
from drawbar.cli.failures import Usage, say
from drawbar.cli.render.words import count
from shared.errors import UnknownRun
from shared.ids import JobId, RunId
from shared.protocol.jobs import AttemptView, JobView, RunFilter, RunView
from shared.runtime import SystemRuntime
from shared.services import WholeJobService

PAGE: Final = 100  # runs listed at once
ASKED_AT_ONCE: Final = 8

Write = Callable[[str], object]


def export_runs(
    run: int | None,
    everything: bool,
    *,
    form: str | None,
    output: Path | None,
    name: str | None,
    since: str | None,
    server: str | None,
    data: Path | None,
) -> None:
    """The runs are in the file, or on stdout."""
    from shared.reports.exports import EXPORTS

    if (run is None) != everything:
        raise Usage("name a run, or give --all: for example 'drawbar export 12'")
    if run is not None and (name is not None or since is not None):
        raise Usage("--name and --since narrow --all, not a single run")
    runtime = SystemRuntime()
    ask = RunFilter(
        limit=PAGE,
        name=name,
        since=None if since is None else moment("--since", since, runtime.now()),
    )
    chosen = form or _named_by(output, {".csv": "csv", ".xml": "junit"}) or "jsonl"
    export = EXPORTS[chosen]
    needed = {"csv": _no_attempts, "junit": _retried, "jsonl": _claimed}[chosen]

    async def copy(write: Write) -> int:
        number = 0
        async with job_service(server, data, only_looks=True) as jobs:
            first = None if run is None else await jobs.show_run(RunId(run))
            write(export.opening)
            async for view in _views(jobs, first, ask):
                attempts = await attempts_of(jobs, view, needed)
                for piece in export.of_run(view, attempts):
                    write(piece)
                number += 1
            write(export.closing)
        return number

    with _writing(output) as write:
        number = asyncio.run(copy(write))
    if output is not None:
        say(f"{count(number, 'run')} written to {output}", prefix="")


def write_report(
    run: int, form: str | None, *, output: Path | None, server: str | None, data: Path | None
) -> None:
    """The page is in the file, or on stdout."""
    from shared import reports

    chosen = form or _named_by(output, {".html": "html", ".htm": "html"}) or "md"

    async def look() -> str:
        async with job_service(server, data, only_looks=True) as jobs:
            view = await jobs.show_run(RunId(run))
            attempts = await attempts_of(jobs, view, _retried)
        return (reports.html if chosen == "html" else reports.markdown)(view, attempts)

    text = asyncio.run(look())
    with _writing(output) as write:
        write(text)
    if output is not None:
        say(f"written to {output}", prefix="")


async def attempts_of(
    jobs: WholeJobService, run: RunView, needed: Callable[[JobView], bool]
) -> dict[JobId, tuple[AttemptView, ...]]:
    """The attempts of those jobs for which they are needed."""
    found: dict[JobId, tuple[AttemptView, ...]] = {}
    wanted = iter([job.id for job in run.jobs if needed(job)])

    async def ask() -> None:
        for job_id in wanted:
            found[job_id] = (await jobs.list_attempts(run.run_id, job_id)).attempts

    async with asyncio.TaskGroup() as group:
        for _ in range(ASKED_AT_ONCE):
            group.create_task(ask())
    return found


def _no_attempts(_: JobView) -> bool:
    return False


def _retried(job: JobView) -> bool:
    """Of a job that was run once, the job itself says all."""
    return job.attempts > 1


def _claimed(job: JobView) -> bool:
    return job.attempts > 0 or job.refusals > 0


async def _views(
    jobs: WholeJobService, first: RunView | None, ask: RunFilter
) -> AsyncIterator[RunView]:
    if first is not None:
        yield first
        return
    while page := (await jobs.list_runs(ask)).runs:
        for run in page:
            try:
                yield await jobs.show_run(run.run_id)
            except UnknownRun:  # pruned meanwhile
                continue
        ask = ask.model_copy(update={"before": page[-1].run_id})


def _named_by(output: Path | None, forms: dict[str, str]) -> str | None:
    return None if output is None else forms.get(output.suffix.lower())


@contextmanager
def _writing(output: Path | None) -> Iterator[Write]:
    """To stdout; or to a file that is whole afterwards, or as it was."""
    if output is None:
        yield lambda text: sys.stdout.buffer.write(text.encode())
        sys.stdout.buffer.flush()
        return
    target = output.resolve()  # where it is a link, what it leads to is written
    is_special = target.exists() and not target.is_file()  # /dev/null must not become a file
    temporary = target if is_special else target.with_name(f".{target.name}.part")
    try:
        with temporary.open("w", encoding="utf-8", newline="") as file:
            yield file.write
        if not is_special:
            os.replace(temporary, target)
    except OSError as error:
        raise Usage(f"cannot write {output}: {(error.strerror or str(error)).lower()}") from None
    finally:
        if not is_special:
            temporary.unlink(missing_ok=True)
