"""Aligned tables of runs, jobs, attempts and artifacts."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Final

from rich.console import Console, ConsoleOptions, RenderableType
from rich.table import Table
from rich.text import Text

from drawbar.cli.render import words
from drawbar.cli.render.columns import GAP, kept_whole, table, with_lines
from drawbar.cli.render.names import Name
from drawbar.cli.render.statuses import Look, in_order, look
from drawbar.cli.render.waits import phase_words, sleep_words, wait_words
from shared.ids import RunId
from shared.protocol.jobs import JobArtifact, JobView, Reason, RunSummary, RunView
from shared.protocol.states import FAILURES, JobStatus

LISTED_JOBS: Final = 50  # a summary of more jobs lists only those that did not succeed
# What the messages of these say in other words.
SAID_ANYWAY: Final = frozenset(
    {
        *("exit_code", "signal", "dependency", "stage", "nothing_failed", "fail_fast"),
        *("operator", "resume", "marked", "refused", "precheck", "postcheck"),
    }
)
NARROWEST_REMARK: Final = 32


def status_text(status: str) -> Text:
    symbol, style = look(status)
    return Text(f"{symbol} {status}", style=style)


def counts_text(counts: Iterable[tuple[str, int]]) -> Text:
    """`✔ 3  ✘ 1`, each in its colour; statuses that look the same are one number."""
    numbers: dict[Look, int] = {}
    for status, n in counts:
        numbers[look(status)] = numbers.get(look(status), 0) + n
    parts = [Text(f"{symbol} {n}", style=style) for (symbol, style), n in numbers.items()]
    return Text("  ").join(parts)


def reason_text(reason: Reason | None) -> Text:
    """Who did what; of a job's own failures the message is enough."""
    if reason is None:
        return Text("")
    said = words.one_line(reason.message) or reason.what
    if reason.what not in said and reason.what not in SAID_ANYWAY:
        said = f"{reason.what}: {said}"
    return Text(said if reason.who == "job" else f"{said} ({reason.who})")


class JobsTable:
    """A row for each job; remarks have a column of their own or, where that is tight, lines."""

    def __init__(self, run_id: RunId, jobs: Sequence[JobView], now: datetime) -> None:
        self._jobs = jobs
        self._now = now
        self._remarks = [_remark(run_id, job) for job in jobs]

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> Iterator[RenderableType]:
        rest = options.max_width - console.measure(self._table(), options=options).maximum
        widest = max((remark.cell_len for remark in self._remarks), default=0)
        if rest >= min(widest + GAP, NARROWEST_REMARK):
            yield self._table(self._remarks)
            return
        yield from with_lines(
            self._table(), [[remark] for remark in self._remarks], console, options
        )

    def _table(self, remarks: Sequence[Text] = ()) -> Table:
        has_stages = any(job.stage is not None for job in self._jobs)
        made = table(
            "job",
            *(["stage"] if has_stages else []),
            "status",
            "exit",
            "tries",
            "duration",
            *(["reason"] if remarks else []),
            right=("exit", "tries", "duration"),
            names=("job", "stage"),
        )
        for n, job in enumerate(self._jobs):
            exit_code = "" if job.exit_code is None else str(job.exit_code)
            status = status_text(job.status)
            if job.allow_failure and job.status in FAILURES:
                status.append(" (allowed)", style="dim")
            made.add_row(
                Name(job.id),
                *([Name(job.stage or "")] if has_stages else []),
                status,
                exit_code,
                str(job.tries) if job.tries else "",
                "" if _was_not_run(job) else words.span(job.started_at, job.ended_at, self._now),
                *([remarks[n]] if remarks else []),
            )
        return kept_whole(made, "status", "exit", "tries", "duration")


def _remark(run_id: RunId, job: JobView) -> Text:
    """What a job waits for or does while it has not ended, else why it ended so."""
    if job.status is JobStatus.HELD:
        return Text(wait_words(run_id, job.id, job.held_for))
    if job.status is JobStatus.RUNNING:
        return Text(phase_words(job.phase))
    if job.deferral is not None:
        waits = job.deferral
        said = sleep_words(run_id, job.id, waits.trigger, words.one_line(waits.says))
        seen = "" if waits.last_look is None else f"; seen last: {words.one_line(waits.last_look)}"
        late = "" if waits.until is None else f"; at most until {waits.until.astimezone():%H:%M:%S}"
        return Text(said + seen + late)
    if job.marked_by is not None and (job.reason is None or not job.reason.message):
        return Text(f"taken for a success by {words.one_line(job.marked_by)}")
    if job.instances is not None and job.reason is None:
        return Text(words.count(job.instances, "job"), style="dim")
    if job.reason is None and _was_not_run(job):
        return Text("carried over", style="dim")
    return reason_text(job.reason)


def _was_not_run(job: JobView) -> bool:
    """A success of an earlier run that this one goes on from, or one by a person's word."""
    return job.status is JobStatus.SUCCESS and job.attempts == 0


def runs_table(runs: Sequence[RunSummary], now: datetime) -> Table:
    made = table("run", "name", "status", "jobs", "started", "duration", right=("run", "duration"))
    for run in runs:
        made.add_row(
            str(run.run_id),
            Text(words.one_line(run.name)),
            status_text(run.status),
            counts_text(in_order(run.counts)),
            words.ago(run.started_at or run.created_at, now),
            words.span(run.started_at, run.ended_at, now),
        )
    return made


def artifacts_table(artifacts: Sequence[JobArtifact]) -> Table:
    made = table("job", "size", "sha256", "path", right=("size",))
    for found in artifacts:
        made.add_row(
            Text(words.one_line(found.job_id)),
            words.size(found.artifact.size_bytes),
            found.artifact.sha256[:12],
            Text(words.one_line(found.artifact.path)),
        )
    return made


def headline(run: RunView | RunSummary, now: datetime) -> Text:
    """`✔ release  run 12  success in 4.2 s  ✔ 5`."""
    symbol, style = look(run.status)
    text = Text.assemble(
        (f"{symbol} ", style), (words.one_line(run.name), "bold"), f"  run {run.run_id}  "
    )
    took = words.span(run.started_at, run.ended_at, now)
    text.append(run.status, style=style)
    if took:
        text.append(f" in {took}" if run.ended_at else f" for {took}")
    if run.retry_of is not None:
        text.append(f", a retry of run {run.retry_of}", style="dim")
    return text.append("  ").append_text(counts_text(in_order(run.counts)))


def worth_listing(jobs: Sequence[JobView]) -> list[JobView]:
    """All jobs while they are few, else those that did not succeed."""
    if len(jobs) <= LISTED_JOBS:
        return list(jobs)
    return [job for job in jobs if job.status is not JobStatus.SUCCESS]
